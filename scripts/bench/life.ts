// `bench life`: how much memory a process holds, and how long its calls take, in situations that
// services meet. Every malloc plays each scenario; runs are interleaved.

import { progress } from '../lib/progress.ts';
import { ordered } from '../lib/stats.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import type { Amount } from './catalog.ts';
import { peersAmong } from './contests.ts';
import { howFar, untilInterrupted } from './interrupt.ts';
import { type Observation, observe } from './observe.ts';
import { type FigureKind, figureKinds, type Scenario } from './scenarios.ts';

export interface LifePlan {
  /** Runs of a scenario of memory, and of one of latencies, which vary more. */
  runs: { memory: number; latency: number };
  amount: Amount;
  /** Seconds by the clock that one run may take. */
  timeout: number;
}

/** One malloc in one scenario: the values of each figure, run by run, or how it failed. */
interface Lived {
  malloc: string;
  figures?: Record<string, number[]>;
  /** Resident over live bytes over time, of the first run. */
  track?: number[];
  failed?: string;
}

export interface ScenarioResult {
  name: string;
  kinds: FigureKind[];
  lives: Lived[];
}

export interface Life {
  plan: LifePlan;
  /** The peers: all mallocs that are not our variants. */
  peers: string[];
  scenarios: ScenarioResult[];
  absent: { name: string; reason: string }[];
  /** Ctrl-C ended it: scenarios that were not finished are listed as absent. */
  interrupted?: true;
}

/** Some 80 seconds for each malloc, or a quarter of it. Memory repeats to about a percent. */
export function planLife(options: { quick?: boolean; runs?: number }): LifePlan {
  const { runs } = options;
  return {
    runs: { memory: runs ?? 1, latency: runs ?? 3 },
    ...(options.quick ? { amount: 'quick', timeout: 40 } : { amount: 'full', timeout: 120 }),
  };
}

type Observe = (malloc: Malloc, scenario: Scenario) => Promise<Observation | string>;

interface Player {
  malloc: Malloc;
  seen: Observation[];
  failed?: string;
}

const lived =
  (kinds: readonly FigureKind[]) =>
  ({ malloc, seen, failed }: Player): Lived => {
    if (failed !== undefined) return { malloc: malloc.name, failed };
    const values = (name: string) => seen.map(({ figures }) => figures[name] ?? Number.NaN);
    const track = seen[0]?.track;
    return {
      malloc: malloc.name,
      figures: Object.fromEntries(kinds.map(({ name }) => [name, values(name)])),
      ...(track && { track }),
    };
  };

/** Plays one scenario in interleaved rounds; a malloc that fails once is out, with the reason. */
export async function playScenario(
  scenario: Scenario,
  mallocs: readonly Malloc[],
  runs: number,
  by: Observe,
  watch: (text: string) => void = () => {},
): Promise<ScenarioResult> {
  const players: Player[] = mallocs.map((malloc) => ({ malloc, seen: [] }));
  for (let round = 0; round < runs; round++) {
    for (const player of ordered(players, round)) {
      if (player.failed !== undefined) continue;
      watch(`${player.malloc.name}, run ${round + 1} of ${runs}`);
      const found = await by(player.malloc, scenario);
      if (typeof found !== 'string') player.seen.push(found);
      else player.failed = runs === 1 ? found : `${found} in run ${round + 1} of ${runs}`;
    }
  }
  const kinds = figureKinds(scenario);
  return { name: scenario.name, kinds, lives: players.map(lived(kinds)) };
}

/** Plays all scenarios, or those finished before Ctrl-C; the one that it interrupts is left out. */
export async function measureLife(
  scenarios: readonly Scenario[],
  mallocs: readonly Malloc[],
  plan: LifePlan,
): Promise<Life> {
  const stop = untilInterrupted();
  const since = performance.now();
  const results: ScenarioResult[] = [];
  const by: Observe = async (malloc, scenario) =>
    stop.aborted ? 'interrupted' : observe(malloc, scenario, plan.amount, plan.timeout);
  for (const scenario of scenarios) {
    const where = `${howFar(results.length, scenarios.length, since)}: ${scenario.name}`;
    const runs = scenario.figures ? plan.runs.memory : plan.runs.latency;
    const watch = (text: string) => progress(`${where}: ${text}`);
    const result = await playScenario(scenario, mallocs, runs, by, watch);
    if (stop.aborted) break;
    results.push(result);
  }
  progress('');
  const left = scenarios.slice(results.length);
  return {
    plan,
    peers: peersAmong(mallocs).all,
    scenarios: results,
    absent: left.map(({ name }) => ({ name, reason: 'interrupted' })),
    ...(stop.aborted && { interrupted: true }),
  };
}
