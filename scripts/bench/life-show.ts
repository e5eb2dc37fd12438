// `bench life` as text for a terminal.

import { color } from '../lib/color.ts';
import { table } from '../lib/table.ts';
import type { Life } from './life.ts';
import { lifeFailures, lifeFigures, lifeToBest } from './life-tables.ts';
import type { Rows } from './rows.ts';

/** `left` says how many columns from the left are words. */
function section(title: string, { head, rows }: Rows, left: number): string[] {
  if (rows.length === 0) return [];
  const align = head.map((_, column) => (column < left ? 'left' : 'right'));
  return [`${color.bold(title)}\n${table(head, rows, align)}`];
}

export function describeLife(life: Life): string[] {
  const against = 'The same against the best peer of each';
  const memory = 'Memory over a long life: resident over live bytes, or MiB where nothing is live';
  return [
    ...section(memory, lifeFigures(life, false), 2),
    ...section(against, lifeToBest(life, false), 3),
    ...section('Time of a single call, by the clock', lifeFigures(life, true), 2),
    ...section(against, lifeToBest(life, true), 3),
  ];
}

/** What failed and what was not run. */
export function lifeRemarks(life: Life): string[] {
  return [
    ...lifeFailures(life).map(({ scenario, malloc, reason }) =>
      color.red(`failed: ${malloc} in ${scenario}: ${reason}`),
    ),
    ...life.absent.map(({ name, reason }) => `not run: ${name}: ${reason}`),
  ];
}
