// What `bench life` plays: tests/workloads/life.json, and the figures that each scenario gives.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../lib/paths.ts';

/** What resident memory is divided by; tests/workloads/life.json says what each means. */
type Over = 'live' | 'worst' | 'drift' | 'pages' | 'nothing';

export interface MemoryFigure {
  name: string;
  /** Of which points of the run. */
  point: string;
  over: Over;
}

/** One situation in the life of a process, played by a program in tests/workloads/life. */
export interface Scenario {
  name: string;
  source: string;
  args: string[];
  /** Without any, the scenario is one of latencies. */
  figures?: MemoryFigure[];
  /** What it does, in a sentence. */
  about: string;
  /** What a malloc does wrong where its figure is high. */
  shows: string;
}

export type Unit = 'ratio' | 'MiB' | 'ns';

export interface FigureKind {
  name: string;
  unit: Unit;
}

/** Of single calls, by the names that the programs print. */
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
