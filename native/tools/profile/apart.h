/* apart.h: gives a block that is sampled an address that blocks_may_hold recognises: a multiple of APART.
 *
 * That costs up to two times APART bytes: where a sample stands for 256 KiB or more, at most some 3 % of
 * the memory. Some blocks stay where the malloc placed them: a large calloc, which must not be touched, and what
 * the program itself wants aligned. As long as such a sample is live, free looks closer at more other blocks.
 */
#pragma once

#include "../trace/next.h"
#include "blocks.h"

enum { APART_LEAST = 256 * 1024, APART_COPIED = 32 * 1024 };

static void apart_begin(bool apart) {
    blocks.apart = apart;
    others_set();
}

/* NULL where there is none to be had: then any block will do. */
static void *apart_allocate(size_t size) {
    void *p = NULL;
    int error = errno;
    if (blocks.apart && next.posix_memalign(&p, APART, size ? size : 1) != 0)
        p = NULL;
    errno = error;
    return p;
}

/* A block of `size` bytes, which may be NULL, as a sampled one. */
static void *apart_move(void *from, size_t size) {
    void *to = from && !blocks_may_hold(from) && size <= APART_COPIED ? apart_allocate(size) : NULL;
    if (!to)
        return from;
    memcpy(to, from, size);
    next.free(from);
    return to;
}
