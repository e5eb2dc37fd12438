// Estimates the cost of a long trace on dumb and list, which are made for teaching, not for speed.

import { Failure } from '../lib/errors.ts';
import { count, megabytes } from '../lib/units.ts';
import { type Malloc, variantOf } from '../malloc/mallocs.ts';
import type { PlanFigures } from '../trace/plan.ts';

const MOST_CALLS = 100_000;
/** Seconds that list needs to walk past a chunk: most are not in the cache. */
const PASS_S = 3e-9;
/** LIBMALLOC_BLOCK's default and the header of a block of dumb. */
const DUMB_BLOCK = 65536;

function estimate(variant: string, figures: PlanFigures): string {
  if (variant === 'dumb') {
    const block = Number(process.env.LIBMALLOC_BLOCK ?? DUMB_BLOCK);
    return `some ${megabytes(figures.calls * block)} of memory, as it reuses none`;
  }
  const seconds = figures.walked * PASS_S;
  const passed = count(figures.walked / figures.calls);
  return `some ${seconds < 100 ? Math.ceil(seconds) : count(seconds)} s a run, as each call walks past up to ${passed} chunks`;
}

/**
 * Throws Failure, with an estimate, when dumb or list would have to play more than 100,000 calls;
 * with `force`, returns the estimates.
 */
export function checkPatience(mallocs: Malloc[], figures: PlanFigures, force: boolean): string[] {
  if (figures.calls <= MOST_CALLS) return [];
  const slow = mallocs.filter((m) => ['dumb', 'list'].includes(variantOf(m) ?? ''));
  const lines = slow.map(
    (m) =>
      `${m.name} would need ${estimate(variantOf(m) ?? '', figures)} for ${count(figures.calls)} calls`,
  );
  const [first] = lines;
  if (first !== undefined && !force)
    throw new Failure(first, { hint: '--force plays it all the same' });
  return lines;
}
