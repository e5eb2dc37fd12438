// What all pictures share: Observable Plot draws them, each malloc has one colour, the background
// is white. The same data give the same bytes.

import { writeFileSync } from 'node:fs';
import { Failure, reasonOf } from '../lib/errors.ts';

export const ink = '#24292f';
export const pale = '#6e7781';

export const style = {
  background: 'white',
  color: ink,
  fontFamily: 'system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif',
  fontSize: '12px',
};

// A malloc has one colour in all pictures; the reader's own get what is left.
const colors: Record<string, string> = {
  dumb: '#9498a0',
  list: '#ff725c',
  buddy: '#b07aa1',
  paged: '#4269d0',
  sharded: '#3ca951',
  glibc: ink,
  jemalloc: '#efb118',
  tcmalloc: '#a463f2',
  mimalloc: '#6cc5b0',
  scudo: '#9c6b4e',
};
const spare = ['#ff8ab7', '#97bbf5', '#c9a227', '#b5bd00', '#007a87', '#c98500'];

/** The colour of a malloc beside all the others in `names`. */
export function colorOf(name: string, names: readonly string[]): string {
  const strangers = names.filter((each) => colors[each] === undefined);
  return colors[name] ?? spare[strangers.indexOf(name) % spare.length] ?? ink;
}

/** Loaded only when a picture is wanted: nothing else in the command needs it. */
export async function library() {
  const [Plot, { parseHTML }] = await Promise.all([
    import('@observablehq/plot'),
    import('linkedom'),
  ]);
  return {
    Plot,
    document: parseHTML('<!doctype html><html></html>').document as unknown as never,
  };
}

export const grouped = (n: number) => n.toLocaleString('en', { maximumFractionDigits: 2 });

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
export const escaped = (text: string) =>
  text.replace(/[&<>"]/g, (letter) => entities[letter] ?? letter);

/** As much of an element as is needed here; the whole DOM stays out of our types. */
export interface Figure {
  outerHTML: string;
  textContent: string | null;
  setAttribute(name: string, value: string): void;
  append(child: Figure): void;
  ownerDocument: { createElementNS(namespace: string, name: string): Figure };
}

/**
 * Adds a title to the picture, and the namespace that programs other than browsers need to
 * recognise an SVG.
 */
export function finish(figure: Figure, title: string): string {
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

/** Swatches with names, as a picture of one line or several. */
export function legend(names: readonly string[], width: number, note: string): string {
  const [left, step, line, letter] = [8, 22, 20, 7];
  let [x, y] = [left, 14];
  const items = names.map((name) => {
    const room = step + name.length * letter + 14;
    if (x + room > width) [x, y] = [left, y + line];
    const swatch = `<rect x="${x}" y="${y - 10}" width="12" height="12" rx="2" fill="${colorOf(name, names)}"/>`;
    const text = `<text x="${x + 17}" y="${y}">${escaped(name)}</text>`;
    x += room;
    return swatch + text;
  });
  const caption = `<text x="${left}" y="${y + line}" fill="${pale}">${escaped(note)}</text>`;
  const font = escaped(style.fontFamily);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${y + line + 8}" font-family="${font}" font-size="12" fill="${ink}">${items.join('')}${caption}</svg>`;
}

const sizeOf = (svg: string, side: 'width' | 'height') =>
  Number(new RegExp(`<svg[^>]* ${side}="(\\d+)"`).exec(svg)?.[1] ?? 0);

/** Places pictures on a white background, with a title for screen readers. */
function paper(title: string, placed: { svg: string; x: number; y: number }[]): string {
  const width = Math.max(...placed.map(({ svg, x }) => x + sizeOf(svg, 'width')));
  const height = Math.max(...placed.map(({ svg, y }) => y + sizeOf(svg, 'height')));
  const box = `width="${width}" height="${height}" viewBox="0 0 ${width} ${height}"`;
  const parts = placed.map(({ svg, x, y }) => svg.replace('<svg', `<svg x="${x}" y="${y}"`));
  return `<svg xmlns="http://www.w3.org/2000/svg" ${box}><title>${escaped(title)}</title><rect width="100%" height="100%" fill="white"/>${parts.join('')}</svg>\n`;
}

/** Several pictures side by side as one. */
export function row(titles: readonly string[], pictures: readonly string[]): string {
  let x = 0;
  const placed = pictures.map((svg) => {
    const at = x;
    x += sizeOf(svg, 'width');
    return { svg, x: at, y: 0 };
  });
  return paper(titles.join('; '), placed);
}

/** Several pictures one below the other as one. */
export function stack(title: string, pictures: readonly string[]): string {
  let y = 0;
  const placed = pictures.map((svg) => {
    const at = y;
    y += sizeOf(svg, 'height');
    return { svg: svg.trimEnd(), x: 0, y: at };
  });
  return paper(title, placed);
}

/** Throws Failure when the file cannot be written. */
export function writePicture(file: string, svg: string): void {
  try {
    writeFileSync(file, svg);
  } catch (cause) {
    throw new Failure(`cannot write ${file}: ${reasonOf(cause)}`, {
      hint: 'give --svg a path that can be written',
      cause,
    });
  }
}
