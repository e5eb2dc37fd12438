// What a replay found, as text.

import { spread } from '../lib/stats.ts';
import { table } from '../lib/table.ts';
import { count, megabytes, thousands } from '../lib/units.ts';
import type { PlanFigures } from '../trace/plan.ts';
import type { Played } from './play.ts';

const head = ['malloc', 'time', '±', 'CPU', 'calls/s', 'peak RSS', 'RSS/live', 'faults'];

/** Seconds with three figures, in the unit that suits them. */
function duration(seconds: number): string {
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  return seconds >= 1e-3
    ? `${(seconds * 1e3).toPrecision(3)} ms`
    : `${(seconds * 1e6).toPrecision(3)} µs`;
}

function row(played: Played): string[] {
  const { malloc, wall, cpu, peakResident, minorFaults, majorFaults } = played;
  if (!wall || !cpu || !peakResident || !minorFaults || !majorFaults)
    return [malloc, `failed: ${played.failure}`];
  return [
    malloc,
    duration(wall.median),
    `${(spread(wall) * 100).toFixed(0)} %`,
    duration(cpu.median),
    thousands(played.callsPerSecond ?? 0),
    megabytes(peakResident.median),
    played.fragmentation?.toFixed(2) ?? '-',
    count(minorFaults.median + majorFaults.median),
  ];
}

/** The trace in two lines, a table with a line for each malloc, and what there is to remark. */
export function describe(
  name: string,
  figures: PlanFigures,
  played: Played[],
  remarks: string[],
): string {
  const { calls, threads, peakLive, peakBlocks } = figures;
  const of = threads === 1 ? 'one thread' : `${count(threads)} threads`;
  const lines = [
    `${name}: ${count(calls)} calls of ${of}; at most ${megabytes(peakLive)} in ${count(peakBlocks)} blocks alive`,
    '',
    table(head, played.map(row), ['left', ...head.slice(1).map(() => 'right' as const)]),
    '',
    'Medians of interleaved runs. Peak RSS is what the calls added to the process at most.',
    ...remarks.map((remark) => `Note: ${remark}.`),
  ];
  return `${lines.join('\n')}\n`;
}
