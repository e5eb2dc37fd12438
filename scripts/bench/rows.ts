// The contests as tables: heads and rows of text, for a terminal as for a document.

import { variants } from '../malloc/mallocs.ts';
import type { ContestResult, Quantity } from './compete.ts';
import type { Contests } from './contests.ts';
import {
  best,
  type Mean,
  meanOf,
  meanToBest,
  meanToOther,
  remoteRatio,
  threadPairs,
  threadRatio,
  toBest,
} from './envelope.ts';
import { figure, withSpread } from './show.ts';
import type { Starts } from './start.ts';
import { EMPTY } from './start.ts';

export interface Rows {
  head: string[];
  rows: string[][];
}

/** Names of all mallocs, in the order in which they were given. */
export function mallocsOf({ contests }: Contests): string[] {
  return contests[0]?.standings.map(({ malloc }) => malloc) ?? [];
}

/** Our own variants by rung, whatever the order given; then files given by path. */
export function oursOf(contests: Contests): string[] {
  const rungs = ['', ...variants()];
  return mallocsOf(contests)
    .filter((name) => !contests.peers.all.includes(name))
    .sort((a, b) => rungs.indexOf(a) - rungs.indexOf(b));
}

const ofKind = (contests: readonly ContestResult[], kind: ContestResult['kind']) =>
  contests.filter((each) => each.kind === kind);

/** A number with its unit: `213 ms`, `1.20 s`; `2.3 MiB`; `1,204`. */
export function amount(value: number, quantity: Quantity): string {
  if (quantity === 'faults') return Math.round(value).toLocaleString('en');
  if (quantity === 'peak') {
    const mib = value / 2 ** 20;
    return mib < 1 ? `${Math.round(value / 1024)} KiB` : `${figure(mib)} MiB`;
  }
  if (value >= 1) return `${value.toFixed(2)} s`;
  return value >= 0.01 ? `${Math.round(value * 1000)} ms` : `${(value * 1000).toFixed(2)} ms`;
}

const cell = (ratio: number | undefined) =>
  ratio === undefined || Number.isNaN(ratio) ? '-' : figure(ratio);

/** One row per contest: its best peer with its figure, then every malloc against that peer. */
export function ratioRows(all: Contests, quantity: Quantity): Rows {
  const mallocs = mallocsOf(all);
  const peers = all.peers.all;
  const rows = all.contests.map((contest) => {
    const least = best(contest, peers, quantity);
    const cells = contest.standings.map(({ malloc, failed }) =>
      failed === undefined ? cell(toBest(contest, malloc, peers, quantity)) : 'failed',
    );
    const reference = least ? [least.malloc, amount(least.value, quantity)] : ['-', '-'];
    return [contest.name, ...reference, ...cells];
  });
  return {
    head: ['', 'best peer', '', ...mallocs],
    rows: [...rows, ...meanRows(all, quantity)],
  };
}

/** The last lines of such a table: geometric means. */
function meanRows(all: Contests, quantity: Quantity): string[][] {
  const [workloads, programs] = [ofKind(all.contests, 'workload'), ofKind(all.contests, 'program')];
  const groups = [
    { name: 'workloads', contests: workloads, shown: workloads.length > 1 },
    { name: 'programs', contests: programs, shown: programs.length > 1 },
    { name: 'all', contests: all.contests, shown: workloads.length > 0 && programs.length > 0 },
  ];
  return groups
    .filter(({ shown }) => shown)
    .map(({ name, contests }) => [
      `geomean, ${name}`,
      '',
      '',
      ...mallocsOf(all).map((malloc) =>
        cell(meanToBest(contests, malloc, all.peers.all, quantity).ratio),
      ),
    ]);
}

/** `1.04`, and `1.04 (54)` where some contests are missing. */
const mean = ({ ratio, contests }: Mean, all: number) =>
  `${cell(ratio)}${contests < all && contests > 0 ? ` (${contests})` : ''}`;

/** One row per malloc: geometric means of all contests against the best of `among` in each. */
export function summaryRows(all: Contests, among: readonly string[]): Rows {
  const { contests } = all;
  const rows = mallocsOf(all).map((malloc) => {
    const to = (quantity: Quantity, some = contests) => meanToBest(some, malloc, among, quantity);
    const [workloads, programs] = [ofKind(contests, 'workload'), ofKind(contests, 'program')];
    const { worst } = to('cpu');
    return [
      malloc,
      mean(to('cpu'), contests.length),
      cell(to('cpu', workloads).ratio),
      cell(to('cpu', programs).ratio),
      worst ? `${figure(worst.ratio)} ${worst.contest}` : '-',
      cell(to('wall').ratio),
      mean(to('peak'), contests.length),
      cell(to('peak', workloads).ratio),
      cell(to('peak', programs).ratio),
      cell(to('faults').ratio),
    ];
  });
  const head = ['', 'CPU', 'workloads', 'programs', 'worst CPU', 'wall'];
  return { head: [...head, 'peak', 'workloads', 'programs', 'faults'], rows };
}

