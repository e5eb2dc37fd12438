// The contests as pictures: a bar for each malloc in each of them, and time against memory.

import { type BarGroup, barPicture } from '../picture/bars.ts';
import { type ParetoPanel, paretoPicture } from '../picture/pareto.ts';
import type { ContestResult } from './compete.ts';
import type { Contests } from './contests.ts';
import { meanToBest, toBest } from './envelope.ts';
import { mallocsOf } from './rows.ts';

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

/** Bars of CPU time or of peak memory, against the best peer. */
export function contestBars(all: Contests, quantity: 'cpu' | 'peak'): Promise<string> {
  const bars = (contest: ContestResult) =>
    contest.standings.map(({ malloc }) => ({
      name: malloc,
      ratio: toBest(contest, malloc, all.peers.all, quantity),
    }));
  const drawn: BarGroup[] = groups(all).map(({ title, contests }) => ({
    title,
    cells: contests.map((contest) => ({ name: contest.name, bars: bars(contest) })),
  }));
  const title = { cpu: 'CPU time, all threads', peak: 'Peak memory' }[quantity];
  return barPicture(title, drawn, mallocsOf(all));
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
