// One plan on several mallocs, in turn.

import { progress } from '../lib/progress.ts';
import { ordered, type Summary, summarize } from '../lib/stats.ts';
import { provideNative } from '../malloc/from-source.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { launch } from '../malloc/preload.ts';
import { disproof } from '../malloc/proof.ts';
import type { PlanFigures } from '../trace/plan.ts';

/** The output of native/tools/replay.c: seconds, counts, bytes. */
interface Measured {
  wall: number;
  cpu: number;
  minorFaults: number;
  majorFaults: number;
  /** Resident before the first call and after the last one, and the most there was. */
  before: number;
  after: number;
  peak: number;
}

/** One malloc's part of the contest. */
export interface Played {
  malloc: string;
  file: string | null;
  /** Why it could not play all of it; then there are no figures. */
  failure?: string;
  /** Seconds. */
  wall?: Summary;
  cpu?: Summary;
  minorFaults?: Summary;
  majorFaults?: Summary;
  /** Bytes, without what the process had before the first call. */
  peakResident?: Summary;
  /** Peak resident over peak live bytes. */
  fragmentation?: number;
  callsPerSecond?: number;
  /** Bytes of the heap when it was largest, program and libraries not counted. */
  heap?: number;
  /** Peak live bytes over the heap's size, as in the malloc lab: 1 is no waste at all. */
  utilisation?: number;
  /** Thousands of calls per second of CPU time, as there. */
  kops?: number;
}

export interface PlayOptions {
  runs: number;
  /** Seconds after which a run counts as hung. */
  timeout?: number | undefined;
}

/** Plays the plan `runs` times on each malloc, interleaved. A malloc that fails plays no more. */
export async function play(
  plan: string,
  figures: PlanFigures,
  mallocs: Malloc[],
  options: PlayOptions,
): Promise<Played[]> {
  const player = provideNative('libmalloc-replay');
  const runs = new Map<Malloc, Measured[]>(mallocs.map((m) => [m, []]));
  const failures = new Map<Malloc, string>();
  const heaps = new Map<Malloc, number>();
  for (const m of mallocs) {
    progress(`replay: ${m.name}, how large its heap becomes`);
    const result = await playOnce<{ heap: number }>([player, '--heap', plan], m, options.timeout);
    if (typeof result === 'string') failures.set(m, result);
    else heaps.set(m, result.heap);
  }
  for (let round = 0; round < options.runs; round++) {
    for (const m of ordered(mallocs, round)) {
      if (failures.has(m)) continue;
      progress(`replay: ${m.name}, run ${round + 1} of ${options.runs}`);
      const result = await playOnce<Measured>([player, plan], m, options.timeout);
      if (typeof result === 'string') failures.set(m, result);
      else runs.get(m)?.push(result);
    }
  }
  progress('');
  return mallocs.map((m) => ({
    ...summary(m, figures, runs.get(m) ?? [], failures.get(m)),
    ...(!failures.has(m) && heapOf(heaps.get(m) ?? 0, figures)),
  }));
}

function heapOf(heap: number, { peakLive }: PlanFigures): Partial<Played> {
  return heap === 0 ? {} : { heap, ...(peakLive > 0 && { utilisation: peakLive / heap }) };
}

/** Its output, or how it failed. */
async function playOnce<T>(
  argv: string[],
  m: Malloc,
  timeout: number | undefined,
): Promise<T | string> {
  const { status, signal, stdout, stderr, timedOut, proofs } = await launch(m, argv, {
    report: true,
    timeout,
  });
  if (timedOut) return `not over after ${timeout} s`;
  const said = stderr.toString().trim().split('\n').at(-1)?.replace('libmalloc-replay: ', '');
  if (status !== 0) return said || `ended by ${signal ?? `status ${status}`}`;
  const doubt = disproof(m, proofs);
  return doubt ?? (JSON.parse(stdout.toString()) as T);
}

function summary(
  m: Malloc,
  figures: PlanFigures,
  runs: Measured[],
  failure: string | undefined,
): Played {
  const who = { malloc: m.name, file: m.file ?? null };
  if (failure !== undefined) return { ...who, failure };
  const of = (value: (run: Measured) => number): Summary => summarize(runs.map(value));
  const wall = of((run) => run.wall);
  const cpu = of((run) => run.cpu);
  const peakResident = of((run) => Math.max(run.peak - run.before, 0));
  return {
    ...who,
    wall,
    cpu,
    minorFaults: of((run) => run.minorFaults),
    majorFaults: of((run) => run.majorFaults),
    peakResident,
    ...(figures.peakLive > 0 && { fragmentation: peakResident.median / figures.peakLive }),
    callsPerSecond: figures.calls / wall.median,
    kops: figures.calls / cpu.median / 1000,
  };
}
