// Figures of `bench life` against the best peer in each.

import { geomean, summarize } from '../lib/stats.ts';
import type { Life, ScenarioResult } from './life.ts';
import type { FigureKind, Unit } from './scenarios.ts';

/**
 * In a ratio, anything smaller counts as this much: a quarter and half of a MiB count as equal, and
 * so do four and eight nanoseconds, because no clock can tell them apart in a single call.
 */
export const floors: Record<Unit, number> = { ratio: 0, MiB: 1, ns: 10 };

const valuesOf = ({ lives }: ScenarioResult, malloc: string, figure: string) =>
  lives.find((each) => each.malloc === malloc)?.figures?.[figure];

/** A malloc's median; undefined where it failed. */
export function lifeMedian(
  scenario: ScenarioResult,
  malloc: string,
  figure: string,
): number | undefined {
  const values = valuesOf(scenario, malloc, figure);
  return values && summarize(values).median;
}

/** The peer with the lowest median, and that median. */
export function lifeBest(
  scenario: ScenarioResult,
  peers: readonly string[],
  figure: string,
): { malloc: string; value: number } | undefined {
  const all = peers.flatMap((malloc) => {
    const value = lifeMedian(scenario, malloc, figure);
    return value === undefined ? [] : [{ malloc, value }];
  });
  return all.sort((a, b) => a.value - b.value)[0];
}

/**
 * The ratio to the best peer: the median over runs of the ratio in that run, because both ran at
 * about the same time.
 */
export function lifeRatio(
  scenario: ScenarioResult,
  malloc: string,
  peers: readonly string[],
  { name, unit }: FigureKind,
): number | undefined {
  const peer = lifeBest(scenario, peers, name)?.malloc;
  const own = valuesOf(scenario, malloc, name);
  const theirs = peer === undefined ? undefined : valuesOf(scenario, peer, name);
  if (own === undefined || theirs === undefined) return undefined;
  const floor = floors[unit];
  const ratios = own.map((value, round) => {
    return Math.max(value, floor) / Math.max(theirs[round] ?? Number.NaN, floor);
  });
  return summarize(ratios).median;
}

/** One row of a table. */
export interface LifeRow {
  scenario: ScenarioResult;
  kind: FigureKind;
}

export function lifeRows({ scenarios }: Life, latency: boolean): LifeRow[] {
  return scenarios
    .flatMap((scenario) => scenario.kinds.map((kind) => ({ scenario, kind })))
    .filter(({ kind }) => (kind.unit === 'ns') === latency);
}

/** The geometric mean of a malloc's ratios over rows, and how many of them it has. */
export function lifeMean(
  rows: readonly LifeRow[],
  malloc: string,
  peers: readonly string[],
): { ratio: number; figures: number } {
  const ratios = rows.flatMap(
    ({ scenario, kind }) => lifeRatio(scenario, malloc, peers, kind) ?? [],
  );
  return { ratio: geomean(ratios), figures: ratios.length };
}
