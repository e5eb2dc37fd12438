/* absent.h: what the headers of musl, or of an older glibc,'s headers do not declare and our libraries have all the same. Included by the
 * command line where a program is compiled for such a C library.
 */
#pragma once

#include "../../native/base/platform.h"

#include <stdio.h>

/* The program links without them, and finds them in the library that is preloaded. */
#define WEAK __attribute__((weak))

WEAK void *pvalloc(size_t size);
WEAK struct mallinfo mallinfo(void);
WEAK struct mallinfo2 mallinfo2(void);
WEAK int malloc_info(int options, FILE *stream);
WEAK void malloc_stats(void);
WEAK int malloc_trim(size_t pad);
WEAK int mallopt(int parameter, int value);
