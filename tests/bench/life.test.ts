// `bench life`: its choice, its handling of runs, and tiny runs. No time is asserted, and memory only if
// the expected difference is large.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { choose, readCatalog } from '../../scripts/bench/catalog.ts';
import { planBench } from '../../scripts/bench/index.ts';
import { type Life, planLife, playScenario } from '../../scripts/bench/life.ts';
import { lifeBars, lifeTracks } from '../../scripts/bench/life-pictures.ts';
import { lifeBest, lifeMean, lifeRatio, lifeRows } from '../../scripts/bench/life-ratios.ts';
import { describeLife, lifeRemarks } from '../../scripts/bench/life-show.ts';
import { lifeAmount, lifeToBest } from '../../scripts/bench/life-tables.ts';
import { figureOf, type Observation, observe } from '../../scripts/bench/observe.ts';
import { figureKinds, type Scenario } from '../../scripts/bench/scenarios.ts';
import { defaultVariant, type Malloc, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { probe } from '../../scripts/malloc/preload.ts';
import { svgOf } from '../../scripts/picture/figure.ts';
import { cli, libmalloc, play, script } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { interruptWhen } from '../lib/interrupt.ts';

const { scenarios } = readCatalog();
const glibc = resolveMalloc('glibc');
const ours = resolveMalloc(defaultVariant());
const names = (entries: readonly { name: string }[]) => entries.map(({ name }) => name);

const folder = testFolder();

function scenario(name: string): Scenario {
  const found = scenarios.find((each) => each.name === `life-${name}`);
  if (found === undefined) throw new Error(`no scenario ${name}`);
  return found;
}

function library(source: string, ...flags: string[]): Malloc {
  const file = compileProgram(source, { flags: ['-shared', '-fPIC', ...flags] });
  return { name: source, kind: 'file', file };
}

describe('the choice of scenarios', () => {
  test('`life` stands for all scenarios, a longer name for some; without a name there are none', () => {
    expect(planBench(['life'])).toMatchObject({ workloads: [], scenarios, measurements: [] });
    expect(names(choose(['life-burst'], readCatalog()).scenarios)).toEqual([
      'life-burst-steady',
      'life-burst-idle',
    ]);
    expect(planBench([]).scenarios).toEqual([]);
    expect(() => planBench(['life-nosuch'])).toThrow('unknown workload: life-nosuch');
  });

  test('each name is used once, and no figure has two', () => {
    expect(new Set(names(scenarios)).size).toBe(scenarios.length);
    for (const { name, ...rest } of scenarios) {
      expect(name).toMatch(/^life(-[a-z]+)+$/);
      const figures = names(figureKinds(rest));
      expect(new Set(figures).size).toBe(figures.length);
    }
  });

  test('--quick reduces every amount; --runs applies to memory and latency', () => {
    expect(planLife({ quick: true })).toMatchObject({ amount: 'quick' });
    expect(planLife({ runs: 4 }).runs).toEqual({ memory: 4, latency: 4 });
  });
});

describe.each([...new Set(scenarios.map(({ source }) => source))])('%s', (source) => {
  test('compiles without a warning', () => {
    compileProgram(`workloads/${source}`, { flags: ['-O2', '-Werror'] });
  });
});

describe('figures', () => {
  const points = [2, 2, 4, 4, 3, 3].map((resident) => {
    return { name: 'minute', resident: resident * 2 ** 20, live: 2 ** 20, pages: 2 ** 21 };
  });
  const of = (over: 'live' | 'worst' | 'drift' | 'pages' | 'nothing', some = points) =>
    figureOf({ name: 'f', point: 'minute', over }, some);

  test('many points: the mean of the last third, the worst, the last third over the first', () => {
    expect([of('live'), of('worst'), of('drift')]).toEqual([3, 4, 1.5]);
  });

  test('one point: resident over live, over live pages, in MiB', () => {
    const one = points.slice(2, 3);
    expect([of('live', one), of('pages', one), of('nothing', one)]).toEqual([4, 2, 4]);
    expect(of('live', [])).toBeUndefined();
  });
});

const mine: Malloc = { name: 'mine', kind: 'variant', file: '/mine.so' };
const theirs: Malloc = { name: 'theirs', kind: 'peer', file: '/theirs.so' };

/** Plays a scenario without running anything. */
const played = (name: string, runs: number, by: (malloc: string) => Observation | string) =>
  playScenario(scenario(name), [mine, glibc, theirs], runs, async (malloc) => by(malloc.name));

/** Every figure of the scenario has this value. */
const seen = (name: string, value: number): Observation => ({
  figures: Object.fromEntries(figureKinds(scenario(name)).map((kind) => [kind.name, value])),
});

async function life(): Promise<Life> {
  const shrink: Record<string, number> = { mine: 1, glibc: 2, theirs: 4 };
  const burst: Record<string, number> = { mine: 0.1, glibc: 60, theirs: 0.5 };
  const all = await Promise.all([
    played('shrink', 1, (name) => seen('shrink', shrink[name] ?? 0)),
    played('burst-idle', 1, (name) => seen('burst-idle', burst[name] ?? 0)),
    played('latency-inbox', 1, (name) =>
      name === 'theirs' ? 'killed by SIGSEGV' : seen('latency-inbox', name === 'mine' ? 2e6 : 4),
    ),
    played('cache', 1, () => ({ ...seen('cache', 1.5), track: [1.25, 1.5] })),
  ]);
  const plan = planLife({});
  return { plan, peers: ['glibc', 'theirs'], scenarios: all, absent: [] };
}

describe('ratios', () => {
  test('are taken run by run against the peer with the lowest median', async () => {
    let round = 0;
    const values: Record<string, number[]> = {
      mine: [4, 9, 2],
      glibc: [2, 3, 1],
      theirs: [5, 5, 5],
    };
    const result = await played('shrink', 3, (name) => {
      const turn = Math.floor(round++ / 3);
      return seen('shrink', values[name]?.[turn] ?? 0);
    });
    const [kind] = result.kinds;
    if (kind === undefined) throw new Error('no figure');
    expect(lifeBest(result, ['glibc', 'theirs'], kind.name)).toEqual({ malloc: 'glibc', value: 2 });
    expect(lifeRatio(result, 'mine', ['glibc', 'theirs'], kind)).toBe(2);
  });

  test('less than a MiB counts as one, less than 10 ns as ten', async () => {
    const all = await life();
    const of = (row: number, latency: boolean) => {
      const { scenario, kind } = lifeRows(all, latency)[row] as ReturnType<typeof lifeRows>[0];
      return lifeRatio(scenario, 'mine', all.peers, kind);
    };
    expect([of(0, false), of(1, false), of(0, true)]).toEqual([0.5, 1, 200_000]);
    expect(lifeMean(lifeRows(all, false), 'theirs', all.peers).figures).toBe(5);
    expect(lifeMean(lifeRows(all, true), 'theirs', all.peers)).toMatchObject({ figures: 0 });
  });

  test('amounts carry their unit', () => {
    expect(lifeAmount(1.234, 'ratio')).toBe('1.23');
    expect(lifeAmount(0.4, 'MiB')).toBe('<1 MiB');
    expect(lifeAmount(493.4, 'MiB')).toBe('493 MiB');
    expect(['3', '41.2', '1450', '38000000'].map((ns) => lifeAmount(Number(ns), 'ns'))).toEqual([
      '<10 ns',
      '41 ns',
      '1.45 µs',
      '38.0 ms',
    ]);
  });
});

describe('the report', () => {
  test('a malloc that fails is named, with the reason, and the others have their figures', async () => {
    const all = await life();
    expect(lifeRemarks(all).join()).toContain('theirs in life-latency-inbox: killed by SIGSEGV');
    const { head, rows } = lifeToBest(all, true);
    expect(head).toEqual(['', '', 'best peer', 'mine', 'glibc', 'theirs']);
    expect(rows[0]).toEqual(['inbox', 'malloc p50', 'glibc', '200,000', '1.00', 'failed']);
    expect(rows.at(-1)?.[0]).toBe('geomean');
    const text = describeLife(all).join('\n');
    expect(text).toMatch(/burst-idle +5 s later +<1 MiB +60 MiB +<1 MiB/);
    expect(text).not.toMatch(/NaN|undefined/);
  });

  test('pictures name every malloc and depend on the figures alone', async () => {
    const all = await life();
    const pictures = () => [lifeBars(all, false), lifeBars(all, true), lifeTracks(all)].map(svgOf);
    const [memory, latency, tracks] = pictures();
    expect(pictures()).toEqual([memory, latency, tracks]);
    for (const svg of [memory, latency, tracks]) {
      expect(svg).toContain('>mine<');
      expect(svg).not.toMatch(/NaN|undefined/);
    }
    expect(memory).toContain('>burst-idle: 5 s later<');
    expect(latency).toContain('>✕<');
    expect(tracks).toContain('>cache: resident / live bytes<');
  });
});

describe('each scenario runs, with tiny amounts', () => {
  test.each(scenarios)('$name', async (each) => {
    const { lives, kinds } = await playScenario(each, [ours, glibc], 1, (malloc) =>
      observe(malloc, each, 'tiny', 60),
    );
    for (const { malloc, failed, figures = {} } of lives) {
      expect(failed, malloc).toBeUndefined();
      for (const { name, unit } of kinds) {
        const [value = Number.NaN] = figures[name] ?? [];
        expect(value, `${malloc}: ${name}`).toBeGreaterThanOrEqual(0);
        if (unit === 'ratio' && name !== 'drift') expect(value).toBeGreaterThan(0.9);
      }
    }
  });
});

describe('a faulty malloc', () => {
  /** The figures of a run of very little under it. */
  async function figures(malloc: Malloc, name: string): Promise<Record<string, number>> {
    const found = await observe(malloc, scenario(name), 'tiny', 60);
    if (typeof found === 'string') throw new Error(found);
    return found.figures;
  }

  test('that never frees keeps all of a burst, and twice the live bytes', async () => {
    const leaky = library('broken/never-reuses.c');
    const honest = library('broken/honest.c');
    const [lost, kept] = [await figures(leaky, 'owner-idle'), await figures(honest, 'owner-idle')];
    expect(lost['all freed']).toBeGreaterThan((kept['all freed'] ?? 0) + 4);
    expect(lost.rebuilt).toBeGreaterThan((kept.rebuilt ?? 0) * 1.6);
  });

  test('that crashes, hangs or is no malloc is reported, without an exception', async () => {
    const [crashes, none] = [library('overlap.c', '-DENDS=10000'), probe()];
    expect(await observe(crashes, scenario('shrink'), 'quick', 60)).toMatch(/killed by SIGABRT/);
    expect(await observe(glibc, scenario('burst-idle'), 'full', 0.5)).toBe('no end within 0.5 s');
    const other: Malloc = { name: 'none', kind: 'file', file: none };
    expect(await observe(other, scenario('connections'), 'tiny', 60)).toMatch(
      /^not in use: malloc came from .*libc/,
    );
  });
});

describe('the command line', () => {
  test('tables, a JSON document, a picture', async () => {
    const [json, svg] = [join(folder, 'r.json'), join(folder, 'r.svg')];
    const words = ['bench', 'life-connections', '-m', ours.name, '--quick', '--runs', '2'];
    const { status, stdout } = await libmalloc([...words, '--json', json, '--svg', svg]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^Memory over a long life/);
    expect(stdout).toMatch(/connections +open +glibc/);
    const text = readFileSync(json, 'utf8');
    expect(text.indexOf('"schema": "libmalloc/bench/1"')).toBeLessThan(10);
    const { life: found } = JSON.parse(text);
    expect(found).toMatchObject({ plan: { amount: 'quick' }, peers: ['glibc'], absent: [] });
    expect(found.scenarios[0].lives[0].figures.open).toHaveLength(2);
    expect(readFileSync(svg, 'utf8')).toContain('>connections: open<');
  });

  test.each([
    [['life-nosuch'], 'unknown workload: life-nosuch'],
    [['life', '-m', 'nosuch'], 'unknown malloc: nosuch'],
    [['life', '--runs', '0'], 'whole number'],
    [['life', '--', 'ls'], 'both a workload and a command'],
  ])('%j is refused: %s', async (words, message) => {
    const { status, stderr } = await libmalloc(['bench', ...words]);
    expect(status).not.toBe(0);
    expect(stderr).toContain(message);
  });

  test('the documents refuse a file without scenarios', async () => {
    const file = join(folder, 'none.json');
    const from = () => play([...script('docs/index'), '--life-from', file]);
    expect(await from()).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('there is no file'),
    });
    writeFileSync(file, '{"schema": "libmalloc/bench/1", "contests": {}}');
    expect(await from()).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('has no life of a bench'),
    });
  });

  test('Ctrl-C ends it with what was measured so far, and says what was not', async () => {
    const file = join(folder, 'interrupted.json');
    const words = ['bench', 'life', '-m', 'glibc', '--quick', '--json', file];
    const status = await interruptWhen([...cli, ...words], 'burst-');
    expect(status).toBe(130);
    const { life: found } = JSON.parse(readFileSync(file, 'utf8'));
    expect(found.interrupted).toBe(true);
    expect(found.absent.at(-1)).toEqual({
      name: names(scenarios).at(-1),
      reason: 'interrupted',
    });
    expect(names([...found.scenarios, ...found.absent])).toEqual(names(scenarios));
  });
});
