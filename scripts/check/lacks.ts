// Whether a malloc has what a case needs, and what its programs are told about it.

import type { Subject } from './case.ts';
import { type Feature, gap } from './features.ts';
import type { Lack, Need } from './needs.ts';

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
  memalign: 'memalign_if_any(',
  calloc: 'check_zero(',
  realloc: 'check_moved(',
};

/** life.h includes program.h. */
const asking = /^#include "(?:program|life)\.h"/m;

/**
 * What a program is told, so that it can go on without it (`lacks` in tests/programs/program.h):
 * only the words that its source asks for. Empty for a malloc that lacks nothing.
 */
export function toldLacks({ lacks, alignment }: Subject, source: string): Record<string, string> {
  if (lacks === undefined || !asking.test(source)) return {};
  const asks = (word: Need): boolean =>
    source.includes(`"${word}"`) || source.includes(askedBy[word] ?? `"${word}"`);
  const words = [...lacks.keys()].filter(asks);
  return {
    ...(words.length > 0 && { CHECK_LACKS: words.join(',') }),
    ...(alignment !== undefined && { CHECK_ALIGNMENT: String(alignment) }),
  };
}
