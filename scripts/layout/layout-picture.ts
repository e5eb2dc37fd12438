// A memory layout as a column of boxes, high addresses on top; a box's height grows with its size,
// slowly, and its left part is filled as far as it is in memory.

import { bytes } from '../lib/units.ts';
import { escaped, ink, pale, style } from '../picture/canvas.ts';
import type { Area, AreaKind } from './areas.ts';
import { hex, isHole, noteOf } from './describe.ts';
import type { Layout } from './look.ts';

const COLUMN = { left: 140, width: 260 };
const WIDTH = 1080;
const TOP = 40;
const HOLE = 26;

const fills: Record<AreaKind, string> = {
  text: '#efb118',
  constants: '#f3c75c',
  data: '#ff9d5c',
  bss: '#ffc29a',
  heap: '#3ca951',
  malloc: '#3ca951',
  anonymous: '#a463f2',
  library: '#97bbf5',
  file: '#c5d5f0',
  guard: '#d8dbe0',
  thread: '#6cc5b0',
  stack: '#6cc5b0',
  kernel: '#d8dbe0',
};

/** Pixels: 20 for a page, and four more for each doubling from there. */
const heightOf = (size: number): number => 20 + 4 * Math.max(0, Math.log2(size / 4096));

/** The layout as an SVG document. */
export function layoutPicture(layout: Layout, title: string): string {
  const parts: string[] = [];
  let y = TOP;
  let above: number | undefined;
  for (const area of layout.areas.toReversed()) {
    if (above !== undefined && isHole(above - area.end)) {
      parts.push(hole(y, above - area.end));
      y += HOLE;
    }
    const size = area.pieces.reduce((sum, { start, end }) => sum + end - start, 0);
    parts.push(box(area, y, size, noteOf(area, layout)));
    y += heightOf(size) + 2;
    above = area.start;
  }
  return document(title, y + 34, parts);
}

function document(title: string, height: number, parts: string[]): string {
  const size = `width="${WIDTH}" height="${Math.ceil(height)}" viewBox="0 0 ${WIDTH} ${Math.ceil(height)}"`;
  const font = `font-family="${escaped(style.fontFamily)}" font-size="12" fill="${ink}"`;
  const legend =
    'Solid: in memory; pale: not. Arrows: where it grows. High addresses on top, not to scale.';
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} ${font}>`,
    `<title>${escaped(title)}</title>`,
    '<rect width="100%" height="100%" fill="white"/>',
    text(12, 22, title, 'font-weight="600" font-size="14"'),
    ...parts,
    text(12, Math.ceil(height) - 12, legend, `fill="${pale}"`),
    '</svg>',
  ].join('\n')}\n`;
}

const text = (x: number, y: number, content: string, attributes = ''): string =>
  `<text x="${x}" y="${y.toFixed(1)}" ${attributes}>${escaped(content)}</text>`;

const monospace = `font-family="ui-monospace, 'DejaVu Sans Mono', monospace" font-size="11"`;

function hole(y: number, size: number): string {
  const middle = COLUMN.left + COLUMN.width / 2;
  return text(middle, y + 17, `⋮ ${bytes(size)} not mapped`, `text-anchor="middle" fill="${pale}"`);
}

function box(area: Area, y: number, size: number, note: string): string {
  const { left, width } = COLUMN;
  const height = heightOf(size);
  const share = size === 0 ? 0 : Math.min(1, area.resident / size);
  const middle = y + height / 2 + 4;
  const rect = (w: number, more: string) =>
    `<rect x="${left}" y="${y.toFixed(1)}" width="${w.toFixed(1)}" height="${height.toFixed(1)}" fill="${fills[area.kind]}" ${more}/>`;
  const inMemory = area.resident === 0 ? 'nothing in memory' : `${bytes(area.resident)} in memory`;
  const beside = [`${bytes(size)}, ${inMemory}`, note].filter((part) => part !== '').join('; ');
  return [
    rect(width, `fill-opacity="0.3" stroke="${ink}" stroke-width="0.6"`),
    rect(width * share, 'fill-opacity="0.85"'),
    text(
      left - 10,
      y + height - 3,
      hex(area.start),
      `text-anchor="end" fill="${pale}" ${monospace}`,
    ),
    text(left + 10, middle, area.label, 'font-weight="600"'),
    arrow(area, y, height),
    text(left + width + 14, middle, beside),
  ].join('');
}

function arrow({ grows }: Area, y: number, height: number): string {
  if (grows === undefined) return '';
  const x = COLUMN.left + COLUMN.width - 16;
  const [from, to] = grows === 'up' ? [y + height - 4, y + 5] : [y + 4, y + height - 5];
  const back = grows === 'up' ? 5 : -5;
  return `<path d="M${x} ${from.toFixed(1)}V${to.toFixed(1)}m-4 ${back}l4 ${-back}l4 ${back}" fill="none" stroke="${ink}" stroke-width="1.6"/>`;
}
