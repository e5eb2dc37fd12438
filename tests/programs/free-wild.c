/* free-wild.c: frees what malloc never gave. */
#include <stdlib.h>

int main(void) {
    static char bytes[256];
    void *volatile wild = bytes + 128;
    free(malloc(1));
    free(wild);
    return 0;
}
