/* Passes a block of new to free. */
#include "crime.hh"

int main() {
    free(hidden(new char[100]));
    return 0;
}
