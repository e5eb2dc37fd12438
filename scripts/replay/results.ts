// The results of a replay, as text.

import { spread } from '../lib/stats.ts';
import { table } from '../lib/table.ts';
import { count, megabytes, thousands } from '../lib/units.ts';
import type { PlanFigures } from '../trace/plan.ts';
import { type Round, type Score, scoresOf } from './lab.ts';
import type { Played } from './play.ts';

/** A trace, what is known of it, and how the mallocs played it. */
export interface Outcome extends Round {
  name: string;
  figures: PlanFigures;
  remarks: string[];
}

const right = (head: string[]) => ['left', ...head.slice(1).map(() => 'right' as const)] as const;

/** Seconds with three figures, in the unit that suits them. */
function duration(seconds: number): string {
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  return seconds >= 1e-3
    ? `${(seconds * 1e3).toPrecision(3)} ms`
    : `${(seconds * 1e6).toPrecision(3)} µs`;
}

const share = (part: number | undefined): string =>
  part === undefined ? '-' : `${(part * 100).toFixed(0)} %`;
const whole = (n: number | undefined): string => (n === undefined ? '-' : count(n));

const head = [
  'malloc',
  'time',
  '±',
  'CPU',
  'calls/s',
  'peak RSS',
  'heap',
  'util',
  'Kops',
  'faults',
];

function row(played: Played): string[] {
  const { malloc, wall, cpu, peakResident, minorFaults, majorFaults, heap } = played;
  if (!wall || !cpu || !peakResident || !minorFaults || !majorFaults)
    return [malloc, `failed: ${played.failure}`];
  return [
    malloc,
    duration(wall.median),
    `${(spread(wall) * 100).toFixed(0)} %`,
    duration(cpu.median),
    thousands(played.callsPerSecond ?? 0),
    megabytes(peakResident.median),
    heap === undefined ? '-' : megabytes(heap),
    share(played.utilisation),
    whole(played.kops),
    count(minorFaults.median + majorFaults.median),
  ];
}

const labHead = ['malloc', 'trace', 'util', 'calls', 'CPU', 'Kops'];

/** Several traces as the lab's driver shows them: a line for each, then all together. */
function labRows(outcomes: readonly Outcome[], score: Score, i: number): string[][] {
  const rows = outcomes.map(({ name, calls, played }) => {
    const { cpu, failure, utilisation, kops } = played[i] ?? {};
    return failure === undefined && cpu
      ? [score.malloc, name, share(utilisation), count(calls), duration(cpu.median), whole(kops)]
      : [score.malloc, name, `failed: ${failure}`];
  });
  const { utilisation, calls, seconds, kops } = score;
  const total = [share(utilisation), count(calls), duration(seconds), whole(kops)];
  return [...rows, [score.malloc, `all ${outcomes.length}`, ...total]];
}

function indexLine({ malloc, index, failed }: Score): string {
  if (failed > 0)
    return `${malloc}: no index, as it failed ${failed === 1 ? 'a trace' : `${failed} traces`}`;
  return index === undefined
    ? `${malloc}: no index without glibc to compare with (-m glibc)`
    : `${malloc}: index ${index.toFixed(0)} of 100`;
}

function title({ name, figures }: Outcome): string {
  const { calls, threads, peakLive, peakBlocks } = figures;
  const of = threads === 1 ? 'one thread' : `${count(threads)} threads`;
  return `${name}: ${count(calls)} calls of ${of}; at most ${megabytes(peakLive)} in ${count(peakBlocks)} blocks alive`;
}

const explained = [
  'Medians of interleaved runs. Peak RSS is what the calls added to the process at most; heap, what the',
  'malloc had at most, counted in a run of its own; util, the most bytes alive over it; Kops, thousands',
  'of calls per second of CPU time. Index: 60 % util, 40 % Kops over those of glibc, at most 1.',
];

/** A table with a line for each malloc; with several traces, one of the lab's for each malloc. */
export function describe(outcomes: readonly Outcome[]): string {
  const [only] = outcomes;
  const scores = scoresOf(outcomes);
  const tables =
    outcomes.length === 1 && only !== undefined
      ? [title(only), '', table(head, only.played.map(row), [...right(head)])]
      : [
          ...outcomes.map(title),
          '',
          table(
            labHead,
            scores.flatMap((score, i) => labRows(outcomes, score, i)),
            ['left', 'left', 'right', 'right', 'right', 'right'],
          ),
        ];
  const remarks = outcomes.flatMap(({ name, remarks }) =>
    remarks.map((remark) => `Note: ${outcomes.length > 1 ? `${name}: ` : ''}${remark}.`),
  );
  const lines = [...tables, '', scores.map(indexLine).join('\n'), '', ...explained, ...remarks];
  return `${lines.join('\n')}\n`;
}
