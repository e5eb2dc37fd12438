// What a case may need of a malloc: one word for each need.

import type { Feature } from './features.ts';

/** Functions that a malloc may leave to the C library. `basics/functions` finds out which it has. */
export const functions = [
  'calloc',
  'realloc',
  'free',
  'aligned_alloc',
  'posix_memalign',
  'memalign',
  'malloc_usable_size',
  'reallocarray',
  'valloc',
  'pvalloc',
  'malloc_trim',
] as const;
type Function = (typeof functions)[number];

/**
 * What the preliminary cases (cases/basics.ts) test besides functions. `blocks`: two live blocks
 * never overlap. `alignment`: blocks are aligned to 16 bytes. `errno`: free keeps it. `enomem`: a
 * refusal sets ENOMEM. `refusals`: impossible sizes are refused. `exhaustion`: malloc returns NULL,
 * instead of crashing, when memory runs out. `threads`: two threads may allocate at once. `fork`: a
 * child may allocate although its parent had other threads inside malloc.
 */
type Trait =
  | 'blocks'
  | 'alignment'
  | 'errno'
  | 'enomem'
  | 'refusals'
  | 'exhaustion'
  | 'threads'
  | 'fork';

/**
 * The words for `needs`. A case is skipped on a malloc that lacks one of its needs: by design
 * (features.ts), or because the preliminary case for it failed, which the report shows once.
 */
export type Need = Feature | Function | Trait;

/** Why a malloc lacks something: a sentence, and the preliminary case that failed. */
export interface Lack {
  because: string;
  cause?: string;
}
