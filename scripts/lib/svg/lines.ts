// Lines over logarithmic axes, each named at its end.

import { colorOf, type Figure, finish, grouped, library, row, style } from './canvas.ts';
import { centred, extent, type Panel, type Series, spreadOut, ticks } from './scale.ts';

const WIDTH = 560;
const HEIGHT = 400;
const MARGIN = { top: 40, right: 78, bottom: 44, left: 56 };
const LABEL_HEIGHT = 13;

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

/** Line pictures over logarithmic axes, side by side. */
export async function logLogPicture(panels: Panel[]): Promise<string> {
  return row(
    panels.map(({ title }) => title),
    await Promise.all(panels.map(logLogPanel)),
  );
}
