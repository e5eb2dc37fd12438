/* Deletes a block of malloc. */
#include "crime.hh"

int main() {
    ::operator delete(hidden(malloc(100)));
    return 0;
}
