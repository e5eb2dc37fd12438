/* Forgets the zero at the end of a string when it asks for memory. */
#include "crime.h"

int main(void) {
    const char *volatile text = "thirteen chars";
    char *copy = malloc(strlen(text));
    strcpy(copy, text);
    free(copy);
    return 0;
}
