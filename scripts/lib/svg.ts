// Pictures of measurements, drawn by Observable Plot: the same data give the same bytes.

import { writeFileSync } from 'node:fs';
import { Failure } from './errors.ts';

/** One line or one dot: usually a malloc. */
export interface Series {
  name: string;
  points: { x: number; y: number }[];
}

export interface Panel {
  /** Says the unit of y as well: "CPU per call, ns". */
  title: string;
  /** Under the horizontal axis. */
  x: string;
  series: Series[];
}

const WIDTH = 560;
const HEIGHT = 400;
const MARGIN = { top: 40, right: 78, bottom: 44, left: 56 };
const LABEL_HEIGHT = 13;

const style = {
  background: 'white',
  color: '#24292f',
  fontFamily: 'system-ui, "Segoe UI", Helvetica, Arial, sans-serif',
  fontSize: '12px',
};

// A malloc has one colour in all pictures; the reader's own get what is left.
const colors: Record<string, string> = {
  dumb: '#9498a0',
  list: '#ff725c',
  paged: '#4269d0',
  sharded: '#3ca951',
  glibc: '#24292f',
  jemalloc: '#efb118',
  tcmalloc: '#a463f2',
  mimalloc: '#6cc5b0',
};
const spare = ['#ff8ab7', '#97bbf5', '#9c6b4e', '#c98500', '#007a87', '#b5bd00'];

function colorOf(name: string, names: string[]): string {
  const strangers = names.filter((each) => colors[each] === undefined);
  return colors[name] ?? spare[strangers.indexOf(name) % spare.length] ?? '#24292f';
}

/** Loaded only when a picture is wanted: nothing else in the command needs it. */
async function library() {
  const [Plot, { parseHTML }] = await Promise.all([
    import('@observablehq/plot'),
    import('linkedom'),
  ]);
  return {
    Plot,
    document: parseHTML('<!doctype html><html></html>').document as unknown as never,
  };
}

/**
 * Moves positions (pixels, any order) apart until neighbours are `distance` away from each other,
 * each as little as it goes: labels at the ends of lines that end together.
 */
export function spreadOut(positions: number[], distance: number): number[] {
  const order = positions.map((at, index) => ({ at, index })).sort((a, b) => a.at - b.at);
  const groups: { sum: number; members: number[] }[] = [];
  const start = (group: { sum: number; members: number[] }) =>
    group.sum / group.members.length - ((group.members.length - 1) * distance) / 2;
  for (const { at, index } of order) {
    let group = { sum: at, members: [index] };
    for (;;) {
      const last = groups.at(-1);
      if (last === undefined || start(last) + last.members.length * distance <= start(group)) break;
      groups.pop();
      group = { sum: last.sum + group.sum, members: [...last.members, ...group.members] };
    }
    groups.push(group);
  }
  const result = [...positions];
  for (const group of groups) {
    for (const [place, index] of group.members.entries())
      result[index] = start(group) + place * distance;
  }
  return result;
}

const grouped = (n: number) => n.toLocaleString('en', { maximumFractionDigits: 2 });
const centred = { labelAnchor: 'center', labelArrow: 'none' } as const;

function extent(values: number[]): [number, number] {
  return [Math.min(...values), Math.max(...values)];
}

/** Ticks of a logarithmic axis: powers of ten, and 2 and 5 between them where those are few. */
function ticks(low: number, high: number): number[] {
  const decades = Array.from(
    { length: Math.ceil(Math.log10(high)) - Math.floor(Math.log10(low)) + 1 },
    (_, i) => 10 ** (Math.floor(Math.log10(low)) + i),
  );
  const inside = (all: number[]) => all.filter((at) => at >= low && at <= high);
  const coarse = inside(decades);
  return coarse.length > 2 ? coarse : inside(decades.flatMap((at) => [at, 2 * at, 5 * at]));
}

/** Where each line's name stands, in data units: at its last point, moved out of the others' way. */
function labels(series: Series[], [low, high]: [number, number]) {
  const pixels = HEIGHT - MARGIN.top - MARGIN.bottom;
  const scale = pixels / Math.log(high / low);
  const last = series.flatMap(({ name, points }) => {
    const end = points.at(-1);
    return end === undefined ? [] : [{ name, ...end }];
  });
  const places = spreadOut(
    last.map(({ y }) => Math.log(y / low) * scale),
    LABEL_HEIGHT,
  );
  return last.map((end, i) => ({ ...end, y: low * Math.exp((places[i] ?? 0) / scale) }));
}

