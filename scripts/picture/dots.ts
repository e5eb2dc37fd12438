// One figure per malloc as a dot on a logarithmic axis, for figures of very different sizes.

import * as Plot from '@observablehq/plot';
import { chart, type Figure, grouped, row } from './figure.ts';
import { colorScale } from './hues.ts';
import { centred, extent, type Panel, ticks } from './scale.ts';

const WIDTH = 396;
const MARGIN = { top: 40, right: 78, bottom: 44, left: 86 };

/** One dot per series on a logarithmic axis, the smallest first, each with its figure. */
function dotPanel(panel: Panel): Figure {
  const names = panel.series.map(({ name }) => name);
  const data = panel.series
    .flatMap(({ name, points }) => points.map(({ x }) => ({ name, x })))
    .sort((a, b) => a.x - b.x);
  const [least, most] = extent(data.map(({ x }) => x));
  const xs: [number, number] = [least / 1.5, most * 1.5];
  return chart(panel.title, { width: WIDTH, height: 26 * data.length }, MARGIN, {
    x: { type: 'log', domain: xs },
    y: { label: null, domain: data.map(({ name }) => name) },
    color: colorScale(names),
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
}

/** One figure per series, side by side; a series' figure is its first point's x. */
export function dotPicture(panels: Panel[]): Figure {
  return row(
    panels.map(({ title }) => title),
    panels.map(dotPanel),
  );
}
