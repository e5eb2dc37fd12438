// A layout in a terminal: high addresses on top, as the stack is drawn, each part with its size, its
// share in memory, and the direction in which it grows.

import { basename } from 'node:path';
import { color } from '../lib/color.ts';
import { bytes } from '../lib/units.ts';
import type { Area, AreaKind } from './areas.ts';
import type { Layout } from './look.ts';
import { describeRegion, type HeapRegion } from './regions.ts';

const BAR = 8;
/**
 * Whether the picture shows a hole of this size. Small holes come from alignment, and the largest
 * is not the program's: it separates user addresses from the kernel's.
 */
export const isHole = (size: number): boolean => size >= 2 ** 20 && size < 2 ** 60;

const paints: Record<AreaKind, (text: string) => string> = {
  text: color.yellow,
  constants: color.yellow,
  data: color.yellow,
  bss: color.yellow,
  heap: color.green,
  malloc: color.green,
  anonymous: color.magenta,
  library: color.blue,
  file: color.blue,
  guard: color.dim,
  thread: color.cyan,
  stack: color.cyan,
  kernel: color.dim,
};

export const hex = (address: number): string => `0x${address.toString(16).padStart(12, '0')}`;

/** `list in ls (pid 4711)` */
export function titleOf({ executable, pid, malloc }: Layout, moment: string): string {
  return `${basename(executable)} (pid ${pid}) on ${malloc.name}, ${moment}`;
}

/** The whole picture as lines of text. */
export function describeLayout(layout: Layout, moment: string): string {
  const lines = [color.bold(titleOf(layout, moment)), ''];
  lines.push(color.dim(line('address', 'size', 'resident', '', '', '')));
  let above: number | undefined;
  for (const area of layout.areas.toReversed()) {
    const hole = above === undefined ? 0 : above - area.end;
    if (isHole(hole)) lines.push(color.dim(line('⋮', bytes(hole), '', '', '', 'not mapped')));
    lines.push(row(area, noteOf(area, layout)));
    above = area.start;
  }
  return `${[...lines, '', ...totals(layout)].join('\n')}\n`;
}

function row(area: Area, note: string): string {
  const size = area.pieces.reduce((sum, { start, end }) => sum + end - start, 0);
  const arrow = area.grows === 'up' ? '↑' : area.grows === 'down' ? '↓' : ' ';
  const share = size === 0 ? 0 : area.resident / size;
  const text = line(
    hex(area.start),
    bytes(size),
    area.resident === 0 ? '-' : bytes(area.resident),
    bar(share),
    `${arrow} ${area.label}`,
    '',
  );
  return `${paints[area.kind](text)}${note && `  ${color.dim(note)}`}`;
}

/** The share of a part in memory, as a bar; any memory shows at least once. */
function bar(share: number): string {
  const full = share === 0 ? 0 : Math.max(1, Math.round(share * BAR));
  return '█'.repeat(full) + '░'.repeat(BAR - full);
}

function line(
  ...[at, size, resident, bar, label, note]: [string, string, string, string, string, string]
): string {
  const start = `  ${at.padEnd(18)} ${size.padStart(10)} ${resident.padStart(10)}`;
  return `${start}  ${bar.padEnd(BAR)} ${label} ${note}`.trimEnd();
}

/** A remark about this part of this process. */
export function noteOf(area: Area, { process }: Layout): string {
  if (area.kind === 'heap') return `${area.note} at ${hex(area.end)}; grows up`;
  if (area.kind === 'stack') {
    const most = Number.isFinite(process.stackLimit) ? bytes(process.stackLimit) : 'no limit';
    const top = process.environmentEnd - process.argumentsStart;
    return `grows down, up to ${most}; ${bytes(top)} of arguments and environment on top`;
  }
  if (area.kind === 'library') return kinds(area);
  return area.note;
}

/** `r-- r-x r-- rw-`: the mappings of a library in address order. */
const kinds = ({ pieces }: Area): string =>
  pieces.map(({ permissions }) => permissions.slice(0, 3)).join(' ');

/** The figures of all regions: those of libmalloc_stats. */
function together(regions: readonly HeapRegion[]): HeapRegion {
  const sum = (of: (region: HeapRegion) => number): number =>
    regions.reduce((total, each) => total + of(each), 0);
  return {
    start: 0,
    end: 0,
    spans: sum(({ spans }) => spans),
    blocks: sum(({ blocks }) => blocks),
    live: sum(({ live }) => live),
    free: sum(({ free }) => free),
    fresh: sum(({ fresh }) => fresh),
    headers: sum(({ headers }) => headers),
  };
}

function totals({ areas, program, process, remark, regions, malloc }: Layout): string[] {
  const mapped = process.mappings.reduce((sum, { start, end }) => sum + end - start, 0);
  const resident = areas.reduce((sum, area) => sum + area.resident, 0);
  const swapped = areas.reduce((sum, area) => sum + area.swapped, 0);
  const direction = process.legacy ? 'up' : 'down';
  const out = swapped > 0 ? `, ${bytes(swapped)} swapped out` : '';
  const lines = [
    `mapped ${bytes(mapped)}, of which ${bytes(resident)} in memory${out}; new mappings go ${direction}`,
  ];
  if (regions.length > 0) lines.push(`${malloc.name} has ${describeRegion(together(regions))}`);
  if (program) {
    const { text, data, bss } = program;
    lines.push(`the program's file: text ${text}, data ${data}, bss ${bss} bytes`);
  }
  if (remark !== undefined) lines.push(`the malloc's regions are not told apart: ${remark}`);
  return lines;
}
