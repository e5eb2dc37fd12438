/* crime.h: what the programs of this folder share. Each misuses the heap in one way, and
 * ends with status 0 if that was not detected. */
#pragma once

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t alignment, size_t size);
#pragma weak free_sized
#pragma weak free_aligned_sized

/* Without core files: these programs are meant to die. */
__attribute__((constructor)) static void no_core(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}
