// Curves and pairs as tables for a terminal.

import { type Summary, spread } from '../lib/stats.ts';
import { table } from '../lib/table.ts';
import type { Curve, CurvePoint } from './curve.ts';
import type { Pairs } from './pairs.ts';

const grouped = (n: number) => n.toLocaleString('en');

/** Three significant digits: a noisy machine supports no more. */
export function figure(n: number): string {
  return n >= 100 ? grouped(Math.round(n)) : n.toFixed(n >= 10 ? 1 : 2);
}

/** `34.1 ± 2 %`: the median, and half the distance between the quartiles. */
export function withSpread(summary: Summary): string {
  return `${figure(summary.median)} ± ${(spread(summary) * 100).toFixed(0)} %`;
}

/** Sizes that any curve has, ascending. */
function sizes(curves: readonly Curve[]): number[] {
  return [...new Set(curves.flatMap(({ points }) => points.map(({ live }) => live)))].sort(
    (a, b) => a - b,
  );
}

/** One row per size, one cell per malloc; `-` where it has no point. */
export function curveRows(
  curves: readonly Curve[],
  cell: (point: CurvePoint) => string | undefined,
): string[][] {
  return sizes(curves).map((live) => [
    grouped(live),
    ...curves.map(({ points }) => {
      const point = points.find((each) => each.live === live);
      return (point && cell(point)) ?? '-';
    }),
  ]);
}

/** Each malloc's CPU time at one size against glibc's, which is 1; only if both have a point there. */
export function curveRatios(curves: readonly Curve[], live: number): Map<string, number> {
  const at = (curve: Curve | undefined) =>
    curve?.points.find((point) => point.live === live)?.nanoseconds.median;
  const unit = at(curves.find(({ malloc }) => malloc === 'glibc'));
  const found = curves.flatMap((curve) => {
    const value = at(curve);
    return unit && value ? [[curve.malloc, value / unit] as const] : [];
  });
  return new Map(found);
}

/** Notes on curves that end early and on points that need an explanation. */
export function curveNotes(curves: readonly Curve[]): string[] {
  return curves.flatMap(({ malloc, points, stopped }) => [
    ...points
      .filter(({ note }) => note)
      .map(({ live, note }) => `${malloc} at ${grouped(live)}: ${note}`),
    ...(stopped
      ? [`${malloc} stops before ${grouped(stopped.live)} live blocks: ${stopped.reason}`]
      : []),
  ]);
}

const right = (columns: number) => Array.from({ length: columns }, () => 'right' as const);

/** The curve as two tables: CPU, and instructions where they were counted. */
export function curveTables(curves: readonly Curve[]): string {
  const names = curves.map(({ malloc }) => malloc);
  const head = ['live blocks', ...names];
  const counted = curves.some(({ points }) => points.some((p) => p.instructions !== undefined));
  const parts = [
    'CPU per call, ns: median ± half the distance between quartiles',
    table(
      head,
      curveRows(curves, ({ nanoseconds }) => withSpread(nanoseconds)),
      right(head.length),
    ),
  ];
  const ratios = curveRatios(curves, 100_000);
  if (ratios.size > 1) {
    const list = [...ratios].map(([name, ratio]) => `${name} ${ratio.toFixed(2)}`).join(', ');
    parts.push(`CPU against glibc's at 100,000 live blocks: ${list}`);
  }
  if (counted) {
    const cell = ({ instructions }: CurvePoint) =>
      instructions ? figure(instructions) : undefined;
    parts.push(
      '',
      'Instructions per call, outside of the workload',
      table(head, curveRows(curves, cell), right(head.length)),
    );
  }
  return parts.join('\n');
}

/** The pairs as cells: instructions in three orders and their worst, CPU in three orders, ratio. */
export function pairsRows(pairs: readonly Pairs[]): string[][] {
  const orders = ['tight', 'lifo', 'random'] as const;
  return pairs.map(({ malloc, instructions, nanoseconds, ratio }) => [
    malloc,
    ...orders.map((order) => (instructions ? figure(instructions[order]) : '-')),
    instructions ? figure(instructions.worst) : '-',
    ...orders.map((order) => (nanoseconds ? withSpread(nanoseconds[order]) : '-')),
    ratio ? withSpread(ratio) : '-',
  ]);
}

export const pairsHead = [
  'malloc',
  'tight',
  'lifo',
  'random',
  'worst',
  'tight, ns',
  'lifo, ns',
  'random, ns',
  'CPU / glibc',
];

/** Without the columns of times where nothing was timed. */
export function pairsColumns(pairs: readonly Pairs[]): { head: string[]; rows: string[][] } {
  const timed = pairs.some(({ nanoseconds }) => nanoseconds !== undefined);
  const columns = timed ? pairsHead.length : pairsHead.indexOf('worst') + 1;
  const rows = pairsRows(pairs).map((cells) => cells.slice(0, columns));
  return { head: pairsHead.slice(0, columns), rows };
}

export function pairsTable(pairs: readonly Pairs[]): string {
  const { head, rows } = pairsColumns(pairs);
  const timed = head.length === pairsHead.length;
  const times = ', then CPU (median ± half the distance between quartiles)';
  return [
    `One 32-byte malloc+free pair: instructions${timed ? times : ''}`,
    table(head, rows, ['left', ...right(head.length - 1)]),
  ].join('\n');
}
