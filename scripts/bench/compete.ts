// Runs one contest on every malloc in interleaved rounds and checks each run.

import { ordered, type Summary, summarize } from '../lib/stats.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { launch } from '../malloc/preload.ts';
import { disproof } from '../malloc/proof.ts';
import type { Amount } from './catalog.ts';
import type { Contest } from './contest.ts';
import { measureRun, type Run } from './measured.ts';

export interface ContestPlan {
  runs: number;
  amount: Amount;
  /** Seconds by the clock that one run may take. */
  timeout: number;
}

/** The figures of a run, in seconds, bytes and page faults. */
const quantities = ['cpu', 'wall', 'peak', 'faults'] as const;
export type Quantity = (typeof quantities)[number];

/** One malloc in one contest: its figures, or how it failed. */
export interface Standing extends Partial<Record<Quantity, Summary>> {
  malloc: string;
  failed?: string;
}

export interface ContestResult {
  name: string;
  kind: Contest['kind'];
  threads?: number;
  standings: Standing[];
  /** A remark that readers of these figures need. */
  note?: string;
}

/** How a contest is played; a test plays it without running anything. */
export interface Referee {
  prove(malloc: Malloc, contest: Contest, plan: ContestPlan): Promise<string | undefined>;
  measure(malloc: Malloc, contest: Contest, plan: ContestPlan): Promise<Run | string>;
  watch(text: string): void;
}

/**
 * Proves that the malloc is in use; otherwise every figure would be wrong. This run is not timed
 * and does the least work.
 */
async function prove(
  malloc: Malloc,
  contest: Contest,
  plan: ContestPlan,
): Promise<string | undefined> {
  // glibc is preloaded by name, so that a program with a malloc of its own is measured on glibc's.
  const plain = { ...process.env, ...contest.env, LD_PRELOAD: malloc.file ? '' : 'libc.so.6' };
  const { timeout } = plan;
  const { proofs } = await launch(malloc, contest.argv('tiny'), {
    env: plain,
    report: true,
    timeout,
  });
  return disproof(malloc, proofs);
}

async function measure(
  malloc: Malloc,
  contest: Contest,
  { amount, timeout }: ContestPlan,
): Promise<Run | string> {
  const run = await measureRun(malloc, contest.argv(amount), { env: contest.env, timeout });
  if (typeof run === 'string' || run.status === 0 || contest.kind === 'command') return run;
  return ended(run);
}

/** `status 2: ls: memory exhausted` */
const ended = ({ status, said }: Run) => `status ${status}${said === undefined ? '' : `: ${said}`}`;

export const referee: Referee = { prove, measure, watch: () => {} };

interface Player {
  malloc: Malloc;
  runs: Run[];
  failed?: string;
}

/** Runs in interleaved rounds; a malloc that fails once takes no further part. */
async function play(
  contest: Contest,
  players: Player[],
  plan: ContestPlan,
  { prove, measure, watch }: Referee,
): Promise<void> {
  watch('is every malloc in use?');
  const check = async (player: Player) => {
    const doubt = await prove(player.malloc, contest, plan);
    if (doubt !== undefined) player.failed = doubt;
  };
  await Promise.all(players.map(check));
  for (let round = 0; round < plan.runs; round++) {
    for (const player of ordered(players, round)) {
      if (player.failed !== undefined) continue;
      watch(`${player.malloc.name}, run ${round + 1} of ${plan.runs}`);
      const run = await measure(player.malloc, contest, plan);
      if (typeof run !== 'string') player.runs.push(run);
      else player.failed = plan.runs === 1 ? run : `${run} in run ${round + 1} of ${plan.runs}`;
    }
  }
}

/** The output and status of a run. */
const outcome = ({ status, digest }: Run) => `${status} ${digest}`;

/**
 * A malloc fails when the program prints something other than under glibc. Where the output under
 * glibc itself varies, only the status is compared, and the result says so.
 */
function judge(players: Player[]): string | undefined {
  const glibc = players.find(({ malloc }) => malloc.kind === 'glibc')?.runs ?? [];
  if (glibc.length === 0) return 'nothing to compare the output with: glibc has none';
  const varies = new Set(glibc.map(outcome)).size > 1;
  const visible = varies ? ({ status }: Run) => String(status) : outcome;
  const expected = glibc[0] && visible(glibc[0]);
  for (const player of players) {
    if (player.failed !== undefined || player.runs.every((run) => visible(run) === expected))
      continue;
    const other = player.runs.find((run) => run.status !== glibc[0]?.status);
    player.failed = other ? ended(other) : 'its output is not that under glibc';
  }
  return varies ? 'its output varies from run to run, and was not compared' : undefined;
}

function standing({ malloc, runs, failed }: Player): Standing {
  if (failed !== undefined) return { malloc: malloc.name, failed };
  const of = (quantity: Quantity) => summarize(runs.map((run) => run[quantity]));
  return {
    malloc: malloc.name,
    cpu: of('cpu'),
    wall: of('wall'),
    peak: of('peak'),
    faults: of('faults'),
  };
}

/** Plays one contest. The fault of a malloc is part of the result; only a Failure is thrown. */
export async function compete(
  contest: Contest,
  mallocs: readonly Malloc[],
  plan: ContestPlan,
  by: Referee = referee,
): Promise<ContestResult> {
  const players: Player[] = mallocs.map((malloc) => ({ malloc, runs: [] }));
  await play(contest, players, plan, by);
  const note = judge(players);
  const { name, kind, threads } = contest;
  return {
    name,
    kind,
    ...(threads && { threads }),
    standings: players.map(standing),
    ...(note && { note }),
  };
}
