// Lines, each named at its end: over logarithmic axes, or over linear ones that begin at zero.

import * as Plot from '@observablehq/plot';
import { chart, type Figure, grouped, row } from './figure.ts';
import { colorScale } from './hues.ts';
import { centred, extent, type Panel, type Series, spreadOut, ticks } from './scale.ts';

const INNER = { width: 426, height: 316 };
const MARGIN = { top: 40, right: 78, bottom: 44, left: 56 };
const LABEL_HEIGHT = 13;

/** A vertical axis: from data to pixels above its lower end, and back. */
interface Axis {
  place(y: number): number;
  value(place: number): number;
}

function axis([low, high]: [number, number], linear: boolean): Axis {
  const scale = INNER.height / (linear ? high - low : Math.log(high / low));
  return linear
    ? { place: (y) => (y - low) * scale, value: (place) => low + place / scale }
    : {
        place: (y) => Math.log(y / low) * scale,
        value: (place) => low * Math.exp(place / scale),
      };
}

/** The position of each line's name, in data units: at its last point, moved apart from other names. */
function labels(series: Series[], { place, value }: Axis) {
  const last = series.flatMap(({ name, points }) => {
    const end = points.at(-1);
    return end === undefined ? [] : [{ name, ...end }];
  });
  const places = spreadOut(
    last.map(({ y }) => place(y)),
    LABEL_HEIGHT,
  );
  return last.map((end, i) => ({ ...end, y: value(places[i] ?? 0) }));
}

/** The ends of both axes. */
function domains(data: { x: number; y: number }[], linear: boolean) {
  const xs = extent(data.map(({ x }) => x));
  const [least, most] = extent(data.map(({ y }) => y));
  const [below, above]: [number, number] = [least / 1.3, most * 1.3];
  return linear
    ? { xs: [0, xs[1]] as [number, number], ys: [0, most * 1.05] as [number, number] }
    : { xs, ys: [below, above] as [number, number] };
}

/** Ticks are chosen by hand on logarithmic axes, by Plot on linear ones. */
const marked = (linear: boolean, [low, high]: [number, number]) =>
  linear ? { ticks: 6 } : { ticks: ticks(low, high) };

/** Lines over two axes of a kind, each named at its end. */
function linePanel(panel: Panel): Figure {
  const names = panel.series.map(({ name }) => name);
  const data = panel.series.flatMap(({ name, points }) => points.map((at) => ({ name, ...at })));
  const linear = panel.linear ?? false;
  const type = linear ? 'linear' : 'log';
  const { xs, ys } = domains(data, linear);
  return chart(panel.title, INNER, MARGIN, {
    x: { type, domain: xs },
    y: { type, domain: ys },
    color: colorScale(names),
    marks: [
      Plot.gridX(marked(linear, xs)),
      Plot.gridY(marked(linear, ys)),
      Plot.axisX({ ...marked(linear, xs), tickFormat: grouped, label: panel.x, ...centred }),
      Plot.axisY({ ...marked(linear, ys), tickFormat: grouped, label: null }),
      Plot.lineY(data, { x: 'x', y: 'y', z: 'name', stroke: 'name', strokeWidth: 2 }),
      Plot.dot(linear ? [] : data, { x: 'x', y: 'y', fill: 'name', r: 3 }),
      Plot.text(labels(panel.series, axis(ys, linear)), {
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
}

/** Line pictures side by side. */
export function linePicture(panels: Panel[]): Figure {
  return row(
    panels.map(({ title }) => title),
    panels.map(linePanel),
  );
}
