// The score of the CS:APP malloc lab, over one trace or several: the mean utilisation, the throughput
// of all calls together, and both as one index. The lab's driver compares the throughput with
// a constant for libc; we compare it with glibc, measured in the same runs.

import type { Weight } from '../foreign/rep.ts';
import type { Played } from './play.ts';

/** Utilisation makes up three fifths of the index. */
const UTILISATION_SHARE = 0.6;

/** The score of one malloc over several traces. */
export interface Score {
  malloc: string;
  /** Mean of the traces that count for it. */
  utilisation?: number;
  /** All calls of the traces that count for it, and the CPU seconds that they took. */
  calls: number;
  seconds: number;
  kops?: number;
  /** 0 to 100; undefined without glibc to compare with, and when a trace failed. */
  index?: number;
  /** Traces that it could not play. */
  failed: number;
}

/** A trace as it was played by all mallocs. */
export interface Round {
  weight: Weight;
  calls: number;
  played: readonly Played[];
}

const counts = (weight: Weight, part: Weight): boolean => weight === 'all' || weight === part;

/** The scores of all mallocs that played, in their order. */
export function scoresOf(rounds: readonly Round[]): Score[] {
  const names = rounds[0]?.played.map(({ malloc }) => malloc) ?? [];
  const scores = names.map((malloc, i) => scoreOf(malloc, rounds, i));
  const reference = scores.find(({ malloc }) => malloc === 'glibc')?.kops;
  return scores.map((score) => {
    const index = indexOf(score, reference);
    return index === undefined ? score : { ...score, index };
  });
}

function scoreOf(malloc: string, rounds: readonly Round[], i: number): Score {
  const score: Score = { malloc, calls: 0, seconds: 0, failed: 0 };
  const shares: number[] = [];
  for (const { weight, calls, played } of rounds) {
    const { failure, utilisation, cpu } = played[i] ?? {};
    if (failure !== undefined) score.failed++;
    if (utilisation !== undefined && counts(weight, 'utilisation')) shares.push(utilisation);
    if (cpu === undefined || !counts(weight, 'throughput')) continue;
    score.calls += calls;
    score.seconds += cpu.median;
  }
  if (shares.length > 0)
    score.utilisation = shares.reduce((sum, share) => sum + share, 0) / shares.length;
  if (score.seconds > 0) score.kops = score.calls / score.seconds / 1000;
  return score;
}

/** As in the lab, being faster than libc gains no more points. */
function indexOf({ utilisation, kops, failed }: Score, reference: number | undefined) {
  if (failed > 0 || utilisation === undefined || kops === undefined) return undefined;
  if (reference === undefined) return undefined;
  const speed = Math.min(1, kops / reference);
  return 100 * (UTILISATION_SHARE * utilisation + (1 - UTILISATION_SHARE) * speed);
}
