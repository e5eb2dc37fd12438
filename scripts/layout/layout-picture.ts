// A memory layout as a column of boxes, high addresses on top; a box's height grows with its size,
// slowly, and its left part is filled as far as it is in memory.

import { bytes } from '../lib/units.ts';
import { element, type Figure, heading, paper, svgOf, text } from '../picture/figure.ts';
import { hue, ink, pale } from '../picture/hues.ts';
import type { Area, AreaKind } from './areas.ts';
import { hex, isHole, noteOf } from './describe.ts';
import type { Layout } from './look.ts';

const COLUMN = { left: 140, width: 260 };
const WIDTH = 1080;
const TOP = 40;
const HOLE = 26;

const fills: Record<AreaKind, string> = {
  text: hue.yellow,
  constants: '#f3c75c',
  data: '#ff9d5c',
  bss: '#ffc29a',
  heap: hue.green,
  malloc: hue.green,
  anonymous: hue.purple,
  library: hue.sky,
  file: '#c5d5f0',
  guard: '#d8dbe0',
  thread: hue.cyan,
  stack: hue.cyan,
  kernel: '#d8dbe0',
};

/** Pixels: 20 for a page, and four more for each doubling from there. */
const heightOf = (size: number): number => 20 + 4 * Math.max(0, Math.log2(size / 4096));

export function layoutPicture(layout: Layout, title: string): string {
  const parts = [heading(12, 22, title)];
  let y = TOP;
  let above: number | undefined;
  for (const area of layout.areas.toReversed()) {
    if (above !== undefined && isHole(above - area.end)) {
      parts.push(hole(y, above - area.end));
      y += HOLE;
    }
    const size = area.pieces.reduce((sum, { start, end }) => sum + end - start, 0);
    parts.push(...box(area, y, size, noteOf(area, layout)));
    y += heightOf(size) + 2;
    above = area.start;
  }
  const height = Math.ceil(y + 34);
  const legend =
    'Solid: in memory; pale: not. Arrows: where it grows. High addresses on top, not to scale.';
  parts.push(text(12, height - 12, legend, { fill: pale }));
  return svgOf(paper(title, WIDTH, height, parts));
}

const monospace = {
  'font-family': "ui-monospace, 'DejaVu Sans Mono', monospace",
  'font-size': 11,
};

function hole(y: number, size: number): Figure {
  const middle = COLUMN.left + COLUMN.width / 2;
  const attributes = { 'text-anchor': 'middle', fill: pale };
  return text(middle, y + 17, `⋮ ${bytes(size)} not mapped`, attributes);
}

function box(area: Area, y: number, size: number, note: string): Figure[] {
  const { left, width } = COLUMN;
  const height = heightOf(size);
  const share = size === 0 ? 0 : Math.min(1, area.resident / size);
  const middle = y + height / 2 + 4;
  const rect = (width: number, more: Record<string, string | number>) =>
    element('rect', { x: left, y, width, height, fill: fills[area.kind], ...more });
  const inMemory = area.resident === 0 ? 'nothing in memory' : `${bytes(area.resident)} in memory`;
  const beside = [`${bytes(size)}, ${inMemory}`, note].filter((part) => part !== '').join('; ');
  const pointer = { 'text-anchor': 'end', fill: pale, ...monospace };
  return [
    rect(width, { 'fill-opacity': 0.3, stroke: ink, 'stroke-width': 0.6 }),
    rect(width * share, { 'fill-opacity': 0.85 }),
    text(left - 10, y + height - 3, hex(area.start), pointer),
    text(left + 10, middle, area.label, { 'font-weight': 600 }),
    ...arrow(area, y, height),
    text(left + width + 14, middle, beside),
  ];
}

function arrow({ grows }: Area, y: number, height: number): Figure[] {
  if (grows === undefined) return [];
  const x = COLUMN.left + COLUMN.width - 16;
  const [from, to] = grows === 'up' ? [y + height - 4, y + 5] : [y + 4, y + height - 5];
  const back = grows === 'up' ? 5 : -5;
  const d = `M${x} ${from.toFixed(1)}V${to.toFixed(1)}m-4 ${back}l4 ${-back}l4 ${back}`;
  return [element('path', { d, fill: 'none', stroke: ink, 'stroke-width': 1.6 })];
}
