// Whether a malloc has what a case needs, and the variables that tell programs what it lacks.

import type { Subject } from './case.ts';
import { type Feature, gap } from './features.ts';
import type { Lack, Need } from './needs.ts';

/** Why the malloc lacks what `need` names; undefined if it has it, as far as we know. */
export function lack({ malloc, lacks }: Subject, need: Need): Lack | undefined {
  const because =
    malloc.kind === 'variant' ? gap(malloc.name, need as Feature, malloc.debug) : undefined;
  return because === undefined ? lacks?.get(need) : { because };
}

/** The first of these needs that the malloc lacks. */
export function firstLack(subject: Subject, needs: readonly Need[]): Lack | undefined {
  return needs.map((need) => lack(subject, need)).find((found) => found !== undefined);
}

/** The call by which a program asks for a need (program.h); other needs it asks for by name. */
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
 * The variables that tell a program what the malloc lacks, so that it can do without (`lacks` in
 * tests/programs/program.h): only the needs that its source asks for. Empty if nothing is lacking.
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
