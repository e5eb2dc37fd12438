// `bench pairs`: what one small malloc+free pair costs in steady state.

import { progress } from '../lib/progress.ts';
import { geomean, ordered, type Summary, summarize } from '../lib/stats.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { withinLimits } from './limits.ts';
import { type Outcome, stepWorkload, timeWorkload } from './workload.ts';

/** As pairs.c numbers them. */
export const orders = ['tight', 'lifo', 'random'] as const;
export type Order = (typeof orders)[number];

export interface PairsPlan {
  /** 0 times nothing. */
  runs: number;
  /** Pairs in the shorter of the two timed sections. */
  pairs: number;
  /** Pairs in the shorter of the two stepped sections; 0 counts no instructions. */
  stepped: number;
  /** Bytes of a block. */
  size: number;
}

export interface Pairs {
  malloc: string;
  /** Instructions per pair, outside of the workload; `worst` is the largest of the three. */
  instructions?: Record<Order, number> & { worst: number };
  /** CPU nanoseconds per pair, the workload's own loop included. */
  nanoseconds?: Record<Order, Summary>;
  /** CPU against glibc's in the same round, the three orders taken together (geometric mean). */
  ratio?: Summary;
  stopped?: string;
}

/**
 * The default plan, or one that takes some ten seconds per malloc. A step takes microseconds, and in
 * steady state every batch has the same count, so the difference of one batch and three suffices.
 */
export function planPairs(options: { quick?: boolean; runs?: number }): PairsPlan {
  return options.quick
    ? { runs: options.runs ?? 3, pairs: 1_000_000, stepped: 100, size: 32 }
    : { runs: options.runs ?? 7, pairs: 2_000_000, stepped: 100, size: 32 };
}

/** The difference of the two sections, per pair: the costs of beginning and ending a section are in both. */
function instructionsPerPair({ sections: [short, long] }: Outcome): number | undefined {
  if (short?.instructions === undefined || long?.instructions === undefined) return undefined;
  const pairs = (long.calls - short.calls) / 2;
  return pairs > 0 ? (long.instructions - short.instructions) / pairs : undefined;
}

/** Counts one malloc's instructions per pair in each order; a string says why it cannot be. */
export async function countPairs(
  malloc: Malloc,
  plan: PairsPlan,
): Promise<(Record<Order, number> & { worst: number }) | string> {
  const counts: number[] = [];
  for (const order of orders.keys()) {
    progress(`pairs: ${malloc.name}, ${orders[order]}, counting instructions`);
    const options = { order, pairs: plan.stepped, size: plan.size };
    const outcome = await stepWorkload(malloc, 'pairs', withinLimits(malloc, options));
    const count = instructionsPerPair(outcome);
    if (count === undefined) return outcome.stopped ?? 'no count';
    counts.push(count);
  }
  const [tight = 0, lifo = 0, random = 0] = counts;
  return { tight, lifo, random, worst: Math.max(...counts) };
}

type Times = Record<Order, number[]>;

async function timeRound(
  malloc: Malloc,
  plan: PairsPlan,
  times: Times,
): Promise<string | undefined> {
  for (const [order, name] of orders.entries()) {
    const options = { order, pairs: plan.pairs, size: plan.size, budget: 1 };
    const { sections, stopped } = await timeWorkload(
      malloc,
      'pairs',
      withinLimits(malloc, options),
    );
    const pairs = sections.reduce((sum, { calls }) => sum + calls / 2, 0);
    const seconds = sections.reduce((sum, section) => sum + section.seconds, 0);
    if (pairs === 0) return stopped ?? 'out of time';
    times[name].push((seconds / pairs) * 1e9);
  }
  return undefined;
}

/** Ratios to the reference, round by round: both ran within the same moments of the machine. */
export function ratios(times: Times, reference: Times): number[] {
  return times.tight.map((_, round) =>
    geomean(orders.map((order) => (times[order][round] ?? 0) / (reference[order][round] ?? 0))),
  );
}

/** Measures every malloc, runs interleaved; the one named glibc is the unit of the ratios. */
export async function measurePairs(
  mallocs: readonly Malloc[],
  plan: PairsPlan,
): Promise<{ pairs: Pairs[]; uncounted?: string }> {
  const results = mallocs.map((malloc) => ({
    malloc,
    times: { tight: [], lifo: [], random: [] } as Times,
    found: { malloc: malloc.name } as Pairs,
  }));
  for (let round = 0; round < plan.runs; round++) {
    for (const { malloc, times, found } of ordered(results, round)) {
      if (found.stopped !== undefined) continue;
      progress(`pairs: ${malloc.name}, run ${round + 1} of ${plan.runs}, CPU time`);
      const stopped = await timeRound(malloc, plan, times);
      if (stopped !== undefined) found.stopped = stopped;
    }
  }
  const unit = results.find(({ malloc }) => malloc.kind === 'glibc');
  let uncounted: string | undefined;
  for (const { malloc, times, found } of results) {
    if (plan.runs > 0 && found.stopped === undefined) {
      found.nanoseconds = {
        tight: summarize(times.tight),
        lifo: summarize(times.lifo),
        random: summarize(times.random),
      };
      if (unit?.found.stopped === undefined && unit !== undefined)
        found.ratio = summarize(ratios(times, unit.times));
    }
    if (plan.stepped === 0 || uncounted !== undefined) continue;
    try {
      const counted = await countPairs(malloc, plan);
      if (typeof counted === 'string') found.stopped ??= counted;
      else found.instructions = counted;
    } catch (error) {
      uncounted = (error as Error).message;
    }
  }
  progress('');
  return { pairs: results.map(({ found }) => found), ...(uncounted ? { uncounted } : {}) };
}
