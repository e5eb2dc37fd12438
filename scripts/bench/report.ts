// The report of one `bench`: tables, what is missing and why, where it was measured.

import { color } from '../lib/color.ts';
import { table } from '../lib/table.ts';
import type { Contests } from './contests.ts';
import { failures } from './envelope.ts';
import { describeLife, lifeRemarks } from './life-show.ts';
import { describeProvenance } from './provenance.ts';
import type { BenchResult } from './result.ts';
import {
  againstRows,
  detailRows,
  oursOf,
  type Rows,
  ratioRows,
  startRows,
  summaryRows,
  threadRows,
} from './rows.ts';
import { curveNotes, curveTables, pairsTable } from './show.ts';
import type { Starts } from './start.ts';
import { champion, targets } from './targets.ts';

/** More contests than this are compared by ratios; fewer are shown with all their figures. */
const FEW = 3;

/** `left` says how many columns from the left are words. */
function numbers({ head, rows }: Rows, left = 1): string {
  return table(
    head,
    rows,
    head.map((_, column) => (column < left ? 'left' : 'right')),
  );
}

/** Green, yellow or red: by the targets for a ratio to the best peer. */
function judged(text: string): string {
  const ratio = Number(text.replaceAll(',', ''));
  if (text === 'failed') return color.red(text);
  if (Number.isNaN(ratio)) return text;
  if (ratio <= 1.02) return color.green(text);
  return ratio <= 1.15 ? color.yellow(text) : color.red(text);
}

/** Colours our own columns of a table of ratios. */
function highlighted(rows: Rows, ours: readonly string[]): Rows {
  const own = rows.head.map((name) => ours.includes(name));
  return {
    ...rows,
    rows: rows.rows.map((cells) => cells.map((text, i) => (own[i] ? judged(text) : text))),
  };
}

function section(title: string, body: string): string {
  return `${color.bold(title)}\n${body}`;
}

function details(all: Contests): string[] {
  return all.contests.map((contest) => {
    const text = numbers(detailRows(contest, all.peers.all));
    return contest.note ? `${text}\n${contest.note}` : text;
  });
}

function ratios(all: Contests): string[] {
  const ours = oursOf(all);
  const titles = {
    cpu: 'CPU time (user and system, all processes), against the best peer of each',
    peak: 'Peak memory, against the best peer of each',
  };
  return (['cpu', 'peak'] as const).map((quantity) =>
    section(titles[quantity], numbers(highlighted(ratioRows(all, quantity), ours), 2)),
  );
}

function summaries(all: Contests): string[] {
  const { debian, all: every } = all.peers;
  const last = oursOf(all).at(-1);
  const title = 'Geometric means against the best peer of each';
  const both = debian.length > 0 && debian.length < every.length;
  return [
    section(both ? `${title}, of all given` : title, numbers(summaryRows(all, every))),
    ...(both ? [section(`${title}, of Debian’s`, numbers(summaryRows(all, debian)))] : []),
    ...(last ? [section('Against each, geometric means', numbers(againstRows(all, last)))] : []),
  ];
}

function threads(all: Contests): string[] {
  const rows = threadRows(all);
  if (rows.rows.length < 2) return [];
  return [section('CPU time of two threads per that of one, for the same work', numbers(rows))];
}

function notes(all: Contests): string[] {
  return [
    ...failures(all.contests).map(({ contest, malloc, reason }) =>
      color.red(`failed: ${malloc} in ${contest}: ${reason}`),
    ),
    ...all.absent.map(({ name, reason }) => `not run: ${name}: ${reason}`),
    ...(all.contests.length > FEW
      ? all.contests.filter(({ note }) => note).map(({ name, note }) => `${name}: ${note}`)
      : []),
  ];
}

function describeStart(start: Starts): string {
  const title = 'Start of a process that allocates one block, against an empty preloaded library';
  const text = section(title, numbers(startRows(start)));
  return start.uncounted ? `${text}\nNot counted: ${start.uncounted}` : text;
}

function describeTargets(result: BenchResult): string[] {
  const found = targets(result);
  const ours = champion(result);
  if (ours === undefined || (result.contests?.contests.length ?? 0) <= FEW) return [];
  const rows = found.map((each) => [
    each.met ? color.green('met') : color.red('missed'),
    each.promise,
    each.found,
  ]);
  return [section(`Targets, held against ${ours}`, table(['', '', 'found'], rows))];
}

function describeContests(all: Contests): string[] {
  if (all.contests.length <= FEW) return details(all);
  return [...ratios(all), ...threads(all), ...summaries(all)];
}

/** The whole report, as text for a terminal. */
export function describe(result: BenchResult): string {
  const { provenance, notRun, contests, start, curve, pairs, life } = result;
  const parts: string[] = [];
  if (contests) parts.push(...describeContests(contests));
  if (start) parts.push(describeStart(start));
  if (curve) parts.push([curveTables(curve.curves), ...curveNotes(curve.curves)].join('\n'));
  if (pairs) {
    const stopped = pairs.pairs.filter((each) => each.stopped !== undefined);
    const lines = stopped.map(({ malloc, stopped: why }) => `${malloc}: ${why}`);
    parts.push([pairsTable(pairs.pairs), ...lines].join('\n'));
  }
  if (life) parts.push(...describeLife(life));
  parts.push(...describeTargets(result));
  const uncounted = curve?.uncounted ?? pairs?.uncounted;
  if (uncounted) parts.push(`Instructions were not counted: ${uncounted}`);
  const missing = notRun.map(({ malloc, reason }) => `not run: ${malloc}: ${reason}`);
  const remarks = [
    ...(contests ? notes(contests) : []),
    ...(life ? lifeRemarks(life) : []),
    ...missing,
  ];
  if (remarks.length > 0) parts.push(remarks.join('\n'));
  parts.push(color.dim(describeProvenance(provenance)));
  return `${parts.join('\n\n')}\n`;
}
