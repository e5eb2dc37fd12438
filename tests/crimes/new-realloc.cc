/* Passes a block of new to realloc. */
#include "crime.hh"

int main() {
    free(realloc(hidden(static_cast<char *>(::operator new(100))), 200));
    return 0;
}
