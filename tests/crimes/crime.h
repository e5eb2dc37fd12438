/* crime.h: what the programs of this folder share. Each does one thing to the heap that
 * no program may do, and ends with status 0 if it was not noticed. */
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

/* A crime is no reason for a core file. */
__attribute__((constructor)) static void no_core(void) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}
