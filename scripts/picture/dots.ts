// One figure per malloc as a dot on a logarithmic axis, for figures of very different sizes.

import { colorOf, type Figure, finish, grouped, library, row, style } from './canvas.ts';
import { centred, extent, type Panel, ticks } from './scale.ts';

const WIDTH = 560;
const MARGIN = { top: 40, right: 78, bottom: 44, left: 86 };

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
    marginLeft: MARGIN.left,
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

/** One figure per series, side by side; a series' figure is its first point's x. */
export async function dotPicture(panels: Panel[]): Promise<string> {
  return row(
    panels.map(({ title }) => title),
    await Promise.all(panels.map(dotPanel)),
  );
}
