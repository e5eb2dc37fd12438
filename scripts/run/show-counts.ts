// Counts as text.

import { table } from '../lib/table.ts';
import { count, megabytes } from '../lib/units.ts';
import type { Counts, SizeClass } from './counts.ts';

const BAR = 24;

/** A histogram by powers of two: what each line of 16 bytes did is in the JSON. */
function byPowers(classes: SizeClass[]): SizeClass[] {
  const powers = new Map<number, SizeClass>();
  for (const { limit, blocks, requested, usable } of classes) {
    const power = limit <= 16 ? 16 : 2 ** Math.ceil(Math.log2(limit));
    const sum = powers.get(power) ?? { limit: power, blocks: 0, requested: 0 };
    sum.blocks += blocks;
    sum.requested += requested;
    if (usable !== undefined) sum.usable = (sum.usable ?? 0) + usable;
    powers.set(power, sum);
  }
  return [...powers.values()].sort((a, b) => a.limit - b.limit);
}

function waste({ requested, usable }: { requested: number; usable?: number }): string {
  if (usable === undefined) return '-';
  return usable === 0 ? '0 %' : `${(100 * (1 - requested / usable)).toFixed(0)} %`;
}

function histogram(classes: SizeClass[]): string {
  const rows = byPowers(classes);
  const most = Math.max(...rows.map(({ blocks }) => blocks));
  return table(
    ['size up to', 'blocks', '', 'requested', 'waste'],
    rows.map((row) => [
      count(row.limit),
      count(row.blocks),
      '▇'.repeat(Math.ceil((row.blocks / most) * BAR)),
      megabytes(row.requested),
      waste(row),
    ]),
    ['right', 'right', 'left', 'right', 'right'],
  );
}

function pairs(record: Record<string, number>): string {
  const used = Object.entries(record).filter(([, n]) => n > 0);
  return used.map(([name, n]) => `${name} ${count(n)}`).join(', ') || 'none';
}

function peaks(counts: Counts): string {
  const { peakLive, peakBlocks, peakResident } = counts;
  const live = peakLive === undefined ? 'bytes unknown' : megabytes(peakLive);
  return `${live} in ${count(peakBlocks)} blocks; resident: ${megabytes(peakResident)}`;
}

/** Calls, peaks, system calls, and a histogram with what each size wastes. */
export function describeCounts(counts: Counts, processes: number): string[] {
  const total = counts.classes.reduce(
    (sum, { requested, usable = 0 }) => ({
      requested: sum.requested + requested,
      usable: sum.usable + usable,
    }),
    { requested: 0, usable: 0 },
  );
  const known = counts.peakLive !== undefined;
  const lines = [
    `calls: ${pairs(counts.calls)}${counts.failed > 0 ? ` (${count(counts.failed)} failed)` : ''}`,
    `peak${processes > 1 ? ' of one process' : ''}: live ${peaks(counts)}`,
    `asked for: ${megabytes(total.requested)}${known ? `; waste: ${waste(total)} of what was given` : ''}`,
    `system calls: ${counts.kernel ? pairs(counts.kernel) : 'unknown, as this malloc makes them within libc'}`,
  ];
  if (counts.classes.length > 0) lines.push(...histogram(counts.classes).split('\n'));
  return lines;
}
