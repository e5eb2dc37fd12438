// The contests as pictures: a heat map of ratios, and time against memory.

import { type HeatGroup, type HeatRow, heatPicture } from '../picture/heat.ts';
import { type ParetoPanel, paretoPicture } from '../picture/pareto.ts';
import type { ContestResult } from './compete.ts';
import type { Contests } from './contests.ts';
import { meanToBest, toBest } from './envelope.ts';
import { mallocsOf, oursOf } from './rows.ts';

const titles: Record<ContestResult['kind'], string> = {
  workload: 'Workloads',
  program: 'Real programs',
  command: 'The command',
};

/** The kinds that there are, with their contests. */
function groups({ contests }: Contests): { title: string; contests: ContestResult[] }[] {
  return (['workload', 'program', 'command'] as const)
    .map((kind) => ({
      title: titles[kind],
      contests: contests.filter((each) => each.kind === kind),
    }))
    .filter((group) => group.contests.length > 0);
}

/** CPU time or peak memory in every contest, against the best peer. */
export function contestHeat(all: Contests, quantity: 'cpu' | 'peak'): Promise<string> {
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
export function contestPareto(all: Contests): Promise<string> {
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
