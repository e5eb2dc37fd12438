// What all pictures are made of, on a white background. Observable Plot draws charts into a DOM; everything else is built from elements of the same DOM. Equal data give equal
// bytes. Plot and the DOM take half a second to load, so commands import them only to draw.

import { type PlotOptions, plot } from '@observablehq/plot';
import { parseHTML } from 'linkedom';
import { colorScale, ink, pale } from './hues.ts';

const { document } = parseHTML('<!doctype html><html></html>');

const style = {
  background: 'white',
  color: ink,
  fontFamily: 'system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif',
  fontSize: '12px',
};

export const grouped = (n: number) => n.toLocaleString('en', { maximumFractionDigits: 2 });

/** As much of an SVG element as is needed here; the whole DOM stays out of our types. */
export interface Figure {
  outerHTML: string;
  getAttribute(name: string): string | null;
  setAttribute(name: string, value: string): void;
  append(...children: (Figure | string)[]): void;
}

type Attributes = Readonly<Record<string, string | number>>;

/** Numbers keep two decimals. */
export function element(
  name: string,
  attributes: Attributes,
  ...children: (Figure | string)[]
): Figure {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name) as unknown as Figure;
  for (const [key, value] of Object.entries(attributes))
    made.setAttribute(key, String(typeof value === 'string' ? value : Number(value.toFixed(2))));
  made.append(...children);
  return made;
}

export const text = (x: number, y: number, content: string, attributes: Attributes = {}): Figure =>
  element('text', { x, y, ...attributes }, content);

export const heading = (x: number, y: number, content: string): Figure =>
  text(x, y, content, { 'text-anchor': 'start', 'font-weight': 600, 'font-size': 14 });

/** A white sheet with `parts` on it; the title is for screen readers. */
export function paper(title: string, width: number, height: number, parts: Figure[]): Figure {
  const box = { width, height, viewBox: `0 0 ${width} ${height}` };
  const letters = { 'font-family': style.fontFamily, 'font-size': 12, fill: ink };
  const white = element('rect', { width: '100%', height: '100%', fill: 'white' });
  return element('svg', { ...box, ...letters }, element('title', {}, title), white, ...parts);
}

/** A chart by Plot, `inner` large inside its margins. */
export function chart(
  title: string,
  inner: { width: number; height: number },
  margin: { top: number; right: number; bottom: number; left: number },
  options: PlotOptions,
): Figure {
  const figure = plot({
    document: document as never,
    width: margin.left + inner.width + margin.right,
    height: margin.top + inner.height + margin.bottom,
    marginTop: margin.top,
    marginRight: margin.right,
    marginBottom: margin.bottom,
    marginLeft: margin.left,
    style,
    ...options,
  }) as unknown as Figure;
  figure.setAttribute('font-size', '12');
  figure.append(heading(8, 18, title));
  return figure;
}

/** Swatches with names in lines, and a note under them. */
export function legend(names: readonly string[], width: number, note: string): Figure {
  const [left, step, line, letter] = [8, 22, 20, 7];
  const { range } = colorScale(names);
  let [x, y] = [left, 14];
  const items = names.flatMap((name, i) => {
    const room = step + name.length * letter + 14;
    if (x + room > width) [x, y] = [left, y + line];
    const swatch = { x, y: y - 10, width: 12, height: 12, rx: 2, fill: range[i] ?? ink };
    const item = [element('rect', swatch), text(x + 17, y, name)];
    x += room;
    return item;
  });
  const caption = text(left, y + line, note, { fill: pale });
  return element('svg', { width, height: y + line + 8 }, ...items, caption);
}

const sizeOf = (figure: Figure, side: 'width' | 'height') => Number(figure.getAttribute(side));

/** Several pictures as one: side by side (`x`), or one below the other (`y`). */
function joined(title: string, pictures: readonly Figure[], along: 'x' | 'y'): Figure {
  const [side, other] =
    along === 'x' ? (['width', 'height'] as const) : (['height', 'width'] as const);
  let at = 0;
  for (const picture of pictures) {
    picture.setAttribute(along, String(at));
    at += sizeOf(picture, side);
  }
  const across = Math.max(...pictures.map((picture) => sizeOf(picture, other)));
  const [width, height] = along === 'x' ? [at, across] : [across, at];
  return paper(title, width, height, [...pictures]);
}

export const row = (titles: readonly string[], pictures: readonly Figure[]): Figure =>
  joined(titles.join('; '), pictures, 'x');

export const stack = (title: string, pictures: readonly Figure[]): Figure =>
  joined(title, pictures, 'y');

/** A picture as a file: programs other than browsers recognise an SVG by its namespace. */
export function svgOf(picture: Figure): string {
  picture.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  return `${picture.outerHTML}\n`;
}
