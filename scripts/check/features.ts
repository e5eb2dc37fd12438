// What each of our variants does not do by design, and why. Cases demand all else of every malloc.

/**
 * `reuse`: freed memory is handed out again or returned to the system. `sizes`: a block is as large
 * as requested. `checks`: a pointer that is no live block ends the program. `chunks`: walk shows
 * single blocks. `lazyCalloc`: calloc does not touch memory that is already zero. `early`: malloc
 * works while the program is still being relocated. `exact`: a block takes little more memory than
 * was requested. `othersExact`: walk and stats count every block of other running threads, too.
 * `lean`: it needs little memory for itself. `alone`: only its heap asks the kernel for memory.
 */
export type Feature =
  | 'reuse'
  | 'sizes'
  | 'checks'
  | 'chunks'
  | 'lazyCalloc'
  | 'early'
  | 'exact'
  | 'othersExact'
  | 'lean'
  | 'alone';

const early = 'libc refuses to move the break before it has been initialised';

const gaps: Record<string, Partial<Record<Feature, string>>> = {
  dumb: {
    reuse: 'dumb never reuses memory that was freed',
    sizes: 'dumb knows no sizes: each block has LIBMALLOC_BLOCK bytes, larger requests are refused',
    checks: 'dumb records no blocks, so it cannot tell whether a pointer is one',
    chunks: 'dumb records no blocks, so its walk shows one stretch of memory',
    lazyCalloc: 'dumb clears every block, because others may have used the memory above the break',
    early,
  },
  buddy: {
    exact: 'buddy rounds every size up to a power of two',
  },
  list: {
    lazyCalloc: 'list does not record which memory is fresh, so calloc clears every block',
    early,
  },
  sharded: {
    othersExact: 'sharded counts blocks in pages of running threads as their owners last published',
  },
};

/** What a debug build lacks because of its guard (native/guard/guard.h). */
const guarded: Partial<Record<Feature, string>> = {
  lean: 'a debug build records 176 bytes about each block, and keeps freed blocks in quarantine',
  alone: 'in a debug build the guard asks the kernel for memory too, while no heap is locked',
};

/** Why the variant lacks the feature; undefined if it has it, or is no variant of ours. */
export function gap(variant: string, feature: Feature, debug = false): string | undefined {
  if (!debug) return gaps[variant]?.[feature];
  return feature === 'checks' ? undefined : (guarded[feature] ?? gaps[variant]?.[feature]);
}

/** Variants whose calls walk past every block; their cases use smaller sizes. */
const walkers = ['list'];

/** True if a call costs more the more blocks are live. */
export function isSlow(variant: string): boolean {
  return walkers.includes(variant);
}
