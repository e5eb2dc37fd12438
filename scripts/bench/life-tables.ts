// `bench life` as tables: heads and rows of text, for a terminal as for a document.

import type { Life } from './life.ts';
import {
  floors,
  type LifeRow,
  lifeBest,
  lifeMean,
  lifeMedian,
  lifeRatio,
  lifeRows,
} from './life-ratios.ts';
import type { Rows } from './rows.ts';
import type { Unit } from './scenarios.ts';
import { figure } from './show.ts';

/** Names of all mallocs, in the order in which they were given. */
export function livesOf({ scenarios }: Life): string[] {
  return scenarios[0]?.lives.map(({ malloc }) => malloc) ?? [];
}

/** `1.24`, `493 MiB`, `<1 MiB`, `41 ns`, `3.2 ms`: a figure with its unit. */
export function lifeAmount(value: number, unit: Unit): string {
  if (value < floors[unit]) return `<${floors[unit]} ${unit}`;
  if (unit === 'ratio') return figure(value);
  if (unit === 'MiB') return `${Math.round(value).toLocaleString('en')} MiB`;
  if (value < 1000) return `${Math.round(value)} ns`;
  return value < 1e6 ? `${figure(value / 1000)} µs` : `${figure(value / 1e6)} ms`;
}

const short = (name: string) => name.replace(/^life-(latency-)?/, '');
const words = (name: string) => name.replace('p999', 'p99.9');

/** The first cells of a row: the scenario where it begins, and the figure. */
function titles({ scenario, kind }: LifeRow, i: number, rows: readonly LifeRow[]): string[] {
  const first = rows[i - 1]?.scenario !== scenario;
  return [first ? short(scenario.name) : '', words(kind.name)];
}

/** `burst-idle: 5 s later` */
export const figureTitle = ({ scenario, kind }: LifeRow): string =>
  `${short(scenario.name)}: ${words(kind.name)}`;

const failed = ({ scenario }: LifeRow, malloc: string) =>
  scenario.lives.find((each) => each.malloc === malloc)?.failed !== undefined;

/** The figures themselves. */
export function lifeFigures(life: Life, latency: boolean): Rows {
  const mallocs = livesOf(life);
  const rows = lifeRows(life, latency).map((row, i, all) => {
    const cells = mallocs.map((malloc) => {
      const value = lifeMedian(row.scenario, malloc, row.kind.name);
      return value === undefined ? 'failed' : lifeAmount(value, row.kind.unit);
    });
    return [...titles(row, i, all), ...cells];
  });
  return { head: ['', '', ...mallocs], rows };
}

/** Each against the best peer, and the geometric means. */
export function lifeToBest(life: Life, latency: boolean): Rows {
  const [mallocs, all] = [livesOf(life), lifeRows(life, latency)];
  const rows = all.map((row, i) => {
    const { scenario, kind } = row;
    const best = lifeBest(scenario, life.peers, kind.name);
    const cells = mallocs.map((malloc) => {
      const ratio = lifeRatio(scenario, malloc, life.peers, kind);
      if (ratio === undefined) return failed(row, malloc) ? 'failed' : '-';
      return figure(ratio);
    });
    return [...titles(row, i, all), best?.malloc ?? '-', ...cells];
  });
  const means = mallocs.map((malloc) => {
    const { ratio, figures } = lifeMean(all, malloc, life.peers);
    if (figures === 0) return '-';
    return figures < all.length ? `${figure(ratio)} (${figures})` : figure(ratio);
  });
  const last = rows.length > 1 ? [['geomean', '', '', ...means]] : [];
  return { head: ['', '', 'best peer', ...mallocs], rows: [...rows, ...last] };
}

/** The mallocs that failed, in which scenario and why. */
export function lifeFailures({ scenarios }: Life): {
  scenario: string;
  malloc: string;
  reason: string;
}[] {
  return scenarios.flatMap(({ name, lives }) =>
    lives.flatMap(({ malloc, failed: reason }) =>
      reason === undefined ? [] : [{ scenario: name, malloc, reason }],
    ),
  );
}
