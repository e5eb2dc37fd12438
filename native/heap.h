/* heap.h: the contract. A variant defines these verbs; abi.h, which it includes
 * last, turns them into malloc and its family.
 *
 *     the program ── malloc, free, … ──> abi.h      what every malloc must get right
 *                                          │         (errno, overflow, zero sizes)
 *                                      the contract
 *                                          │
 *              dumb.c · list.c · buddy.c · paged.c · sharded.c       one idea each
 *                                          │
 *                                         os.h       the kernel
 *
 * Each variant is one translation unit and every verb is `static`, so the
 * compiler joins the layers without an indirect call.
 */
#pragma once

#include "base/platform.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "libmalloc.h"

/* Declares a C file a variant: its rung on the ladder and its name, which is the file's. A variant
 * beside the ladder has a rung between two others: 2.5. The build finds the variants by reading
 * this line in the sources. */
#define LIBMALLOC_VARIANT(rung, name)                                                              \
    static const char heap_version[] = "libmalloc " LIBMALLOC_VERSION " (" #name ")";              \
    static_assert((int)(rung) > 0, "rungs count from 1")

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define COLD        __attribute__((cold, noinline))
#define UNUSED      __attribute__((unused)) /* some variants do not use it */
#define EXPORT      __attribute__((visibility("default")))

/* Every block is aligned for any C object (max_align_t), even a 1-byte one. */
enum { ALIGNMENT = 16 };
static_assert(ALIGNMENT >= _Alignof(max_align_t), "blocks must hold any object");

static inline size_t round_up(size_t n, size_t to) { return (n + to - 1) & ~(to - 1); }
static inline char *align_up(void *p, size_t to) { return (char *)round_up((uintptr_t)p, to); }

struct lock;
struct snapshot;
struct findings;

/* Memory out: at least `size` bytes (0 ≤ size ≤ PTRDIFF_MAX), aligned to 16 or to
 * `alignment` (a power of two > 16, alignment + size ≤ PTRDIFF_MAX), never the
 * same address twice while it lives. NULL with errno ENOMEM when there is none.
 * heap_allocate is malloc itself: it also rejects sizes above PTRDIFF_MAX; a variant
 * whose large blocks take a separate path gets that check for free. */
static void *heap_allocate(size_t size);
static void *heap_allocate_zeroed(size_t size);
static void *heap_allocate_aligned(size_t alignment, size_t size);

/* Memory back, and questions about it. `p` is not NULL, except for heap_free, which is
 * free itself; for any other bad pointer the verb calls die() with `call`, the name of
 * the public function in progress. heap_free keeps errno. heap_resize returns the block's
 * (new) address, or NULL with errno ENOMEM and the old block intact. */
static void heap_free(void *p, const char *call);
static void *heap_resize(void *p, size_t size, const char *call);
static size_t heap_usable(void *p, const char *call);

/* Gives unused memory back to the OS, keeping `pad` bytes of slack where there is
 * a choice; returns the number of bytes given back. */
static size_t heap_trim(size_t pad);

/* Describes the heap, in address order (snapshot.h). Takes the locks it needs. */
static void heap_snapshot(struct snapshot *out);
static void heap_verify(struct findings *out);
static size_t heap_overhead(void); /* bytes of records outside every region */

/* Computes the figures of libmalloc_stats, except `size` and `limit`; `out` is zero before.
 * Uses counters where the variant has any, because programs ask often. A caller that may
 * have interrupted malloc (a signal handler) is not `patient`: then this waits for no lock
 * and allocates nothing. False if the figures cannot be had so, or if there is no memory
 * for a walk. */
static bool heap_count(struct libmalloc_stats *out, bool patient);

/* For fork (lock.h): the i-th lock, NULL past the last; whether the heap can go on in
 * a child if none of them is lost; and how to abandon it if not: its blocks stay
 * readable, frees of them are ignored, and a fresh heap takes over. False without
 * memory for one. */
static struct lock *heap_lock(unsigned i);
static bool heap_goes_on(void);
static bool heap_freeze(void);

/* Offered by inspect.h to a variant without counters: heap_count by a walk; and whether
 * every lock is free, so that a caller that is not `patient` may take them. */
static bool heap_tally(struct libmalloc_stats *out, bool patient);
static bool heap_is_idle(void);
