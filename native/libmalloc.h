/* libmalloc.h: what our libraries offer beyond malloc(3).
 *
 * Every function may be called from any thread at any time, except from a signal
 * handler. None of them allocates from the heap that it describes. Sizes are in bytes.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define LIBMALLOC_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

enum libmalloc_kind {
    LIBMALLOC_REGION, /* container: a contiguous stretch of memory got from the OS */
    LIBMALLOC_SPAN,   /* container inside a region: pages cut into equal blocks */
    LIBMALLOC_HEADER, /* the allocator's own records */
    LIBMALLOC_LIVE,   /* handed out and not freed */
    LIBMALLOC_FREE,   /* freed, ready to be handed out again */
    LIBMALLOC_FRESH,  /* never handed out, never touched by us */
    LIBMALLOC_CACHED, /* whole pages kept for reuse */
    LIBMALLOC_REMOTE, /* freed by another thread, not yet taken over by its owner */
};

/* The bytes [start, start + extent). `user` and `usable` are the caller's part of
 * a LIVE or FREE chunk (NULL and 0 elsewhere); `size_class` is the block size of
 * the chunk's class, 0 where there are no classes; `owner` names the heap that
 * owns the chunk (0 where there is only one). */
struct libmalloc_chunk {
    void *start;
    size_t extent;
    void *user;
    size_t usable;
    uint32_t kind, size_class;
    uint64_t owner;
};

/* Visits every chunk in address order, each container before its content; the
 * chunks that are not containers tile their region without gap or overlap.
 * The chunks are listed under the locks, and the callbacks run after these are
 * released, so `visit` may allocate, free and walk. A return value other than 0
 * stops the walk and is returned; -1 with errno ENOMEM when there is no memory
 * for the list. */
int libmalloc_walk(int (*visit)(const struct libmalloc_chunk *, void *), void *arg);

/* Verifies every invariant of the heap and returns how many are broken; `report`
 * (may be NULL) gets one line about each of the first few. -1 with errno ENOMEM. */
int libmalloc_check(void (*report)(const char *line, void *), void *arg);

/* `size` is set by the caller to the size of the struct that it was compiled
 * with; fields that it does not know are left out. */
struct libmalloc_stats {
    size_t size;
    size_t regions;      /* how many contiguous stretches of memory */
    size_t mapped;       /* bytes in them */
    size_t live_blocks;  /* blocks handed out and not freed */
    size_t live_bytes;   /* their usable bytes */
    size_t free_blocks;  /* blocks ready to be reused */
    size_t free_bytes;   /* their usable bytes */
    size_t fresh_bytes;  /* bytes never handed out */
    size_t header_bytes; /* the allocator's own records, inside regions and outside */
    size_t spare_bytes;  /* unused bytes that libmalloc_purge could give back */
    size_t limit;        /* LIBMALLOC_OPTIONS=limit=BYTES; 0 without a limit */
    size_t taken;        /* bytes that count against the limit */
};
int libmalloc_stats(struct libmalloc_stats *stats); /* 0, or -1 with errno */

/* Gives all unused memory back to the system; returns the number of bytes given back.
 * Memory that is used again afterwards costs its page faults again. */
size_t libmalloc_purge(void);

const char *libmalloc_version(void); /* for instance "libmalloc 0.1.0 (list)" */

/* Prints zones and live blocks in address order, hexadecimal, with sizes and a
 * total, to standard output: the format of 42's malloc project. */
void show_alloc_mem(void);

#ifdef __cplusplus
}
#endif
