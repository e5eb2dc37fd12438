// Workloads, real programs, or one command: every malloc on every one of them.

import { progress } from '../lib/progress.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import type { Choice } from './catalog.ts';
import { type ContestPlan, type ContestResult, compete, referee } from './compete.ts';
import { type Absent, type Contest, prepare, prepareCommand } from './contest.ts';
import { howFar, untilInterrupted } from './interrupt.ts';

export interface Contests {
  plan: ContestPlan;
  /** The mallocs that others are compared with: Debian's, and all that are not our variants. */
  peers: { debian: string[]; all: string[] };
  contests: ContestResult[];
  absent: Absent[];
  /** Ctrl-C ended it: contests that were not finished are listed as absent. */
  interrupted?: true;
}

/** Three runs of a second each: some 25 minutes with seven mallocs; or under 3 minutes with --quick. */
export function planContests(options: { quick?: boolean; runs?: number }): ContestPlan {
  return options.quick
    ? { runs: options.runs ?? 2, amount: 'quick', timeout: 60 }
    : { runs: options.runs ?? 3, amount: 'full', timeout: 120 };
}

export function peersAmong(mallocs: readonly Malloc[]): Contests['peers'] {
  const names = (kinds: Malloc['kind'][]) =>
    mallocs.filter(({ kind }) => kinds.includes(kind)).map(({ name }) => name);
  return { debian: names(['glibc', 'peer']), all: names(['glibc', 'peer', 'file']) };
}

type Played = Pick<Contests, 'contests' | 'absent' | 'interrupted'>;

/**
 * Plays until all are finished or Ctrl-C is pressed, which also ends the current contest; that one
 * is left out.
 */
async function playAll(
  contests: readonly Contest[],
  mallocs: readonly Malloc[],
  plan: ContestPlan,
): Promise<Played> {
  const results: ContestResult[] = [];
  const start = performance.now();
  const stop = untilInterrupted();
  for (const contest of contests) {
    const where = `${howFar(results.length, contests.length, start)}: ${contest.name}`;
    const watch = (text: string) => progress(`${where}: ${text}`);
    try {
      const result = await compete(contest, mallocs, plan, { ...referee, watch });
      if (stop.aborted) break;
      results.push(result);
    } catch (error) {
      if (!stop.aborted) throw error;
      break; // Ctrl-C ended the run, so it has no result
    }
  }
  progress('');
  const left = contests.slice(results.length).map(({ name }) => ({ name, reason: 'interrupted' }));
  return { contests: results, absent: left, ...(stop.aborted && { interrupted: true }) };
}

/** Plays what was chosen. The result lists what could not run here, with the reason. */
export async function measureContests(
  choice: Pick<Choice, 'workloads' | 'programs'>,
  mallocs: readonly Malloc[],
  plan: ContestPlan,
): Promise<Contests> {
  const { contests, absent } = prepare(choice.workloads, choice.programs);
  const played = await playAll(contests, mallocs, plan);
  return { plan, peers: peersAmong(mallocs), ...played, absent: [...absent, ...played.absent] };
}

/** Plays one command. Throws Failure when a preload would not reach it. */
export async function measureCommand(
  command: string[],
  mallocs: readonly Malloc[],
  plan: ContestPlan,
): Promise<Contests> {
  const played = await playAll([prepareCommand(command)], mallocs, plan);
  return { plan, peers: peersAmong(mallocs), ...played };
}
