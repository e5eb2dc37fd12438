// What was measured, as pictures: contests as a heat map and as time against memory, curves, pairs.

import { dotPicture } from '../picture/dots.ts';
import { type Figure, stack, svgOf } from '../picture/figure.ts';
import { type HeatGroup, type HeatRow, heatPicture } from '../picture/heat.ts';
import { linePicture } from '../picture/lines.ts';
import { type ParetoPanel, paretoPicture } from '../picture/pareto.ts';
import type { Panel } from '../picture/scale.ts';
import type { ContestResult } from './compete.ts';
import type { Contests } from './contests.ts';
import type { Curve, CurvePoint } from './curve.ts';
import { meanToBest, toBest } from './envelope.ts';
import { lifePicture } from './life-pictures.ts';
import type { Pairs } from './pairs.ts';
import type { BenchResult } from './result.ts';
import { mallocsOf, oursOf } from './rows.ts';

const titles: Record<ContestResult['kind'], string> = {
  workload: 'Workloads',
  program: 'Real programs',
  command: 'The command',
};

/** The kinds of contests in the result, with their contests. */
function groups({ contests }: Contests): { title: string; contests: ContestResult[] }[] {
  return (['workload', 'program', 'command'] as const)
    .map((kind) => ({
      title: titles[kind],
      contests: contests.filter((each) => each.kind === kind),
    }))
    .filter((group) => group.contests.length > 0);
}

/** CPU time or peak memory in every contest, against the best peer. */
export function contestHeat(all: Contests, quantity: 'cpu' | 'peak'): Figure {
  const names = mallocsOf(all);
  const peers = all.peers.all;
  const drawn: HeatGroup[] = groups(all).map(({ title, contests }) => ({
    title,
    rows: [
      ...contests.map((contest) => ({
        name: contest.name,
        ratios: names.map((name) => toBest(contest, name, peers, quantity)),
      })),
      ...(contests.length > 1 ? [meanRow(contests, names, peers, quantity)] : []),
    ],
  }));
  const title = { cpu: 'CPU time, all threads', peak: 'Peak memory' }[quantity];
  return heatPicture(title, drawn, names, oursOf(all));
}

function meanRow(
  contests: readonly ContestResult[],
  names: readonly string[],
  peers: readonly string[],
  quantity: 'cpu' | 'peak',
): HeatRow {
  const ratios = names.map((name) => {
    const { ratio } = meanToBest(contests, name, peers, quantity);
    return Number.isNaN(ratio) ? undefined : ratio;
  });
  return { name: 'geometric mean', ratios, mean: true };
}

/** Time against memory: geometric means of the ratios to the best peer. */
export function contestPareto(all: Contests): Figure {
  const panels: ParetoPanel[] = groups(all).map(({ title, contests }) => ({
    title,
    x: 'CPU time, best peer is 1',
    y: 'peak memory, best peer is 1',
    places: mallocsOf(all)
      .map((name) => ({
        name,
        x: meanToBest(contests, name, all.peers.all, 'cpu').ratio,
        y: meanToBest(contests, name, all.peers.all, 'peak').ratio,
      }))
      .filter(({ x, y }) => !Number.isNaN(x) && !Number.isNaN(y)),
  }));
  return paretoPicture(panels);
}

/** The curve as a picture: CPU, and beside it instructions where they were counted. */
export function curvePicture(curves: readonly Curve[]): Figure {
  const panel = (title: string, value: (point: CurvePoint) => number | undefined): Panel => ({
    title,
    x: 'live blocks',
    series: curves
      .map(({ malloc, points }) => ({
        name: malloc,
        points: points.flatMap((point) => {
          const at = value(point);
          return at ? [{ x: point.live, y: at }] : [];
        }),
      }))
      .filter(({ points }) => points.length > 0),
  });
  const panels = [
    panel('CPU per call, ns', (point) => point.nanoseconds.median),
    panel('Instructions per call', (point) => point.instructions),
  ];
  return linePicture(panels.filter(({ series }) => series.length > 0));
}

/** The pairs as dots: worst count of instructions, and CPU against glibc's. */
export function pairsPicture(pairs: readonly Pairs[]): Figure {
  const panel = (title: string, x: string, value: (each: Pairs) => number | undefined): Panel => ({
    title,
    x,
    series: pairs.flatMap((each) => {
      const at = value(each);
      return at ? [{ name: each.malloc, points: [{ x: at, y: 0 }] }] : [];
    }),
  });
  const panels = [
    panel('Instructions per pair', 'worst of tight, lifo, random', (p) => p.instructions?.worst),
    panel('CPU per pair', 'glibc is 1', (p) => p.ratio?.median),
  ];
  return dotPicture(panels.filter(({ series }) => series.length > 0));
}

/** All pictures of a result, one below the other, as an SVG document. */
export function draw({ contests, curve, pairs, life }: BenchResult): string {
  const drawn = contests && contests.contests.length > 0;
  const pictures = [
    ...(drawn ? [contestPareto(contests), contestHeat(contests, 'cpu')] : []),
    ...(drawn ? [contestHeat(contests, 'peak')] : []),
    ...(curve ? [curvePicture(curve.curves)] : []),
    ...(pairs ? [pairsPicture(pairs.pairs)] : []),
    ...(life ? lifePicture(life) : []),
  ];
  return svgOf(stack('libmalloc bench', pictures));
}
