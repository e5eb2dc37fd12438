// The choice from the catalogue, the handling of runs, and the tables. Nothing is run or timed here.

import { describe, expect, test } from 'vitest';
import { choose, readCatalog } from '../../scripts/bench/catalog.ts';
import { type ContestResult, compete, type Referee } from '../../scripts/bench/compete.ts';
import type { Contest } from '../../scripts/bench/contest.ts';
import { type Contests, peersAmong, planContests } from '../../scripts/bench/contests.ts';
import {
  best,
  failures,
  meanToBest,
  meanToOther,
  remoteRatio,
  threadPairs,
  threadRatio,
  toBest,
} from '../../scripts/bench/envelope.ts';
import { planBench } from '../../scripts/bench/index.ts';
import type { Run } from '../../scripts/bench/measured.ts';
import { contestHeat, contestPareto } from '../../scripts/bench/pictures.ts';
import { describe as report } from '../../scripts/bench/report.ts';
import type { BenchResult } from '../../scripts/bench/result.ts';
import { amount, ratioRows, summaryRows } from '../../scripts/bench/rows.ts';
import { selectMallocs } from '../../scripts/bench/select.ts';
import { targets } from '../../scripts/bench/targets.ts';
import { summarize } from '../../scripts/lib/stats.ts';
import type { Malloc } from '../../scripts/malloc/mallocs.ts';
import { legend, svgOf } from '../../scripts/picture/figure.ts';
import { colorOfRatio } from '../../scripts/picture/heat.ts';
import { front, labelSides } from '../../scripts/picture/pareto.ts';
import { attributesIn } from '../lib/svg.ts';

const catalog = readCatalog();
const names = (entries: { name: string }[]) => entries.map(({ name }) => name);

describe('the choice of what to measure', () => {
  test('without a name it is everything but the curve and long lives', () => {
    const measurements = ['start', 'pairs'];
    expect(planBench([])).toEqual({ ...catalog, scenarios: [], measurements });
  });

  test('a name stands for itself, or for all names that begin with it', () => {
    expect(names(choose(['tight-16'], catalog).workloads)).toEqual(['tight-16']);
    const tight = names(choose(['tight'], catalog).workloads);
    expect(tight).toContain('tight-16k');
    expect(tight.every((name) => name.startsWith('tight-'))).toBe(true);
    expect(choose(['tight', 'gcc', 'pairs'], catalog)).toMatchObject({
      programs: [{ name: 'gcc' }],
      measurements: ['pairs'],
    });
  });

  test('`workloads` and `programs` stand for all of their kind', () => {
    expect(choose(['programs'], catalog)).toEqual({
      workloads: [],
      programs: catalog.programs,
      scenarios: [],
      measurements: [],
    });
    expect(choose(['workloads'], catalog).workloads).toEqual(catalog.workloads);
  });

  test('an unknown name is refused, and the known ones are listed', () => {
    for (const name of ['curves', 'tigh', ''])
      expect(() => planBench([name])).toThrow(/unknown workload: (curves|tigh|\(empty\))/);
    try {
      planBench(['curves']);
    } catch (error) {
      expect((error as { hint: string }).hint).toMatch(/start, pairs, curve, tight-16, .*redis/);
    }
  });

  test('a command is measured alone; an empty one, or one beside names, is refused', () => {
    expect(planBench([], ['ls', '-l']).command).toEqual(['ls', '-l']);
    expect(() => planBench([], [])).toThrow('no command after --');
    expect(() => planBench(['tight'], ['ls'])).toThrow('both a workload and a command: tight, ls');
  });

  test('dumb and list are left out of hard work, with a note; if named, they are measured', () => {
    const { mallocs, notRun } = selectMallocs([], { hard: true });
    expect(names(mallocs)).not.toContain('list');
    expect(notRun.map(({ malloc }) => malloc)).toEqual(expect.arrayContaining(['dumb', 'list']));
    expect(names(selectMallocs(['list'], { hard: true }).mallocs)).toEqual(['list', 'glibc']);
    expect(names(selectMallocs([]).mallocs)).toContain('dumb');
  });

  test('two mallocs with the same name are refused', () => {
    expect(() => selectMallocs(['paged', 'paged'])).toThrow('two mallocs are called paged');
  });

  test('--quick reduces every amount', () => {
    expect(planContests({ quick: true }).amount).toBe('quick');
    expect(planContests({ quick: true, runs: 9 }).runs).toBe(9);
    expect(planContests({}).amount).toBe('full');
  });
});

