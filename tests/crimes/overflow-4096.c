/* Clears a page more than it has. The block behind is its own, so no other memory changes. */
#include "crime.h"

int main(void) {
    char *first = malloc(5000), *volatile second = malloc(5000);
    char *low = first < second ? first : second, *volatile end = low + 5000;
    memset(end, 0, 4096);
    free(low);
    return 0;
}
