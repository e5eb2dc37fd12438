// What a case may need of a malloc, in one word each.

import type { Feature } from './features.ts';

/** Functions that a malloc may leave to the C library. `basics/functions` finds out who has them. */
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
 * What the other preliminary questions (cases/basics.ts) are about, besides functions that work.
 * `calls`: malloc and free return. `blocks`: two live blocks never overlap. `alignment`: 16 bytes.
 * `errno`: free leaves it alone. `enomem`: a refusal says ENOMEM. `refusals`: impossible sizes are
 * refused. `exhaustion`: NULL, and no crash, when memory ends. `threads`: two may allocate at once.
 * `fork`: a child may allocate whose parent had other threads inside malloc.
 */
type Trait =
  | 'calls'
  | 'blocks'
  | 'alignment'
  | 'errno'
  | 'enomem'
  | 'refusals'
  | 'exhaustion'
  | 'threads'
  | 'fork';

/**
 * The words for `needs`: a case that names one is not run on a malloc that lacks it, by design
 * (features.ts) or because the preliminary question of that word failed, which is said once.
 */
export type Need = Feature | Function | Trait;

/** Why a malloc lacks something: the sentence, and the preliminary case that found it out. */
export interface Lack {
  because: string;
  cause?: string;
}
