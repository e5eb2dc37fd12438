// Time against memory: one dot for each malloc, and a line through those that no other beats in both.

import * as Plot from '@observablehq/plot';
import { chart, type Figure, row } from './figure.ts';
import { colorScale, pale } from './hues.ts';
import { centred } from './scale.ts';

export interface Place {
  name: string;
  x: number;
  y: number;
}

export interface ParetoPanel {
  title: string;
  x: string;
  y: string;
  places: Place[];
}

const INNER = { width: 402, height: 330 };
const MARGIN = { top: 44, right: 20, bottom: 46, left: 58 };
const LETTER = { width: 7.2, height: 14 };
const DOT = 7;

/**
 * The Pareto front: the places for which no other is at least as good in both and better in one,
 * from left to right.
 */
export function front(places: readonly Place[]): Place[] {
  const beaten = (a: Place) =>
    places.some((b) => b.x <= a.x && b.y <= a.y && (b.x < a.x || b.y < a.y));
  return places.filter((each) => !beaten(each)).sort((a, b) => a.x - b.x || a.y - b.y);
}

/** The front as a staircase: places above it or to its right are beaten. */
function stairs(places: readonly Place[], most: { x: number; y: number }) {
  const corners = front(places).flatMap((at, i, all) => {
    const before = all[i - 1];
    return [{ x: at.x, y: before?.y ?? most.y }, at];
  });
  const last = corners.at(-1);
  return last === undefined ? [] : [...corners, { x: most.x, y: last.y }];
}

interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

const overlap = (a: Box, b: Box) =>
  a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/**
 * Positions of a label around its dot, best first: anchor and offset of its middle. The staircase runs
 * from a dot upwards and to the right, so the corner between the two is free.
 */
const sides = [
  { anchor: 'start', dx: DOT, dy: -DOT - 6 },
  { anchor: 'start', dx: DOT + 4, dy: 0 },
  { anchor: 'end', dx: -DOT - 4, dy: 0 },
  { anchor: 'middle', dx: 0, dy: -DOT - 9 },
  { anchor: 'middle', dx: 0, dy: DOT + 9 },
  { anchor: 'start', dx: DOT, dy: DOT + 6 },
  { anchor: 'end', dx: -DOT, dy: -DOT - 6 },
  { anchor: 'end', dx: -DOT, dy: DOT + 6 },
] as const;

type Side = (typeof sides)[number];

function labelBox(name: string, at: { x: number; y: number }, { anchor, dx, dy }: Side): Box {
  const width = name.length * LETTER.width;
  const share = { start: 0, middle: 0.5, end: 1 }[anchor];
  const left = at.x + dx - width * share;
  const middle = at.y + dy;
  const half = LETTER.height / 2;
  return { left, right: left + width, top: middle - half, bottom: middle + half };
}

/** For each dot (in pixels) the first side on which its name covers no dot and no other name. */
export function labelSides(dots: readonly Place[], inside: Box): Side[] {
  const taken: Box[] = dots.map(({ x, y }) => {
    return { left: x - DOT, right: x + DOT, top: y - DOT, bottom: y + DOT };
  });
  return dots.map((dot) => {
    const free = sides.find((side) => {
      const box = labelBox(dot.name, dot, side);
      const within = box.left >= inside.left && box.right <= inside.right;
      const upright = box.top >= inside.top && box.bottom <= inside.bottom;
      return within && upright && !taken.some((other) => overlap(box, other));
    });
    const side = free ?? sides[0];
    taken.push(labelBox(dot.name, dot, side));
    return side;
  });
}

/** From 1 (no peer is better) or less, to a little more than the largest. */
function domain(values: number[]): [number, number] {
  const [least, most] = [Math.min(1, ...values), Math.max(1.05, ...values)];
  const room = (most - least) * 0.08;
  return [least - room, most + room];
}

function paretoPanel(panel: ParetoPanel): Figure {
  const { places } = panel;
  const names = places.map(({ name }) => name);
  const [xs, ys] = [domain(places.map(({ x }) => x)), domain(places.map(({ y }) => y))];
  const frame = {
    left: MARGIN.left,
    right: MARGIN.left + INNER.width,
    top: MARGIN.top,
    bottom: MARGIN.top + INNER.height,
  };
  const toX = (x: number) => frame.left + ((x - xs[0]) / (xs[1] - xs[0])) * INNER.width;
  const toY = (y: number) => frame.bottom - ((y - ys[0]) / (ys[1] - ys[0])) * INNER.height;
  const dots = places.map(({ name, x, y }) => ({ name, x: toX(x), y: toY(y) }));
  const labels = labelSides(dots, frame);
  return chart(panel.title, INNER, MARGIN, {
    x: { domain: xs, label: panel.x, grid: true, ticks: 6, ...centred },
    y: { domain: ys, label: panel.y, grid: true, ticks: 6, ...centred },
    color: colorScale(names),
    marks: [
      Plot.line(stairs(places, { x: xs[1], y: ys[1] }), {
        x: 'x',
        y: 'y',
        stroke: pale,
        strokeDasharray: '4,3',
      }),
      Plot.text(['↙ better'], {
        frameAnchor: 'bottom-left',
        dx: 6,
        dy: -6,
        fill: pale,
        fontStyle: 'italic',
      }),
      Plot.dot(places, { x: 'x', y: 'y', fill: 'name', r: DOT - 1, stroke: 'white' }),
      ...places.map((place, i) => {
        const { anchor, dx, dy } = labels[i] ?? sides[0];
        return Plot.text([place], {
          x: 'x',
          y: 'y',
          text: 'name',
          fill: 'name',
          stroke: 'white',
          strokeWidth: 4,
          fontWeight: 600,
          textAnchor: anchor,
          dx,
          dy,
        });
      }),
    ],
  });
}

/** Panels side by side. */
export function paretoPicture(panels: ParetoPanel[]): Figure {
  return row(
    panels.map(({ title }) => title),
    panels.map(paretoPanel),
  );
}
