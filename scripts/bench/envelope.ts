// Ratios: to the best peer of each contest, and to each peer over all of them.

import { geomean } from '../lib/stats.ts';
import type { ContestResult, Quantity, Standing } from './compete.ts';

/** A malloc's median in a contest; undefined where it failed or was not there. */
function median(
  { standings }: ContestResult,
  malloc: string,
  quantity: Quantity,
): number | undefined {
  return standings.find((each) => each.malloc === malloc)?.[quantity]?.median;
}

/** The best of `among` in a contest, and its median. */
export function best(
  contest: ContestResult,
  among: readonly string[],
  quantity: Quantity,
): { malloc: string; value: number } | undefined {
  return among
    .flatMap((malloc) => {
      const value = median(contest, malloc, quantity);
      return value === undefined ? [] : [{ malloc, value }];
    })
    .reduce<{ malloc: string; value: number } | undefined>(
      (least, each) => (least === undefined || each.value < least.value ? each : least),
      undefined,
    );
}

/** A malloc against the best of `among` in this contest; undefined where either has no figure. */
export function toBest(
  contest: ContestResult,
  malloc: string,
  among: readonly string[],
  quantity: Quantity,
): number | undefined {
  const own = median(contest, malloc, quantity);
  const least = best(contest, among, quantity)?.value;
  return own === undefined || !least ? undefined : own / least;
}

export interface Mean {
  /** Geometric mean; NaN without any contest. */
  ratio: number;
  /** The number of contests in which both had a figure. */
  contests: number;
  worst?: { contest: string; ratio: number };
}

/** The mean of `ratio(contest)` over the contests that have one. */
export function meanOf(
  contests: readonly ContestResult[],
  ratio: (contest: ContestResult) => number | undefined,
): Mean {
  const found = contests.flatMap((contest) => {
    const value = ratio(contest);
    return value === undefined ? [] : [{ contest: contest.name, ratio: value }];
  });
  const worst = found.reduce<Mean['worst']>(
    (most, each) => (most === undefined || each.ratio > most.ratio ? each : most),
    undefined,
  );
  const ratios = found.map((each) => each.ratio);
  return { ratio: geomean(ratios), contests: found.length, ...(worst && { worst }) };
}

/** A malloc against the best of `among` in each contest, taken together. */
export function meanToBest(
  contests: readonly ContestResult[],
  malloc: string,
  among: readonly string[],
  quantity: Quantity,
): Mean {
  return meanOf(contests, (contest) => toBest(contest, malloc, among, quantity));
}

/** A malloc against one other over the contests that both finished. */
export function meanToOther(
  contests: readonly ContestResult[],
  malloc: string,
  other: string,
  quantity: Quantity,
): Mean {
  return meanToBest(contests, malloc, [other], quantity);
}

/**
 * Two threads against one, CPU time, for contests that exist as NAME and NAME-2t: the same work, so
 * 1 where threads do not slow each other down.
 */
export function threadPairs(
  contests: readonly ContestResult[],
): { name: string; one: ContestResult; two: ContestResult }[] {
  return contests.flatMap((two) => {
    const one = contests.find(({ name }) => `${name}-2t` === two.name);
    return one === undefined ? [] : [{ name: one.name, one, two }];
  });
}

/** CPU time with two threads per CPU time with one. */
export function threadRatio(
  { one, two }: { one: ContestResult; two: ContestResult },
  malloc: string,
): number | undefined {
  const [alone, shared] = [median(one, malloc, 'cpu'), median(two, malloc, 'cpu')];
  return alone && shared ? shared / alone : undefined;
}

/** Pairs of malloc and free in one scale of the workload; sizes of the same distribution. */
const pairsOf = { pipeline: 24_000 * 512, 'batch-fifo': 24_000_000 };

/** A pair that one thread allocates and another frees, per pair of one thread alone, in CPU time. */
export function remoteRatio(
  contests: readonly ContestResult[],
  malloc: string,
): number | undefined {
  const perPair = (name: keyof typeof pairsOf) => {
    const contest = contests.find((each) => each.name === name);
    const seconds = contest && median(contest, malloc, 'cpu');
    return seconds && seconds / pairsOf[name];
  };
  const [remote, local] = [perPair('pipeline'), perPair('batch-fifo')];
  return remote && local ? remote / local : undefined;
}

/** Those that failed, by contest. */
export function failures(
  contests: readonly ContestResult[],
): { contest: string; malloc: string; reason: string }[] {
  const failed = (contest: ContestResult) => (each: Standing) =>
    each.failed === undefined
      ? []
      : [{ contest: contest.name, malloc: each.malloc, reason: each.failed }];
  return contests.flatMap((contest) => contest.standings.flatMap(failed(contest)));
}