const glibc: Malloc = { name: 'glibc', kind: 'glibc', file: undefined };
const mine: Malloc = { name: 'mine', kind: 'variant', file: '/mine.so' };
const theirs: Malloc = { name: 'theirs', kind: 'peer', file: '/theirs.so' };
const all = [mine, glibc, theirs];
const contest: Contest = { name: 'c', kind: 'workload', argv: () => ['/c'], env: {} };
const plan = { runs: 3, amount: 'quick', timeout: 1 } as const;
const run: Run = { cpu: 1, wall: 2, peak: 3, faults: 4, status: 0, digest: 'd' };

/** Plays without running anything: `measure` gives the result of a run. */
function played(measure: (malloc: string) => Run | string, kind: Contest['kind'] = 'workload') {
  const order: string[] = [];
  const by: Referee = {
    prove: async () => undefined,
    measure: async ({ name }) => {
      order.push(name);
      return measure(name);
    },
    watch: () => {},
  };
  return { order, result: compete({ ...contest, kind }, all, plan, by) };
}

const failed = ({ standings }: ContestResult) =>
  Object.fromEntries(standings.map(({ malloc, failed: why }) => [malloc, why]));

describe('a contest', () => {
  test('every round runs every malloc, and no round repeats an order', async () => {
    const { order, result } = played(() => run);
    await result;
    expect(order.join(' ')).toBe('mine glibc theirs theirs glibc mine glibc theirs mine');
  });

  test('the figure of a malloc is the median of its runs', async () => {
    let count = 0;
    const { standings } = await played(() => ({ ...run, cpu: ++count })).result;
    expect(standings[0]).toMatchObject({ malloc: 'mine', cpu: { median: 6, runs: 3 } });
    expect(standings[0]?.peak?.median).toBe(3);
    expect(standings[0]).not.toHaveProperty('failed');
  });

  test('a malloc that fails is out, with the reason and no figures; the others go on', async () => {
    const { order, result } = played((name) => (name === 'mine' ? 'killed by SIGSEGV' : run));
    const { standings } = await result;
    expect(standings[0]).toEqual({ malloc: 'mine', failed: 'killed by SIGSEGV in run 1 of 3' });
    expect(order.filter((name) => name === 'mine')).toHaveLength(1);
    expect(standings[2]?.cpu?.runs).toBe(3);
  });

  test('output that differs from that under glibc is a failure', async () => {
    const other = { ...run, digest: 'e' };
    const found = await played((name) => (name === 'theirs' ? other : run)).result;
    expect(failed(found)).toEqual({ theirs: 'its output is not that under glibc' });
  });

  test('an output that varies under glibc itself is not compared, and the result says so', async () => {
    let count = 0;
    const found = await played(() => ({ ...run, digest: String(count++) })).result;
    expect(failed(found)).toEqual({});
    expect(found.note).toBe('its output varies from run to run, and was not compared');
  });

  test('a command may end with any status, if it is the same under glibc', async () => {
    const three = { ...run, status: 3, said: 'no' };
    expect(failed(await played(() => three, 'command').result)).toEqual({});
    const found = await played((name) => (name === 'mine' ? three : run), 'command').result;
    expect(failed(found)).toEqual({ mine: 'status 3: no' });
  });

  test('a malloc that was not in use has no figures', async () => {
    const prove = async ({ name }: Malloc) => (name === 'mine' ? 'not in use' : undefined);
    const by: Referee = { prove, measure: async () => run, watch: () => {} };
    expect(failed(await compete(contest, all, plan, by))).toEqual({ mine: 'not in use' });
  });

  test('without a run under glibc the output is not checked, and the result says so', async () => {
    const { note } = await played((name) => (name === 'glibc' ? 'killed by SIGABRT' : run)).result;
    expect(note).toMatch(/nothing to compare/);
  });
});

