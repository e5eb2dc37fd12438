/* absent.h: functions of our libraries that the headers of musl, or of an older glibc, do not declare.
 * The command line includes it where a program is compiled for such a C library.
 */
#pragma once

#include "../../native/base/platform.h"

#include <stdio.h>

/* Weak: the program links without them, and finds them in the preloaded library. */
#define WEAK __attribute__((weak))

WEAK void *pvalloc(size_t size);
WEAK struct mallinfo mallinfo(void);
WEAK struct mallinfo2 mallinfo2(void);
WEAK int malloc_info(int options, FILE *stream);
WEAK void malloc_stats(void);
WEAK int malloc_trim(size_t pad);
WEAK int mallopt(int parameter, int value);
