// What a variant of ours does not do by design, and why; everything else is asked of every malloc.

/**
 * `reuse`: freed memory is handed out again or given back. `sizes`: a block is as large as asked.
 * `checks`: a pointer that is no live block ends the program. `chunks`: walk shows single blocks.
 * `lazyCalloc`: calloc does not touch memory that is zero already. `early`: memory is there while
 * the program is still being relocated. `exact`: a block takes little more than was asked for.
 * `othersExact`: walk and stats know every single block of
 * other threads that run, too. `lean`: it takes little memory of its own. `alone`: only its heap
 * asks the kernel for memory.
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
    reuse: 'dumb never looks back: what is freed stays gone',
    sizes: 'dumb knows no sizes: every block is LIBMALLOC_BLOCK bytes, larger requests are refused',
    checks: 'dumb remembers no blocks, so it cannot tell a pointer that is none',
    chunks: 'dumb remembers no blocks: its walk is one stretch of memory',
    lazyCalloc: 'dumb clears every block: somebody else may have used the break before',
    early,
  },
  buddy: {
    exact: 'buddy rounds every size up to a power of two',
  },
  list: {
    lazyCalloc: 'list does not remember which memory is fresh, so calloc clears all of it',
    early,
  },
  sharded: {
    othersExact: 'sharded knows the pages of running threads by what their owners said last',
  },
};

/** What the guard of a debug build (native/guard/guard.h) takes away. */
const guarded: Partial<Record<Feature, string>> = {
  lean: 'a debug build remembers 176 bytes about each block, and keeps freed ones in quarantine',
  alone: 'in a debug build the guard asks for memory too, while no heap is locked',
};

/** Why the variant lacks the feature; undefined when it has it, or is no variant of ours. */
export function gap(variant: string, feature: Feature, debug = false): string | undefined {
  if (!debug) return gaps[variant]?.[feature];
  return feature === 'checks' ? undefined : (guarded[feature] ?? gaps[variant]?.[feature]);
}

/** Variants whose calls walk past every block: they are given less to do. */
const walkers = ['list'];

/** Does a call cost more the more blocks there are? */
export function isSlow(variant: string): boolean {
  return walkers.includes(variant);
}
