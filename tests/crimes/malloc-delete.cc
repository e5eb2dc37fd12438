/* Passes a block of malloc to delete. */
#include "crime.hh"

int main() {
    ::operator delete(hidden(malloc(100)));
    return 0;
}
