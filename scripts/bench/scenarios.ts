// The scenarios of `bench life`, from tests/workloads/life.json, and the figures of each.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../lib/paths.ts';

/** The divisors of resident memory; tests/workloads/life.json explains each. */
type Over = 'live' | 'worst' | 'drift' | 'pages' | 'nothing';

export interface MemoryFigure {
  name: string;
  /** The points of the run that it covers. */
  point: string;
  over: Over;
}

/** One situation in the life of a process, played by a program in tests/workloads/life. */
export interface Scenario {
  name: string;
  source: string;
  args: string[];
  /** Without any, the scenario measures latencies. */
  figures?: MemoryFigure[];
  /** One sentence: what the program does. */
  about: string;
  /** The fault of a malloc whose figure is high. */
  shows: string;
}

export type Unit = 'ratio' | 'MiB' | 'ns';

export interface FigureKind {
  name: string;
  unit: Unit;
}

/** Latencies of single calls, by the names that the programs print. */
export const quantiles = ['p50', 'p99', 'p999', 'greatest'] as const;
export const calls = ['malloc', 'free'] as const;

const latencyKinds: FigureKind[] = calls.flatMap((call) =>
  quantiles.map((quantile) => ({ name: `${call} ${quantile}`, unit: 'ns' as const })),
);

/** The figures of a scenario, in the order of their rows. */
export function figureKinds({ figures }: Pick<Scenario, 'figures'>): FigureKind[] {
  return (
    figures?.map(({ name, over }) => ({ name, unit: over === 'nothing' ? 'MiB' : 'ratio' })) ??
    latencyKinds
  );
}

export function readScenarios(): Scenario[] {
  const file = join(root, 'tests', 'workloads', 'life.json');
  return JSON.parse(readFileSync(file, 'utf8')).scenarios;
}