/** One row per peer: `ours` against it, geometric means over what both finished. */
export function againstRows(all: Contests, ours: string): Rows {
  const rows = mallocsOf(all)
    .filter((name) => name !== ours)
    .map((name) => {
      const to = (quantity: Quantity) =>
        cell(meanToOther(all.contests, ours, name, quantity).ratio);
      const faster = all.contests.filter(
        (contest) => (toBest(contest, ours, [name], 'cpu') ?? Number.POSITIVE_INFINITY) < 1,
      ).length;
      return [
        name,
        to('cpu'),
        to('wall'),
        to('peak'),
        to('faults'),
        `${faster} of ${all.contests.length}`,
      ];
    });
  return { head: [`${ours} against`, 'CPU', 'wall', 'peak', 'faults', 'less CPU in'], rows };
}

/** CPU time of two threads for the work of one, where a contest has both. */
export function threadRows(all: Contests): Rows {
  const mallocs = mallocsOf(all);
  const pairs = threadPairs(all.contests);
  const rows = pairs.map((pair) => [
    pair.name,
    ...mallocs.map((malloc) => cell(threadRatio(pair, malloc))),
  ]);
  const means = mallocs.map((malloc) => {
    const ratios = pairs.map((pair) => ({ contest: pair.two, ratio: threadRatio(pair, malloc) }));
    const of = (contest: ContestResult) => ratios.find((each) => each.contest === contest)?.ratio;
    return cell(
      meanOf(
        pairs.map(({ two }) => two),
        of,
      ).ratio,
    );
  });
  const remote = mallocs.map((malloc) => cell(remoteRatio(all.contests, malloc)));
  const last = remote.some((text) => text !== '-')
    ? [['a pair in pipeline / in batch-fifo', ...remote]]
    : [];
  return { head: ['', ...mallocs], rows: [...rows, ['geomean', ...means], ...last] };
}

/** One row per malloc in one contest: all figures with their spread. */
export function detailRows(contest: ContestResult, peers: readonly string[]): Rows {
  const rows = contest.standings.map(({ malloc, cpu, wall, peak, faults, failed }) => {
    if (!cpu || !wall || !peak || !faults) return [malloc, failed ?? '-', '', '', '', ''];
    const spread = withSpread(cpu).replace(/^.*±/, '±');
    return [
      malloc,
      `${amount(cpu.median, 'cpu')} ${spread}`,
      cell(toBest(contest, malloc, peers, 'cpu')),
      amount(wall.median, 'wall'),
      amount(peak.median, 'peak'),
      cell(toBest(contest, malloc, peers, 'peak')),
      amount(faults.median, 'faults'),
    ];
  });
  const head = [contest.name, 'CPU', '/ best', 'wall', 'peak', '/ best', 'faults'];
  return { head, rows };
}

/** The start of a process, against the empty library and (memory) against glibc. */
export function startRows({ starts }: Starts): Rows {
  const empty = starts.find(({ malloc }) => malloc === EMPTY);
  const glibc = starts.find(({ malloc }) => malloc === 'glibc');
  const more = (value: number | undefined, base: number | undefined, unit = 1) => {
    if (value === undefined || base === undefined) return '-';
    const difference = Math.round((value - base) / unit);
    return difference > 0 ? `+${difference.toLocaleString('en')}` : String(difference);
  };
  const rows = starts.map((each) => {
    if (each.failed !== undefined) return [each.malloc, each.failed, '', '', '', '', ''];
    const { cpu, overEmpty, calls, faults, resident } = each;
    return [
      each.malloc,
      cpu ? `${Math.round(cpu.median * 1e6)} µs` : '-',
      overEmpty ? overEmpty.median.toFixed(2) : '-',
      more(calls, empty?.calls),
      more(faults?.median, empty?.faults?.median),
      resident === undefined ? '-' : `${Math.round(resident / 1024).toLocaleString('en')} KiB`,
      more(resident, glibc?.resident, 1024),
    ];
  });
  const head = ['', 'CPU', '/ empty', 'system calls', 'page faults', 'memory', 'KiB over glibc'];
  return { head, rows };
}
