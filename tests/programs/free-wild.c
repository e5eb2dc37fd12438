/* free-wild.c: frees a pointer that malloc never returned. */
#include <stdlib.h>

int main(void) {
    static char bytes[256];
    void *volatile wild = bytes + 128;
    free(malloc(1));
    free(wild);
    return 0;
}
