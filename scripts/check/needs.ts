// What a case may need of a malloc, in one word each, and whether this malloc has it.

import type { Subject } from './case.ts';
import { type Feature, gap } from './features.ts';

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
 * `blocks`: two live blocks never overlap. `alignment`: 16 bytes. `errno`: free leaves it alone.
 * `enomem`: a refusal says ENOMEM. `refusals`: impossible sizes are refused. `exhaustion`: NULL,
 * and no crash, when memory ends. `threads`: two may allocate at once. `fork`: a child may allocate
 * whose parent had other threads inside malloc.
 */
export type Trait =
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

/** Why the malloc lacks what `need` names; undefined when it has it, as far as is known. */
export function lack({ malloc, lacks }: Subject, need: Need): Lack | undefined {
  const because =
    malloc.kind === 'variant' ? gap(malloc.name, need as Feature, malloc.debug) : undefined;
  return because === undefined ? lacks?.get(need) : { because };
}

/** The first of these needs that the malloc lacks. */
export function firstLack(subject: Subject, needs: readonly Need[]): Lack | undefined {
  return needs.map((need) => lack(subject, need)).find((found) => found !== undefined);
}

/** How a program asks for some of the words (tests/programs/program.h); for others by the word. */
const askedBy: Partial<Record<Need, string>> = {
  malloc_usable_size: 'usable_size(',
  errno: 'errno_kept(',
  enomem: 'says_enomem(',
};

/**
 * What a program is told, so that it can go on without it (`lacks` in tests/programs/program.h):
 * only the words that its source asks for. Empty for a malloc that lacks nothing.
 */
export function toldLacks({ lacks, alignment }: Subject, source: string): Record<string, string> {
  if (lacks === undefined || !source.includes('#include "program.h"')) return {};
  const words = [...lacks.keys()].filter((word) => source.includes(askedBy[word] ?? `"${word}"`));
  return {
    ...(words.length > 0 && { CHECK_LACKS: words.join(',') }),
    ...(alignment !== undefined && { CHECK_ALIGNMENT: String(alignment) }),
  };
}
