/* Allocates one byte too few for a string: none for the zero at its end. */
#include "crime.h"

int main(void) {
    const char *volatile text = "thirteen chars";
    char *copy = malloc(strlen(text));
    strcpy(copy, text);
    free(copy);
    return 0;
}
