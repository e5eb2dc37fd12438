/* Prints which file provides each function in the arguments: `calloc /lib/libc.so.6`. */
#include "program.h"

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        say("%s %s", argv[i], provider(argv[i]));
    return 0;
}
