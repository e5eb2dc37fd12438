/* under.h: sharded itself, compiled into a program under other names. The malloc of the process
 * stays libc's, or the sanitizer's. */
#pragma once

/* libc's declarations were included above; from here on, these names are sharded's. */
#define malloc             under_malloc
#define free               under_free
#define calloc             under_calloc
#define realloc            under_realloc
#define reallocarray       under_reallocarray
#define free_sized         under_free_sized
#define free_aligned_sized under_free_aligned_sized
#define malloc_usable_size under_malloc_usable_size
#define posix_memalign     under_posix_memalign
#define aligned_alloc      under_aligned_alloc
#define memalign           under_memalign
#define valloc             under_valloc
#define pvalloc            under_pvalloc
#define malloc_trim        under_malloc_trim
#define mallinfo(nothing)  under_mallinfo(nothing) /* the structs keep their names */
#define mallinfo2(nothing) under_mallinfo2(nothing)
#define mallopt            under_mallopt
#define malloc_stats       under_malloc_stats
#define malloc_info        under_malloc_info
void *malloc(size_t size);
void free(void *p);
void *calloc(size_t count, size_t size);
void *realloc(void *p, size_t size);
void *reallocarray(void *p, size_t count, size_t size);
size_t malloc_usable_size(void *p);
int posix_memalign(void **out, size_t alignment, size_t size);
void *aligned_alloc(size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size);
void *valloc(size_t size);
void *pvalloc(size_t size);
int malloc_trim(size_t pad);
#undef UNUSED

/* Runs before the sanitizer is ready, and is not needed here. */
#define ifunc(resolver) unused
#include "sharded.c"
#undef ifunc
static void early(void) { (void)self_early; }
