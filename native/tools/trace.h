/* trace.h: what `libmalloc record` writes down. The one definition of the format:
 * trace.c writes it, and scripts/trace/format.ts takes every number from the enums
 * and static_asserts of this very file.
 *
 * One file holds all processes of a recording. It grows by segments of 64 KiB, each handed
 * out by an atomic counter in the first, and each belonging to one stream (usually:
 * one thread) of one process. A stream writes into a segment that it maps shared: what
 * was stored there is the kernel's, and _exit, exec and kill -9 lose nothing. When it
 * is full, a copy goes to a segment of its own, and it is used again. A segment says all
 * that is needed to read it without the others, so a damaged one costs what it holds
 * and no more.
 *
 *     0        64 KiB        128 KiB       192 KiB       256 KiB
 *     ┌─────────┬─────────────┬─────────────┬─────────────┬─────────────┬──
 *     │ header  │ PROCESS     │ EVENTS      │ EVENTS      │ SNAPSHOT    │ …
 *     │         │ 1: python   │ 1, stream 0 │ 1, stream 1 │ 1, number 0 │
 *     └─────────┴─────────────┴─────────────┴─────────────┴─────────────┴──
 *     an EVENTS segment: struct trace_segment, then records until the first that is empty
 *     ┌────────────────┬────────┬────────┬────────┬───────────────────┐
 *     │ 64-byte header │ record │ record │ record │ 0 0 0 …           │
 *     └────────────────┴────────┴────────┴────────┴───────────────────┘
 *     a record: 16 bytes
 *     63       54 53   48 47    46                                        0
 *     ┌──────────┬───────┬───────┬────────────────────────────────────────┐
 *     │ site     │ op    │ check │ address                                │ what
 *     ├──────────┴───────┴────────┬───────────────────────────────────────┤
 *     │ ticks since the base      │ size                                  │ much
 *     └───────────────────────────┴───────────────────────────────────────┘
 *     63                        32 31                                     0
 *     The check bit makes the number of ones in a record odd: what a process leaves unfinished
 *     has no sum yet, and a flipped bit is found all the same.
 *
 * Order. Within a stream, records stand in the order of the calls. Across streams, time
 * decides: a release is stamped before the malloc at work gets the block back, an
 * allocation after it has handed the block out. So a recorded life lies within the real
 * one, and no block is seen handed out again before it is seen released. The stamp is the
 * processor's own counter where that is the same on all processors (x86: invariant
 * TSC, read so that earlier loads have been served), else the system's monotonic clock.
 *
 * Little-endian, no padding. Readers refuse a version before TRACE_OLDEST or after TRACE_VERSION,
 * and skip notes (ops from TRACE_BASE on) and kinds of segments that they do not know. Version 3
 * added STACKS; a trace of version 2 has no stacks and is otherwise the same.
 */
#pragma once

#include "../base/platform.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum { TRACE_VERSION = 3, TRACE_OLDEST = 2, TRACE_SEGMENT = 65536, TRACE_PATH = 1024, TRACE_COMMAND = 4096 };

/* The first segment. Complete before the file has its name. */
struct trace_header {
    char magic[8]; /* "LMTRACE" */
    uint32_t version;
    uint32_t segment;            /* TRACE_SEGMENT */
    _Atomic(uint64_t) segments;  /* handed out so far, this one included */
    _Atomic(uint64_t) lost;      /* records that could not be written: see trace_option */
    _Atomic(uint32_t) processes; /* numbered from 1 */
    uint32_t options;            /* enum trace_option */
    uint64_t rate;               /* ticks per second */
    uint64_t origin;             /* the counter at time 0 */
    uint64_t realtime;           /* nanoseconds since 1970 at time 0 */
};
static_assert(offsetof(struct trace_header, version) == 8, "a fixed format");
static_assert(offsetof(struct trace_header, segment) == 12, "a fixed format");
static_assert(offsetof(struct trace_header, segments) == 16, "a fixed format");
static_assert(offsetof(struct trace_header, lost) == 24, "a fixed format");
static_assert(offsetof(struct trace_header, processes) == 32, "a fixed format");
static_assert(offsetof(struct trace_header, options) == 36, "a fixed format");
static_assert(offsetof(struct trace_header, rate) == 40, "a fixed format");
static_assert(offsetof(struct trace_header, origin) == 48, "a fixed format");
static_assert(offsetof(struct trace_header, realtime) == 56, "a fixed format");
static_assert(sizeof(struct trace_header) == 64, "a fixed format");

