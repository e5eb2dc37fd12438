// Small multiples: a cell for each contest, a bar for each malloc.

import * as Plot from '@observablehq/plot';
import { chart, type Figure, legend, stack } from './figure.ts';
import { colorScale, ink, pale } from './hues.ts';

export interface Cell {
  name: string;
  /** Against the best peer, which is 1; undefined where the malloc failed. */
  bars: { name: string; ratio: number | undefined }[];
}

export interface BarGroup {
  title: string;
  cells: Cell[];
}

const COLUMNS = 5;
const CELL = { width: 184, height: 118 };
const MARGIN = { top: 56, right: 12, bottom: 10, left: 34 };

const place = (i: number) => ({ column: i % COLUMNS, line: Math.floor(i / COLUMNS) });

/** The label of a bar that was cut off: "3.4", "12". */
const short = (ratio: number) => (ratio < 9.95 ? ratio.toFixed(1) : ratio.toFixed(0));

/** The ratio at which bars are cut off and labelled: 2 if nearly all are below it, else 3. */
function scaleEnd(cells: readonly Cell[]): number {
  const ratios = cells.flatMap(({ bars }) => bars.flatMap(({ ratio }) => ratio ?? []));
  return ratios.filter((ratio) => ratio > 2).length > ratios.length / 20 ? 3 : 2;
}

function groupPicture(group: BarGroup, names: readonly string[]): Figure {
  const bars = group.cells.flatMap((cell, i) =>
    cell.bars.map(({ name, ratio }) => ({ ...place(i), name, ratio })),
  );
  const shown = bars.filter((bar) => bar.ratio !== undefined);
  const most = scaleEnd(group.cells);
  const ticks = most > 2 ? [2, most] : [2];
  const facet = { fx: 'column', fy: 'line' } as const;
  const lines = Math.ceil(group.cells.length / COLUMNS);
  const columns = Math.min(COLUMNS, group.cells.length);
  const inner = { width: CELL.width * columns, height: CELL.height * lines };
  return chart(group.title, inner, MARGIN, {
    x: { domain: [...names], axis: null, padding: 0.12 },
    y: { domain: [0, most], label: null },
    fx: { axis: null, padding: 0.08 },
    fy: { axis: null, padding: 0.36 },
    color: colorScale(names),
    marks: [
      Plot.gridY(ticks, { strokeOpacity: 0.12 }),
      Plot.axisY([0, 1, ...ticks], { tickSize: 0, fill: pale, fontSize: 10, facetAnchor: 'left' }),
      Plot.barY(shown, {
        ...facet,
        x: 'name',
        y: (bar) => Math.min(bar.ratio, most),
        fill: 'name',
      }),
      Plot.ruleY([1], { stroke: ink, strokeOpacity: 0.55, strokeDasharray: '3,2' }),
      Plot.ruleY([0], { stroke: pale }),
      Plot.text(
        shown.filter((bar) => (bar.ratio ?? 0) > most),
        {
          ...facet,
          x: 'name',
          y: most,
          text: (bar) => short(bar.ratio),
          dy: -5,
          fontSize: 8.5,
          fill: pale,
        },
      ),
      Plot.text(
        bars.filter((bar) => bar.ratio === undefined),
        { ...facet, x: 'name', y: 0, text: () => '✕', dy: -7, fontSize: 11, fill: 'name' },
      ),
      Plot.text(
        group.cells.map(({ name }, i) => ({ ...place(i), name })),
        { ...facet, text: 'name', frameAnchor: 'top-left', dy: -20, fontWeight: 600 },
      ),
    ],
  });
}

/** Bars for every contest, in groups; `names` are all mallocs, in the order of their bars. */
export function barPicture(
  title: string,
  groups: readonly BarGroup[],
  names: readonly string[],
): Figure {
  const note = 'The best peer is 1 (dashed). Shorter is better; ✕ failed.';
  const pictures = groups.map((group) => groupPicture(group, names));
  const width = MARGIN.left + MARGIN.right + CELL.width * COLUMNS;
  return stack(title, [legend(names, width, `${title}. ${note}`), ...pictures]);
}
