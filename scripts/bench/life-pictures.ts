// `bench life` as pictures: a bar for each malloc and figure, and memory over time.

import { barPicture, type Cell } from '../picture/bars.ts';
import type { Figure } from '../picture/figure.ts';
import { linePicture } from '../picture/lines.ts';
import type { Life, ScenarioResult } from './life.ts';
import { type LifeRow, lifeRatio, lifeRows } from './life-ratios.ts';
import { figureTitle, livesOf } from './life-tables.ts';

function cell(life: Life, row: LifeRow): Cell {
  const { scenario, kind } = row;
  const bars = livesOf(life).map((name) => ({
    name,
    ratio: lifeRatio(scenario, name, life.peers, kind),
  }));
  return { name: figureTitle(row), bars };
}

/** Bars of all figures of memory, or of latency, against the best peer of each. */
export function lifeBars(life: Life, latency: boolean): Figure {
  const title = latency ? 'Time of a single call' : 'Memory over a long life';
  const cells = lifeRows(life, latency).map((row) => cell(life, row));
  return barPicture(title, [{ title: 'Scenarios', cells }], livesOf(life));
}

/** The scenarios in which memory was watched over time. */
function tracked({ scenarios }: Life): ScenarioResult[] {
  return scenarios.filter(({ lives }) => lives.some(({ track }) => track !== undefined));
}

/** Resident over live bytes, minute by minute. */
export function lifeTracks(life: Life): Figure {
  const panels = tracked(life).map(({ name, lives }) => ({
    title: `${name.replace(/^life-/, '')}: resident / live bytes`,
    x: 'minutes',
    linear: true as const,
    series: lives.flatMap(({ malloc, track }) =>
      track === undefined ? [] : [{ name: malloc, points: track.map((y, i) => ({ x: i + 1, y })) }],
    ),
  }));
  return linePicture(panels);
}

/** All pictures of it; those without data are left out. */
export function lifePicture(life: Life): Figure[] {
  const some = (latency: boolean) => lifeRows(life, latency).length > 0;
  return [
    ...(some(false) ? [lifeBars(life, false)] : []),
    ...(some(true) ? [lifeBars(life, true)] : []),
    ...(tracked(life).length > 0 ? [lifeTracks(life)] : []),
  ];
}