/** A contest in which `cpu` took so many seconds and `peak` so many bytes. */
function result(
  name: string,
  cpu: Record<string, number | undefined>,
  kind: Contest['kind'] = 'workload',
): ContestResult {
  const standings = Object.entries(cpu).map(([malloc, seconds]) => {
    if (seconds === undefined) return { malloc, failed: 'killed by SIGSEGV' };
    const value = summarize([seconds]);
    return { malloc, cpu: value, wall: value, peak: value, faults: value };
  });
  return { name, kind, standings };
}

const a = result('a', { mine: 1, glibc: 4, theirs: 2 });
const a2 = result('a-2t', { mine: 1.5, glibc: 4, theirs: 8 });
const b = result('b', { mine: 4, glibc: 1, theirs: undefined });
const c = result('c', { mine: 1, glibc: 1, theirs: 1 }, 'program');
const contests: Contests = {
  plan,
  peers: peersAmong(all),
  contests: [a, a2, b, c],
  absent: [{ name: 'z', reason: 'needs z: apt-get install z' }],
};
const peers = contests.peers.all;

describe('ratios', () => {
  test('the best peer is never one of our own variants', () => {
    expect(contests.peers).toEqual({ debian: ['glibc', 'theirs'], all: ['glibc', 'theirs'] });
    expect(best(a, peers, 'cpu')).toEqual({ malloc: 'theirs', value: 2 });
    expect(toBest(a, 'mine', peers, 'cpu')).toBe(0.5);
    expect(toBest(a, 'theirs', peers, 'cpu')).toBe(1);
  });

  test('a file given by path is a peer, but not one of Debian’s', () => {
    const file: Malloc = { name: 'new', kind: 'file', file: '/new.so' };
    expect(peersAmong([...all, file])).toEqual({
      debian: ['glibc', 'theirs'],
      all: ['glibc', 'theirs', 'new'],
    });
  });

  test('a mean covers the contests that both finished, and counts them', () => {
    expect(meanToBest([a, b], 'mine', peers, 'cpu')).toEqual({
      ratio: expect.closeTo(Math.sqrt(0.5 * 4)),
      contests: 2,
      worst: { contest: 'b', ratio: 4 },
    });
    expect(meanToOther([a, b], 'mine', 'theirs', 'cpu')).toMatchObject({ ratio: 0.5, contests: 1 });
    expect(meanToBest([b], 'theirs', peers, 'cpu').ratio).toBeNaN();
  });

  test('failures are listed by contest', () => {
    const reason = 'killed by SIGSEGV';
    expect(failures(contests.contests)).toEqual([{ contest: 'b', malloc: 'theirs', reason }]);
  });

  test('two threads are compared with one where a contest has both', () => {
    const [pair] = threadPairs(contests.contests);
    expect(pair?.name).toBe('a');
    expect(pair && threadRatio(pair, 'mine')).toBe(1.5);
  });

  test('a pair between threads is compared with a local one, although there are fewer of them', () => {
    const both = [result('pipeline', { mine: 12.288 }), result('batch-fifo', { mine: 12 })];
    expect(remoteRatio(both, 'mine')).toBeCloseTo(2);
    expect(remoteRatio(both, 'theirs')).toBeUndefined();
  });

  test('tables have a row for each contest and the means, and failures stay visible', () => {
    const { head, rows } = ratioRows(contests, 'cpu');
    expect(head).toEqual(['', 'best peer', '', 'mine', 'glibc', 'theirs']);
    expect(rows[2]).toEqual(['b', 'glibc', '1.00 s', '4.00', '1.00', 'failed']);
    expect(rows.at(-1)?.[0]).toBe('geomean, all');
    expect(summaryRows(contests, peers).rows[2]?.[1]).toMatch(/\(3\)$/);
  });

  test('amounts carry their unit', () => {
    expect(amount(0.2134, 'cpu')).toBe('213 ms');
    expect(amount(2, 'wall')).toBe('2.00 s');
    expect(amount(1536 * 1024, 'peak')).toBe('1.50 MiB');
    expect(amount(1234, 'faults')).toBe('1,234');
  });
});

