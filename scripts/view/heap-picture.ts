// Draws a heap as an SVG: its time line, and its map at the moment with most live bytes.

import { bytes } from '../lib/units.ts';
import { element, type Figure, heading, paper, svgOf, text } from '../picture/figure.ts';
import { hue, ink, pale } from '../picture/hues.ts';
import type { HeapData } from './data.ts';
import { HeapModel } from './model.ts';

const WIDTH = 900;
const LEFT = 12;
const MAP = { columns: 438, rows: 28, cell: 2, row: 9 };
const LINE = { height: 56 };
const colors = { live: hue.blue, freed: '#f3c9a5', never: '#eef1f4', resident: '#c9ccd1' };

/** Draws heaps one below the other; all maps and time lines have one scale, so that one can compare. */
export function heapPicture(heaps: readonly HeapData[]): string {
  const models = heaps.map((data) => new HeapModel(data));
  const widest = Math.max(1, ...models.map(({ extent }) => extent));
  const grain = 2 ** Math.ceil(Math.log2(Math.max(16, widest / (MAP.columns * MAP.rows))));
  const most = Math.max(1, ...models.map(highest));
  let y = 12;
  const parts = models.flatMap((model) => {
    const rows = Math.max(1, Math.ceil(model.extent / (grain * MAP.columns)));
    const picture = heap(model, grain, rows, most, y);
    y += 46 + LINE.height + rows * MAP.row + 22;
    return picture;
  });
  const lines = `Time lines, all to one scale: blue is live, grey resident; full height is ${bytes(most)}.`;
  const legend = `Maps: one cell is ${bytes(grain)}. Blue is live (fuller is stronger), orange used pages without a live block, grey never used.`;
  const title = models.map(({ facts }) => facts.malloc).join(', ');
  const notes = [lines, legend].map((note, i) => text(LEFT, y + 8 + 18 * i, note, { fill: pale }));
  return svgOf(paper(`Heap maps: ${title}`, WIDTH, y + 40, [...parts, ...notes]));
}

function heap(model: HeapModel, grain: number, rows: number, most: number, y: number): Figure[] {
  const { facts } = model;
  const stop = model.stopAt(facts.peakAt);
  const position = model.positionOf(stop);
  const live = model.stops.bytes[stop] ?? 0;
  const resident = model.stops.resident[stop] ?? 0;
  const said = [
    `${bytes(live)} live in ${(model.stops.blocks[stop] ?? 0).toLocaleString('en')} blocks`,
    `${bytes(model.extent)} of addresses used`,
    ...(resident > 0 ? [`${bytes(resident)} resident`] : []),
    `after ${position.toLocaleString('en')} of ${facts.events.toLocaleString('en')} calls`,
  ];
  return [
    heading(LEFT, y + 14, facts.malloc),
    text(LEFT + 90, y + 14, said.join(', '), { fill: pale }),
    ...timeline(model, stop, most, y + 24),
    ...map(model, position, grain, rows, y + 24 + LINE.height + 8),
  ];
}

/** The most live bytes between each stop and the previous one. */
const liveAt = ({ stops }: HeapModel): Float64Array =>
  stops.bytes.map((value, i) => value + (stops.over[i] ?? 0));

/** The most bytes that were ever live or resident. */
function highest(model: HeapModel): number {
  let most = 0;
  for (const column of [liveAt(model), model.stops.resident])
    for (const value of column) most = Math.max(most, value);
  return most;
}

/** Live bytes in front of resident ones, with a line at the map's moment; `most` is the full height. */
function timeline(model: HeapModel, stop: number, most: number, y: number): Figure[] {
  const { resident } = model.stops;
  const live = liveAt(model);
  const width = MAP.columns * MAP.cell;
  const area = (values: Float64Array, fill: string): Figure => {
    const points: string[] = [];
    for (let x = 0; x <= width; x += 2) {
      const from = Math.floor((x / (width + 1)) * values.length);
      const to = Math.max(from + 1, Math.floor(((x + 2) / (width + 1)) * values.length));
      const top = Math.max(0, ...values.slice(from, to));
      points.push(`${LEFT + x} ${(y + LINE.height * (1 - top / most)).toFixed(1)}`);
    }
    const base = y + LINE.height;
    const d = `M${LEFT} ${base}L${points.join('L')}L${LEFT + width} ${base}Z`;
    return element('path', { d, fill });
  };
  const x = LEFT + (stop / Math.max(1, model.count - 1)) * width;
  return [
    area(resident, colors.resident),
    area(live, colors.live),
    element('path', {
      d: `M${x.toFixed(1)} ${y}v${LINE.height}`,
      stroke: ink,
      'stroke-width': 1.2,
    }),
  ];
}

/** Adjacent cells of a colour form one rectangle, and all rectangles of a colour one path. */
function map(model: HeapModel, position: number, grain: number, rows: number, y: number): Figure[] {
  const cells = MAP.columns * rows;
  const paint = model.paint(position, 0, grain, cells);
  const paths = new Map<string, string[]>();
  const classOf = (cell: number): string => {
    if (cell * grain >= model.extent) return '';
    const full = Math.min(1, (paint.live[cell] ?? 0) / grain);
    if (full > 0) return `live ${Math.ceil(full * 4)}`;
    return (paint.used[cell] ?? 0) > 0 ? 'freed' : 'never';
  };
  for (let cell = 0; cell < cells; ) {
    const kind = classOf(cell);
    const start = cell;
    do cell++;
    while (cell < cells && cell % MAP.columns !== 0 && classOf(cell) === kind);
    if (kind === '') continue;
    const x = LEFT + (start % MAP.columns) * MAP.cell;
    const top = y + Math.floor(start / MAP.columns) * MAP.row;
    const list = paths.get(kind) ?? [];
    paths.set(kind, list);
    list.push(
      `M${x} ${top}h${(cell - start) * MAP.cell}v${MAP.row - 1}h-${(cell - start) * MAP.cell}z`,
    );
  }
  return [...paths].map(([kind, list]) => {
    const [name = '', level] = kind.split(' ');
    const fill = colors[name as keyof typeof colors];
    const opacity = level ? 0.25 + 0.1875 * Number(level) : 1;
    return element('path', { d: list.join(''), fill, 'fill-opacity': opacity });
  });
}