/** Lines over two logarithmic axes, each named at its end. */
async function logLogPanel(panel: Panel): Promise<string> {
  const { Plot, document } = await library();
  const names = panel.series.map(({ name }) => name);
  const data = panel.series.flatMap(({ name, points }) => points.map((at) => ({ name, ...at })));
  const xs = extent(data.map(({ x }) => x));
  const [least, most] = extent(data.map(({ y }) => y));
  const ys: [number, number] = [least / 1.3, most * 1.3];
  const figure = Plot.plot({
    document,
    width: WIDTH,
    height: HEIGHT,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: MARGIN.left,
    style,
    x: { type: 'log', domain: xs },
    y: { type: 'log', domain: ys },
    color: { domain: names, range: names.map((name) => colorOf(name, names)) },
    marks: [
      Plot.gridX(ticks(...xs)),
      Plot.gridY(ticks(...ys)),
      Plot.axisX(ticks(...xs), { tickFormat: grouped, label: panel.x, ...centred }),
      Plot.axisY(ticks(...ys), { tickFormat: grouped, label: null }),
      Plot.lineY(data, { x: 'x', y: 'y', z: 'name', stroke: 'name', strokeWidth: 2 }),
      Plot.dot(data, { x: 'x', y: 'y', fill: 'name', r: 3 }),
      Plot.text(labels(panel.series, ys), {
        x: 'x',
        y: 'y',
        text: 'name',
        fill: 'name',
        textAnchor: 'start',
        dx: 8,
        fontWeight: 600,
      }),
    ],
  });
  return finish(figure as unknown as Figure, panel.title);
}

/** One dot per series on a logarithmic axis, the smallest first, each with its figure. */
async function dotPanel(panel: Panel): Promise<string> {
  const { Plot, document } = await library();
  const names = panel.series.map(({ name }) => name);
  const data = panel.series
    .flatMap(({ name, points }) => points.map(({ x }) => ({ name, x })))
    .sort((a, b) => a.x - b.x);
  const [least, most] = extent(data.map(({ x }) => x));
  const xs: [number, number] = [least / 1.5, most * 1.5];
  const figure = Plot.plot({
    document,
    width: WIDTH,
    height: MARGIN.top + MARGIN.bottom + 26 * data.length,
    marginTop: MARGIN.top,
    marginRight: MARGIN.right,
    marginBottom: MARGIN.bottom,
    marginLeft: 86,
    style,
    x: { type: 'log', domain: xs },
    y: { label: null, domain: data.map(({ name }) => name) },
    color: { domain: names, range: names.map((name) => colorOf(name, names)) },
    marks: [
      Plot.gridX(ticks(...xs)),
      Plot.axisX(ticks(...xs), { tickFormat: grouped, label: panel.x, ...centred }),
      Plot.ruleY(data, { y: 'name', x1: xs[0], x2: 'x', stroke: 'name', strokeWidth: 1.5 }),
      Plot.dot(data, { x: 'x', y: 'name', fill: 'name', r: 5 }),
      Plot.text(data, {
        x: 'x',
        y: 'name',
        text: ({ x }: { x: number }) => grouped(x >= 10 ? Math.round(x) : x),
        textAnchor: 'start',
        dx: 10,
      }),
    ],
  });
  return finish(figure as unknown as Figure, panel.title);
}

/** As much of an element as is needed here; the whole DOM stays out of our types. */
interface Figure {
  outerHTML: string;
  textContent: string | null;
  setAttribute(name: string, value: string): void;
  append(child: Figure): void;
  ownerDocument: { createElementNS(namespace: string, name: string): Figure };
}

/** A title inside the picture, and what a viewer outside a web page needs to know an SVG. */
function finish(figure: Figure, title: string): string {
  figure.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  figure.setAttribute('font-size', '12');
  const heading = figure.ownerDocument.createElementNS('http://www.w3.org/2000/svg', 'text');
  for (const [name, value] of Object.entries({ x: 8, y: 18, 'text-anchor': 'start' }))
    heading.setAttribute(name, String(value));
  heading.setAttribute('font-weight', '600');
  heading.setAttribute('font-size', '14');
  heading.textContent = title;
  figure.append(heading);
  return figure.outerHTML;
}

const sizeOf = (svg: string, side: 'width' | 'height') =>
  Number(new RegExp(`<svg[^>]* ${side}="(\\d+)"`).exec(svg)?.[1] ?? 0);

/** Several pictures side by side as one, with their titles for whoever cannot see it. */
function row(panels: Panel[], pictures: string[]): string {
  const height = Math.max(...pictures.map((svg) => sizeOf(svg, 'height')));
  let x = 0;
  const placed = pictures.map((svg) => {
    const at = svg.replace('<svg', `<svg x="${x}"`);
    x += sizeOf(svg, 'width');
    return at;
  });
  const box = `width="${x}" height="${height}" viewBox="0 0 ${x} ${height}"`;
  const title = `<title>${panels.map((panel) => panel.title).join('; ')}</title>`;
  const paper = '<rect width="100%" height="100%" fill="white"/>';
  return `<svg xmlns="http://www.w3.org/2000/svg" ${box}>${title}${paper}${placed.join('')}</svg>\n`;
}

/** Line pictures over logarithmic axes, side by side. */
export async function logLogPicture(panels: Panel[]): Promise<string> {
  return row(panels, await Promise.all(panels.map(logLogPanel)));
}

/** One figure per series, side by side; a series' figure is its first point's x. */
export async function dotPicture(panels: Panel[]): Promise<string> {
  return row(panels, await Promise.all(panels.map(dotPanel)));
}

/** Throws Failure when the file cannot be written. */
export function writePicture(file: string, svg: string): void {
  try {
    writeFileSync(file, svg);
  } catch (cause) {
    throw new Failure(`cannot write ${file}: ${(cause as Error).message}`, {
      hint: 'give --svg a path that can be written',
      cause,
    });
  }
}
