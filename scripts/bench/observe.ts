// One run of one scenario under one malloc, and its figures.

import type { Malloc } from '../malloc/mallocs.ts';
import type { Amount } from './catalog.ts';
import { calls, type MemoryFigure, quantiles, type Scenario } from './scenarios.ts';
import { isProvider, launched, workloadProgram } from './workload.ts';

/** The readings that the program took, in bytes; see tests/workloads/life/life.h. */
export interface Point {
  name: string;
  resident: number;
  live: number;
  pages: number;
}

type Latency = Record<(typeof calls)[number], Record<(typeof quantiles)[number], number>>;

export interface Observation {
  /** By the names of the scenario's figures: a ratio, MiB or nanoseconds. */
  figures: Record<string, number>;
  /** Resident over live bytes from point to point, where a scenario takes many of one name. */
  track?: number[];
}

interface Printed {
  malloc: string;
  points: Point[];
  latency?: Latency;
}

/** Shares of blocks and of waiting times. */
const amounts: Record<Amount, { scale: number; pace: number }> = {
  full: { scale: 1, pace: 1 },
  quick: { scale: 0.25, pace: 0.25 },
  tiny: { scale: 0.02, pace: 0.02 },
};

/** Many points make a track; one or two are figures of their own. */
const MANY = 10;

/** dumb never reuses a block; this limit ends it before it uses up the machine. */
const DUMB_LIMIT = { addressSpace: 2 ** 31 };

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const ratio = ({ resident, live }: Point) => resident / live;

/** The value of a figure; undefined where the run has no such point. */
export function figureOf({ point, over }: MemoryFigure, points: Point[]): number | undefined {
  const named = points.filter(({ name }) => name === point);
  const last = named.at(-1);
  if (last === undefined) return undefined;
  const third = Math.ceil(named.length / 3);
  const late = () => mean(named.slice(-third).map(ratio));
  switch (over) {
    case 'nothing':
      return last.resident / 2 ** 20;
    case 'pages':
      return last.resident / last.pages;
    case 'worst':
      return Math.max(...named.map(ratio));
    case 'drift':
      return late() / mean(named.slice(0, third).map(ratio));
    case 'live':
      return late();
  }
}

function latencyFigures(latency: Latency): Record<string, number> {
  const all = calls.flatMap((call) =>
    quantiles.map((quantile) => [`${call} ${quantile}`, latency[call][quantile]] as const),
  );
  return Object.fromEntries(all);
}

function trackOf(points: Point[]): number[] | undefined {
  const first = points[0]?.name;
  return points.length >= MANY && points.every(({ name }) => name === first)
    ? points.map(ratio)
    : undefined;
}

/** Parses the line of a run. Throws if it is not one. */
function readObservation(scenario: Scenario, { points, latency }: Printed): Observation {
  if (latency !== undefined) return { figures: latencyFigures(latency) };
  const figures: Record<string, number> = {};
  for (const figure of scenario.figures ?? []) {
    const value = figureOf(figure, points);
    if (value === undefined) throw new Error(`${scenario.name} has no point ${figure.point}`);
    figures[figure.name] = value;
  }
  const track = trackOf(points);
  return { figures, ...(track && { track }) };
}

/** Runs the scenario; a string names the malloc's fault: "killed by SIGSEGV". */
export async function observe(
  malloc: Malloc,
  scenario: Scenario,
  amount: Amount,
  timeout: number,
): Promise<Observation | string> {
  const { scale, pace } = amounts[amount];
  const options = ['--scale', String(scale), '--pace', String(pace)];
  const argv = [workloadProgram(scenario.source), ...scenario.args, ...options];
  const dumb = malloc.kind === 'variant' && malloc.name === 'dumb';
  const { output, ended } = await launched(malloc, argv, timeout, dumb ? DUMB_LIMIT : undefined);
  if (ended !== undefined) return ended || 'it ended with an error, and said nothing';
  const printed = JSON.parse(output) as Printed;
  if (!isProvider(malloc, printed.malloc))
    return `not in use: malloc came from ${printed.malloc || 'nowhere'}`;
  return readObservation(scenario, printed);
}
