// The targets of our fastest variant, and whether it meets them.

import { geomean } from '../lib/stats.ts';
import type { Contests } from './contests.ts';
import { meanToBest, remoteRatio, threadPairs, threadRatio } from './envelope.ts';
import type { BenchResult } from './result.ts';
import { oursOf } from './rows.ts';
import { figure } from './show.ts';
import { EMPTY, type Starts } from './start.ts';

export interface Target {
  promise: string;
  /** What was found, in words. */
  found: string;
  met: boolean;
}

/** The malloc that the targets apply to: the last of our variants that was measured. */
export function champion({ contests }: BenchResult): string | undefined {
  return contests && oursOf(contests).at(-1);
}

function target(promise: string, value: number | undefined, most: number, unit = ''): Target[] {
  if (value === undefined || Number.isNaN(value)) return [];
  const text = Number.isInteger(value) ? String(value) : figure(value);
  return [{ promise, found: `${text}${unit}`, met: value <= most }];
}

/** The lowest geometric mean among the peers that count. */
function leader(all: Contests, quantity: 'cpu' | 'peak', but: string[]) {
  return all.peers.all
    .filter((name) => !but.includes(name))
    .map((name) => ({ name, ...meanToBest(all.contests, name, all.peers.all, quantity) }))
    .filter(({ ratio }) => !Number.isNaN(ratio))
    .sort((a, b) => a.ratio - b.ratio)[0];
}

/** Is the mean ratio lower than that of the best other malloc? */
function lower(promise: string, own: number, first: ReturnType<typeof leader>): Target[] {
  if (first === undefined) return [];
  const found = `${figure(own)}; ${first.name} ${figure(first.ratio)}`;
  return [{ promise, found, met: own < first.ratio }];
}

function cpuTargets(all: Contests, ours: string): Target[] {
  const own = meanToBest(all.contests, ours, all.peers.all, 'cpu');
  const above = all.contests.length > 0 && own.worst;
  return [
    ...lower('CPU: geomean lower than that of every peer', own.ratio, leader(all, 'cpu', [])),
    ...target('CPU: at most 1.08 of the best peer in each, taken together', own.ratio, 1.08),
    ...target(
      'the same against the best of Debian’s peers',
      meanToBest(all.contests, ours, all.peers.debian, 'cpu').ratio,
      1.08,
    ),
    ...(above
      ? [
          {
            promise: 'CPU: nowhere above 1.15 of the best peer',
            found: `${figure(above.ratio)} in ${above.contest}`,
            met: above.ratio <= 1.15,
          },
        ]
      : []),
  ];
}

function peakTargets(all: Contests, ours: string): Target[] {
  const own = meanToBest(all.contests, ours, all.peers.all, 'peak');
  const toGlibc = meanToBest(all.contests, ours, ['glibc'], 'peak').ratio;
  return [
    ...lower(
      'peak memory: geomean lower than that of every peer but glibc',
      own.ratio,
      leader(all, 'peak', ['glibc']),
    ),
    ...target('peak memory: within 8 % of glibc', toGlibc, 1.08),
  ];
}

function startTargets({ starts }: Starts, ours: string): Target[] {
  const of = (name: string) => starts.find(({ malloc }) => malloc === name);
  const [own, empty, glibc] = [of(ours), of(EMPTY), of('glibc')];
  const more = (value?: number, base?: number, unit = 1) =>
    value === undefined || base === undefined ? undefined : Math.round((value - base) / unit);
  const faults = more(own?.faults?.median, empty?.faults?.median);
  return [
    ...target('start: CPU at most 1.05 of an empty library', own?.overEmpty?.median, 1.05),
    ...target('start: at most 12 system calls more than it', more(own?.calls, empty?.calls), 12),
    ...target('start: at most 20 page faults more than it', faults, 20),
    ...target(
      'start: at most 300 KiB more memory than glibc',
      more(own?.resident, glibc?.resident, 1024),
      300,
      ' KiB',
    ),
  ];
}

/** Contests whose threads share nothing; those of sessions exchange their blocks. */
const local = (pair: { name: string }) => pair.name !== 'sessions';

function threadTargets(all: Contests, ours: string): Target[] {
  const ratios = threadPairs(all.contests)
    .filter(local)
    .flatMap((pair) => threadRatio(pair, ours) ?? []);
  return [
    ...target('threads: CPU of two at most 1.05 of one, for local work', geomean(ratios), 1.05),
    ...target(
      'producer and consumer: a pair within 1.3 of a local one',
      remoteRatio(all.contests, ours),
      1.3,
    ),
  ];
}

/** Every target that this result says something about. */
export function targets(result: BenchResult): Target[] {
  const ours = champion(result);
  const { contests, start, pairs } = result;
  if (ours === undefined || contests === undefined) return [];
  const instructions = pairs?.pairs.find(({ malloc }) => malloc === ours)?.instructions?.worst;
  return [
    ...cpuTargets(contests, ours),
    ...peakTargets(contests, ours),
    ...(start ? startTargets(start, ours) : []),
    ...target('instructions: at most 42 for a pair', instructions, 42),
    ...threadTargets(contests, ours),
  ];
}
