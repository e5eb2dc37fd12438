// The start-up cost of a malloc: a process that allocates one block and ends.

import { progress } from '../lib/progress.ts';
import { ordered, type Summary, summarize } from '../lib/stats.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { preloadValue } from '../malloc/preload.ts';
import { execute } from '../process/execute.ts';
import { measureRun } from './measured.ts';
import { workloadProgram } from './workload.ts';

export interface StartPlan {
  runs: number;
  /** Processes of a run. */
  times: number;
}

export interface Start {
  malloc: string;
  /** CPU seconds of a process, its exec and its end included. */
  cpu?: Summary;
  /** CPU against that with the empty library, run by run. */
  overEmpty?: Summary;
  /** Page faults of a process. */
  faults?: Summary;
  /** System calls, those of the dynamic linker included. */
  calls?: number;
  /** Bytes present at its end, and those of them that no file backs. */
  resident?: number;
  private?: number;
  failed?: string;
}

export interface Starts {
  starts: Start[];
  /** Why there are no system calls and no memory. */
  uncounted?: string;
}

/** The name of an empty library in the results: it shows what preloading anything costs. */
export const EMPTY = 'empty library';

export function planStart(options: { quick?: boolean; runs?: number }): StartPlan {
  return options.quick ? { runs: 5, times: 40 } : { runs: 25, times: 100 };
}

/** How often memory is read: the kernel's placement varies by some pages. */
const LOOKS = 5;

interface Player {
  malloc: Malloc;
  cpu: number[];
  faults: number[];
  start: Start;
}

/** On a shared machine only ratios of runs at about the same time are meaningful. */
async function timeRound(players: Player[], program: string, plan: StartPlan, round: number) {
  for (const player of ordered(players, round)) {
    if (player.start.failed !== undefined) continue;
    progress(`start: ${player.malloc.name}, run ${round + 1} of ${plan.runs}`);
    const run = await measureRun(player.malloc, [program], { timeout: 60, times: plan.times });
    if (typeof run === 'string') player.start.failed = run;
    else if (run.status !== 0) player.start.failed = `status ${run.status}`;
    else {
      player.cpu.push(run.cpu / plan.times);
      player.faults.push(run.faults / plan.times);
    }
  }
}

interface Counted {
  status: number;
  signal: number;
  calls: number;
  resident: number;
  private: number;
}

/** Throws where this process may not trace another. */
async function count(malloc: Malloc, program: string): Promise<Counted> {
  const preload = preloadValue(malloc);
  const args = [...(preload ? ['-l', preload] : []), program];
  const counter = workloadProgram('syscalls.c');
  const { status, stdout, stderr } = await execute(counter, args, {
    env: process.env,
    timeout: 20,
  });
  if (status !== 0) throw new Error(String(stderr).trim() || `status ${status}`);
  return JSON.parse(String(stdout)) as Counted;
}

async function countAll(malloc: Malloc, program: string): Promise<Partial<Start>> {
  const looks: Counted[] = [];
  for (let i = 0; i < LOOKS; i++) looks.push(await count(malloc, program));
  const middle = (of: (each: Counted) => number) => summarize(looks.map(of)).median;
  return {
    calls: middle(({ calls }) => calls),
    resident: middle(({ resident }) => resident * 1024),
    private: middle((each) => each.private * 1024),
  };
}

function finish({ cpu, faults, start }: Player, empty: Player | undefined): void {
  if (start.failed !== undefined) return;
  start.cpu = summarize(cpu);
  start.faults = summarize(faults);
  if (empty && empty.start.failed === undefined)
    start.overEmpty = summarize(cpu.map((seconds, round) => seconds / (empty.cpu[round] ?? 0)));
}

/** Measures every malloc and the empty library, runs interleaved. */
export async function measureStart(mallocs: readonly Malloc[], plan: StartPlan): Promise<Starts> {
  const program = workloadProgram('start.c');
  const file = workloadProgram('empty.c', ['-shared', '-fPIC']);
  const entrants: Malloc[] = [{ name: EMPTY, kind: 'file', file }, ...mallocs];
  const players: Player[] = entrants.map((malloc) => {
    return { malloc, cpu: [], faults: [], start: { malloc: malloc.name } };
  });
  for (let round = 0; round < plan.runs; round++) await timeRound(players, program, plan, round);
  const result: Starts = { starts: players.map(({ start }) => start) };
  for (const player of players) {
    finish(player, players[0]);
    if (player.start.failed !== undefined || result.uncounted !== undefined) continue;
    try {
      Object.assign(player.start, await countAll(player.malloc, program));
    } catch (error) {
      result.uncounted = (error as Error).message;
    }
  }
  progress('');
  return result;
}