const measured: BenchResult = {
  provenance: {
    date: '2026-01-01',
    cpu: 'CPU',
    cores: 2,
    memoryBytes: 2 ** 30,
    kernel: '6',
    hugePages: 'never',
    compiler: 'cc',
    mallocs: { mine: '1' },
  },
  notRun: [{ malloc: 'scudo', reason: 'scudo is not installed: apt-get install x' }],
  contests,
};

describe('the report', () => {
  test('names what failed and what was not run, and says how to install it', () => {
    const text = report(measured);
    expect(text).toContain('failed: theirs in b: killed by SIGSEGV');
    expect(text).toContain('not run: z: needs z: apt-get install z');
    expect(text).toContain('not run: scudo: scudo is not installed: apt-get install x');
    expect(text).not.toContain('NaN');
  });

  test('whether targets are met follows from the figures', () => {
    const found = targets(measured);
    const of = (start: string) => found.find(({ promise }) => promise.startsWith(start));
    expect(of('CPU: nowhere above')).toMatchObject({ met: false, found: '4.00 in b' });
    expect(of('threads')).toMatchObject({ met: false, found: '1.50' });
    expect(of('CPU: geomean lower')?.found).toMatch(/glibc/);
    const good = {
      ...contests,
      contests: [result('a', { mine: 1, glibc: 1.2, theirs: 1.1 }), c],
    };
    expect(targets({ ...measured, contests: good }).every(({ met }) => met)).toBe(true);
  });
});

describe('pictures', () => {
  test('heat map: a ratio for each malloc in each contest, the same bytes each time', () => {
    const svg = svgOf(contestHeat(contests, 'cpu'));
    expect(svgOf(contestHeat(structuredClone(contests), 'cpu'))).toBe(svg);
    for (const text of ['a-2t', 'b', 'mine', 'theirs', 'Workloads', 'Real programs', 'failed'])
      expect(svg).toContain(`>${text}<`);
    expect(svg).not.toMatch(/NaN|undefined/);
  });

  test('heat map: 1 is white, the two directions differ in hue, and beyond the ends nothing changes', () => {
    expect(colorOfRatio(1)).toBe('rgb(255,255,255)');
    const [less, more] = [colorOfRatio(0.5), colorOfRatio(2)].map((color) =>
      [...color.matchAll(/\d+/g)].map(Number),
    );
    expect(less?.[2]).toBeGreaterThan(less?.[0] as number);
    expect(more?.[0]).toBeGreaterThan(more?.[2] as number);
    expect(colorOfRatio(40)).toBe(colorOfRatio(4));
  });

  test('a name with markup in it stays text, and the picture one element', () => {
    const svg = svgOf(legend(['<b>&"'], 200, 'a < b'));
    expect(attributesIn(svg, 'b')).toEqual([]);
    expect(attributesIn(svg, 'svg > text')).toHaveLength(2);
    expect(svg).toContain('>a &lt; b<');
  });

  test('time against memory: a dot with its name for each malloc', () => {
    const svg = svgOf(contestPareto(contests));
    for (const name of ['mine', 'glibc', 'theirs']) expect(svg).toContain(`>${name}<`);
    expect(svg).not.toMatch(/NaN|undefined/);
  });

  test('the front holds the places that no other beats in both', () => {
    const place = (name: string, x: number, y: number) => ({ name, x, y });
    const places = [place('slow', 3, 3), place('lean', 2, 1), place('fast', 1, 2)];
    expect(names(front(places))).toEqual(['fast', 'lean']);
    expect(names(front([...places, place('both', 1, 1)]))).toEqual(['both']);
  });

  test('names beside dots cover neither dots nor each other', () => {
    const dots = [50, 55, 60].map((y, i) => ({ name: `malloc${i}`, x: 100, y }));
    const sides = labelSides(dots, { left: 0, top: 0, right: 300, bottom: 300 });
    expect(new Set(sides.map((side) => JSON.stringify(side))).size).toBe(3);
  });
});