/* NO_ROOM and NO_FILE say why records were lost. */
enum trace_option {
    TRACE_SITES = 1,
    TRACE_SNAPSHOTS = 2,
    TRACE_NO_ROOM = 4, /* the disk was full, or the file at its limit */
    TRACE_NO_FILE = 8, /* a process could not open it any more: chroot, no descriptors */
    TRACE_WITH_STACKS = 16,
};

enum trace_kind {
    TRACE_EVENTS = 1,  /* records */
    TRACE_PROCESS = 2, /* struct trace_process */
    TRACE_MAPS = 3,    /* text: /proc/self/maps as the process began, or a new library called;
                          then lines `build-id HEX PATH` */
    TRACE_HEAP = 4,    /* struct trace_chunk, a part of one walk over the heap */
    TRACE_COUNTS = 6,  /* struct trace_counts of a thread, instead of its events */
    TRACE_STACKS = 7,  /* struct trace_frame: nodes of the tree of calls of one process */
    /* 8 to 11: those of profile.h */
    /* Nothing: a stream's segment while it is being emptied. No flipped bit makes it of EVENTS. */
    TRACE_IDLE = 14,
};

/* Before the content of every segment. A sealed segment is finished, and summed up;
 * one that is not was in use when the process ended: by _exit, exec or a signal. After an
 * exit, what was in use is summed up as well, but more records may follow, of calls after
 * that. What is not used is a hole in the file, or lies behind its end. Of two with the same stream and order, the sealed one counts: the process was
 * killed before it had emptied the other. */
struct trace_segment {
    uint32_t magic; /* TRACE_MAGIC */
    uint32_t kind;
    uint32_t process; /* its number in this file */
    uint32_t stream;  /* EVENTS: numbered from 0 in each process; HEAP: the snapshot's number */
    uint32_t order;   /* which segment of this stream, map or snapshot it is, from 0 */
    uint32_t thread;  /* EVENTS: gettid() of the thread that begins here; STACKS: the number of its first node */
    uint64_t base;    /* ticks since the origin, on which the records count */
    uint32_t used;    /* bytes of content: where sealed, and in all kinds but EVENTS and STACKS */
    uint32_t sealed;  /* enum trace_seal */
    uint32_t sum;     /* trace_sum() of it all, with 0 in this place */
    uint32_t check; /* EVENTS, STACKS: trace_sum() of this head, 0 in used, sealed, sum and here */
    uint32_t place; /* of a segment in use: its number in the file */
    uint32_t reserved[3];
};
enum { TRACE_MAGIC = 0x47534d4c }; /* "LMSG" */
enum trace_seal {
    TRACE_FINISHED = 1, /* `sum` is right, and there is nothing behind `used` */
    TRACE_AT_EXIT = 2,  /* `sum` is right, but records may follow behind `used` */
};
static_assert(offsetof(struct trace_segment, kind) == 4, "a fixed format");
static_assert(offsetof(struct trace_segment, process) == 8, "a fixed format");
static_assert(offsetof(struct trace_segment, stream) == 12, "a fixed format");
static_assert(offsetof(struct trace_segment, order) == 16, "a fixed format");
static_assert(offsetof(struct trace_segment, thread) == 20, "a fixed format");
static_assert(offsetof(struct trace_segment, base) == 24, "a fixed format");
static_assert(offsetof(struct trace_segment, used) == 32, "a fixed format");
static_assert(offsetof(struct trace_segment, sealed) == 36, "a fixed format");
static_assert(offsetof(struct trace_segment, sum) == 40, "a fixed format");
static_assert(offsetof(struct trace_segment, check) == 44, "a fixed format");
static_assert(sizeof(struct trace_segment) == 64, "a fixed format");

/* An allocation's address is the block's, 0 when the call failed. realloc leaves two
 * records: RELEASE with the old block before it, REALLOC with the new one after it. The
 * old block lives on when REALLOC says address 0 with a size above 0. */
