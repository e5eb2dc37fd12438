// A heat map: a row for each contest, a column for each malloc, and the ratio in the cell.

import * as Plot from '@observablehq/plot';
import { chart, element, type Figure, stack, text } from './figure.ts';
import { ink, pale } from './hues.ts';

export interface HeatRow {
  name: string;
  /** Against the best peer, which is 1; undefined where the malloc failed. */
  ratios: (number | undefined)[];
  /** A row that sums up the others. */
  mean?: boolean;
}

export interface HeatGroup {
  title: string;
  rows: HeatRow[];
}

const CELL = { width: 74, height: 19 };
const MARGIN = { top: 56, right: 10, bottom: 12, left: 160 };

/** Colours end at these ratios; what lies beyond has the colour of the end. */
const ENDS = [0.4, 4] as const;

/**
 * Blue is better than the best peer, white equal, vermilion worse. Blue and vermilion can be told apart
 * with every kind of colour blindness, and both get darker away from 1, so that the distance also shows
 * in grey.
 */
const BLUE = [0, 90, 160];
const WHITE = [255, 255, 255];
const VERMILION = [190, 60, 0];

/** The share of the way from 1 to the end of the scale, on a logarithmic scale. */
function distance(ratio: number): number {
  const [least, most] = ENDS;
  const end = ratio < 1 ? least : most;
  return Math.min(1, Math.log(ratio) / Math.log(end));
}

function mixed(ratio: number): number[] {
  const end = ratio < 1 ? BLUE : VERMILION;
  const share = distance(ratio);
  return WHITE.map((white, i) => Math.round(white + ((end[i] ?? 0) - white) * share));
}

/** Text on that colour: white where it is dark. */
const textOn = (ratio: number | undefined): string =>
  ratio !== undefined && distance(ratio) > 0.75 ? '#ffffff' : ink;

export const colorOfRatio = (ratio: number | undefined): string =>
  ratio === undefined ? '#d0d4d9' : `rgb(${mixed(ratio).join(',')})`;

/** "0.98", "12.4", "120": three digits suffice. */
const short = (ratio: number | undefined): string =>
  ratio === undefined ? 'failed' : ratio.toFixed(ratio < 9.995 ? 2 : ratio < 99.95 ? 1 : 0);

function groupPicture(
  { title, rows }: HeatGroup,
  names: readonly string[],
  ours: readonly string[],
): Figure {
  const cells = rows.flatMap(({ name, ratios, mean }) =>
    names.map((malloc, i) => ({ row: name, malloc, ratio: ratios[i], mean })),
  );
  const bold = (strong: boolean): number => (strong ? 700 : 400);
  const isOurs = ({ malloc }: { malloc: string }): boolean => ours.includes(malloc);
  const at = { x: 'malloc', y: 'row' } as const;
  const inner = { width: CELL.width * names.length, height: CELL.height * rows.length };
  return chart(title, inner, MARGIN, {
    x: { domain: [...names], axis: null, padding: 0 },
    y: { domain: rows.map(({ name }) => name), axis: null, padding: 0 },
    marks: [
      Plot.cell(cells, { ...at, fill: ({ ratio }) => colorOfRatio(ratio), inset: 0.75 }),
      ...[false, true].map((strong) =>
        Plot.text(
          cells.filter((cell) => (isOurs(cell) || cell.mean === true) === strong),
          {
            ...at,
            text: ({ ratio }) => short(ratio),
            fill: ({ ratio }) => textOn(ratio),
            fontSize: 11,
            fontWeight: bold(strong),
          },
        ),
      ),
      ...[false, true].map((strong) =>
        Plot.text(
          names.filter((malloc) => ours.includes(malloc) === strong),
          {
            x: (malloc: string) => malloc,
            text: (malloc: string) => malloc,
            frameAnchor: 'top',
            dy: -16,
            fontWeight: bold(strong),
          },
        ),
      ),
      ...[false, true].map((strong) =>
        Plot.text(
          rows.filter(({ mean }) => (mean === true) === strong),
          {
            y: 'name',
            text: 'name',
            frameAnchor: 'left',
            textAnchor: 'end',
            dx: -8,
            fontWeight: bold(strong),
          },
        ),
      ),
      // A frame around our columns.
      Plot.rect(
        ours.filter((malloc) => names.includes(malloc)),
        { x: (malloc: string) => malloc, fill: 'none', stroke: ink, strokeWidth: 2, inset: -1 },
      ),
    ],
  });
}

/** What the colours mean, as a line of swatches. */
function legendOf(width: number, note: string): Figure {
  const marks = [0.5, 0.7, 0.9, 1, 1.2, 1.5, 2, 3, 4];
  const [left, step] = [8, 50];
  const swatches = marks.flatMap((ratio, i) => {
    const x = left + i * step;
    const word = ratio === ENDS[1] ? '≥ 4' : String(ratio);
    const edge = { fill: colorOfRatio(ratio), stroke: pale, 'stroke-width': 0.4 };
    return [
      element('rect', { x, y: 4, width: step - 2, height: 18, ...edge }),
      text(x + step / 2 - 1, 17, word, { 'text-anchor': 'middle', fill: textOn(ratio) }),
    ];
  });
  const caption = text(left, 42, note, { fill: pale });
  return element('svg', { width, height: 54 }, ...swatches, caption);
}

/** Ratios of all mallocs (`names`) in all contests; the columns of `ours` are framed. */
export function heatPicture(
  title: string,
  groups: readonly HeatGroup[],
  names: readonly string[],
  ours: readonly string[],
): Figure {
  const width = MARGIN.left + MARGIN.right + CELL.width * names.length;
  const note = 'Ratio to the best peer in each contest: blue is less, orange is more.';
  const pictures = groups.map((group) => groupPicture(group, names, ours));
  return stack(title, [legendOf(width, `${title}. ${note}`), ...pictures]);
}