enum trace_op {
    TRACE_MALLOC = 1,
    TRACE_CALLOC = 2,
    TRACE_REALLOC = 3,
    TRACE_REALLOCARRAY = 4,
    TRACE_POSIX_MEMALIGN = 5,
    TRACE_ALIGNED_ALLOC = 6,
    TRACE_MEMALIGN = 7,
    TRACE_VALLOC = 8,
    TRACE_PVALLOC = 9,
    TRACE_FREE = 16,
    TRACE_FREE_SIZED = 17,
    TRACE_FREE_ALIGNED_SIZED = 18,
    TRACE_RELEASE = 19,

    /* Notes. `much` is one 64-bit number, and the time is that of the record before. */
    TRACE_BASE = 32, /* much: the new base */
    TRACE_WIDE = 33, /* about the next call: address: its alignment; much: its size in full */
    TRACE_FAR = 34, /* about the next call: much: its address, all 64 bits of it */
    TRACE_SITE = 35, /* address: where calls with this `site` return to, until the segment's end;
                      * much: below, the number of their stack, or 0; from bit 32 on, the bits of the
                      * site above TRACE_ADDRESS_BITS (aarch64 uses 48) */
    TRACE_THREAD = 36,    /* much: gettid() of the thread that goes on with this stream */
    TRACE_FOOTPRINT = 37, /* much: bytes of resident anonymous memory of the process */
    TRACE_SNAPSHOT = 38, /* much: a walk's number, complete in HEAP segments; address: its chunks */
};
enum { TRACE_ADDRESS_BITS = 47, TRACE_CHECK_BITS = 1, TRACE_OP_BITS = 6, TRACE_SITE_BITS = 10 };
enum { TRACE_OP_SHIFT = TRACE_ADDRESS_BITS + TRACE_CHECK_BITS };
static const uint64_t TRACE_ADDRESS_MASK = ((uint64_t)1 << TRACE_ADDRESS_BITS) - 1;

struct trace_record {
    uint64_t what, much;
};
static_assert(sizeof(struct trace_record) == 16, "16 bytes an event");

/* The number of ones in both, the check bit included, is odd. */
static inline uint64_t trace_checked(uint64_t what, uint64_t much) {
    return what | (uint64_t)!__builtin_parityll(what ^ much) << TRACE_ADDRESS_BITS;
}

/* Who called: a node of the tree of calls of one process. Nodes are numbered from 1 in the order in
 * which they stand in the STACKS segments (stream 0, order 0, 1, 2 …; `thread` is the number of a
 * segment's first node), and a parent's number is smaller than its child's. A stack is the number of
 * its innermost node:
 *
 *     node   address            parent
 *     1      in _start          0             stack 3 is: malloc's caller in leaf,
 *     2      in main            1             called by main, called by _start
 *     3      in leaf            2
 *     4      in other           2             stack 4 shares its callers with stack 3
 *
 * A forked child begins a tree of its own: its numbers mean nothing to its parent. */
struct trace_frame {
    uint64_t address; /* where the call returns to */
    uint32_t parent;  /* the number of the caller's node; 0: outermost, or the rest is not known */
    uint32_t flags;   /* enum trace_frame_flag */
};
enum trace_frame_flag {
    TRACE_FRAME_JIT = 1,    /* the address lies in no file: code that was made at run time */
    TRACE_FRAME_SIGNAL = 2, /* the address is the instruction that a signal interrupted, no call */
    TRACE_FRAME_CUT = 4,    /* there were more callers, which are not on record */
    /* Bit 30 makes the number of ones in the node odd, as the check bit of a record does. */
    TRACE_FRAME_CHECK = 0x40000000,
};
static_assert(offsetof(struct trace_frame, parent) == 8, "a fixed format");
static_assert(offsetof(struct trace_frame, flags) == 12, "a fixed format");
static_assert(sizeof(struct trace_frame) == 16, "a fixed format");

/* One chunk of libmalloc_walk (libmalloc.h), in address order.
 *
 *     63      56 55   48 47                                              0
 *     ┌─────────┬───────┬────────────────────────────────────────────────┐
 *     │ 0       │ kind  │ start                                          │ place
 *     ├─────────┴───────┴────────────────────────────────────────────────┤
 *     │ bytes from start to end                                          │ extent
 *     ├─────────────────────────────────┬────────────────────────────────┤
 *     │ user - start                    │ block size of the class        │ inside
 *     ├─────────────────┬───────────────┴────────────────────────────────┤
 *     │ owner, or 0     │ usable bytes                                   │ usable
 *     └─────────────────┴────────────────────────────────────────────────┘
 * Owners are numbered in the order in which the recorder met them. */
struct trace_chunk {
    uint64_t place, extent, inside, usable;
};
static_assert(sizeof(struct trace_chunk) == 32, "a fixed format");

struct trace_process {
    uint32_t pid;
    uint32_t parent_pid;
    uint32_t parent;    /* number of the process that it was forked from; 0: begun by exec */
    uint32_t page_size; /* bytes */
    char executable[TRACE_PATH];
    char provider[4][TRACE_PATH]; /* the files whose malloc, calloc, realloc, free are at work */
    char command[TRACE_COMMAND];  /* arguments, each ended by a zero byte, as far as they fit */
};
static_assert(offsetof(struct trace_process, parent_pid) == 4, "a fixed format");
static_assert(offsetof(struct trace_process, parent) == 8, "a fixed format");
static_assert(offsetof(struct trace_process, page_size) == 12, "a fixed format");
static_assert(offsetof(struct trace_process, executable) == 16, "a fixed format");
static_assert(offsetof(struct trace_process, provider) == 1040, "a fixed format");
static_assert(offsetof(struct trace_process, command) == 5136, "a fixed format");
static_assert(sizeof(struct trace_process) == 9232, "a fixed format");

/* Calls counted instead of recorded, by each thread for itself; what is marked (1) is the
 * whole process's, and stands in the segment of stream 0. */
enum { TRACE_CALLS = 32, TRACE_CLASSES = 280 };
enum trace_kernel {
    TRACE_MMAP,
    TRACE_MUNMAP,
    TRACE_MREMAP,
    TRACE_MADVISE,
    TRACE_MPROTECT,
    TRACE_BRK,
    TRACE_KERNEL_CALLS = 8
};

struct trace_class {
    uint64_t limit;             /* the largest size in it */
    uint64_t blocks;            /* handed out */
    uint64_t requested, usable; /* bytes in them; usable: 0 where the malloc does not say */
};
static_assert(sizeof(struct trace_class) == 32, "a fixed format");

struct trace_counts {
    uint64_t calls[TRACE_CALLS];         /* by enum trace_op; realloc counts as REALLOC alone */
    uint64_t failed[TRACE_CALLS];        /* those that returned NULL for a size above 0 */
    uint64_t kernel[TRACE_KERNEL_CALLS]; /* system calls by the malloc, where it lets us see them */
    _Atomic(uint64_t) live, peak;        /* (1) usable bytes of live blocks */
    _Atomic(uint64_t) blocks, most;      /* (1) live blocks */
    _Atomic(uint64_t) resident;          /* (1) bytes: VmHWM of the process, every 10 ms */
    uint64_t visible; /* (1) bit 0: usable sizes are known; bit 1: system calls */
    struct trace_class classes[TRACE_CLASSES];
};
static_assert(offsetof(struct trace_counts, failed) == 256, "a fixed format");
static_assert(offsetof(struct trace_counts, kernel) == 512, "a fixed format");
static_assert(offsetof(struct trace_counts, live) == 576, "a fixed format");
static_assert(offsetof(struct trace_counts, peak) == 584, "a fixed format");
static_assert(offsetof(struct trace_counts, blocks) == 592, "a fixed format");
static_assert(offsetof(struct trace_counts, most) == 600, "a fixed format");
static_assert(offsetof(struct trace_counts, resident) == 608, "a fixed format");
static_assert(offsetof(struct trace_counts, visible) == 616, "a fixed format");
static_assert(offsetof(struct trace_counts, classes) == 624, "a fixed format");

/* Over `bytes` (a multiple of 16) from a segment's first on. Each step maps different
 * words to different sums, so no change of a single word goes unnoticed. Four lanes,
 * because one would wait for its own multiplications: about 8 µs a segment. */
static inline uint32_t trace_sum(const uint32_t *words, size_t bytes) {
    uint32_t lane[4] = {1, 2, 3, 4};
    for (size_t i = 0; i < bytes / 4; i += 4)
        for (size_t j = 0; j < 4; j++)
            lane[j] = (lane[j] ^ words[i + j]) * 0x9e3779b1u;
    return ((lane[0] * 31 + lane[1]) * 31 + lane[2]) * 31 + lane[3];
}
