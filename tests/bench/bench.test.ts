// No test here reads a clock: counts of instructions and their growth are the same on every machine.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type Curve, measureCurve } from '../../scripts/bench/curve.ts';
import { benchCommand } from '../../scripts/bench/index.ts';
import { countPairs, measurePairs, orders, planPairs, ratios } from '../../scripts/bench/pairs.ts';
import { curvePicture } from '../../scripts/bench/pictures.ts';
import { selectMallocs } from '../../scripts/bench/select.ts';
import { curveNotes } from '../../scripts/bench/show.ts';
import { stepWorkload, timeWorkload, workloadProgram } from '../../scripts/bench/workload.ts';
import { Failure } from '../../scripts/lib/errors.ts';
import { geomean, ordered, spread, summarize } from '../../scripts/lib/stats.ts';
import { type Malloc, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { probe } from '../../scripts/malloc/preload.ts';
import { svgOf } from '../../scripts/picture/figure.ts';
import { spreadOut } from '../../scripts/picture/scale.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { skip } from '../lib/need.ts';

const folder = testFolder();

function library(source: string): Malloc {
  const file = compileProgram(source, { flags: ['-shared', '-fPIC'] });
  return { name: source, kind: 'file', file };
}

describe('figures', () => {
  test('a run that was disturbed moves neither median nor quartiles', () => {
    const calm = summarize([10, 11, 12, 13, 14]);
    expect(calm).toEqual({ median: 12, low: 11, high: 13, runs: 5 });
    expect(summarize([10, 11, 12, 13, 1400])).toEqual(calm);
    expect(spread(calm)).toBeCloseTo(1 / 12);
  });

  test('a mean of ratios does not depend on which side is the unit', () => {
    expect(geomean([2, 0.5])).toBeCloseTo(1);
    const unit = { tight: [10], lifo: [10], random: [10] };
    expect(ratios({ tight: [20], lifo: [20], random: [20] }, unit)[0]).toBeCloseTo(2);
    expect(ratios({ tight: [40], lifo: [10], random: [20] }, unit)[0]).toBeCloseTo(2);
  });

  test.each([2, 3, 4, 5, 10])(
    'of %i mallocs each begins as often as another, and follows all',
    (n) => {
      const items = Array.from({ length: n }, (_, i) => i);
      const rounds = n % 2 === 1 ? 2 * n : n;
      const first = new Map<number, number>();
      const pairs = new Map<string, number>();
      for (let round = 0; round < rounds; round++) {
        const order = ordered(items, round);
        expect([...order].sort((a, b) => a - b)).toEqual(items);
        first.set(order[0] as number, (first.get(order[0] as number) ?? 0) + 1);
        for (let i = 1; i < n; i++) {
          const pair = `${order[i - 1]} ${order[i]}`;
          pairs.set(pair, (pairs.get(pair) ?? 0) + 1);
        }
      }
      expect([...first.values()]).toEqual(items.map(() => rounds / n));
      expect(pairs.size).toBe(n * (n - 1));
      expect(new Set(pairs.values())).toEqual(new Set([rounds / n]));
    },
  );
});

describe('counting instructions', () => {
  test('an allocator of six instructions counts six, in every order', async () => {
    if (process.arch !== 'x64') skip('the allocator of known length is written for x86-64');
    const plan = { ...planPairs({}), stepped: 100 };
    expect(await countPairs(library('six.c'), plan)).toEqual({
      tight: 6,
      lifo: 6,
      random: 6,
      worst: 6,
    });
  });

  test('the same malloc counts the same twice, and glibc its known figure', async () => {
    const glibc = resolveMalloc('glibc');
    const options = { order: 0, pairs: 50 };
    const counts = [];
    for (let i = 0; i < 2; i++) {
      const { sections } = await stepWorkload(glibc, 'pairs', options);
      const [short, long] = sections.map(({ instructions }) => instructions ?? 0);
      counts.push(((long ?? 0) - (short ?? 0)) / 100);
    }
    expect(counts[0]).toBe(counts[1]);
    expect(counts[0]).toBeGreaterThan(40);
    expect(counts[0]).toBeLessThan(260);
  });
});

/** Instructions per call at the first and at the last of the sizes. */
async function growth(name: string, sizes: number[], least: number): Promise<number> {
  const counts: number[] = [];
  for (const live of sizes) {
    const options = { live, calls: 200, least, age: Math.min(live, 1000) };
    const { sections } = await stepWorkload(resolveMalloc(name), 'curve', options, 30_000);
    const section = sections[0];
    expect(section?.calls).toBeGreaterThanOrEqual(least);
    counts.push((section?.instructions ?? 0) / (section?.calls ?? 0));
  }
  return (counts.at(-1) ?? Number.NaN) / (counts[0] ?? Number.NaN);
}

describe('the curve', () => {
  test('a call of paged costs the same with 100 and with 100,000 live blocks', async () => {
    expect(await growth('paged', [100, 100_000], 150)).toBeLessThan(1.3);
  });

  test('a call of list costs more, the more blocks live', async () => {
    expect(await growth('list', [50, 1000], 16)).toBeGreaterThan(3);
  });

  test('a malloc that cannot reach a size ends there and says why; the others go on', async () => {
    const plan = { sizes: [100, 100_000], runs: 1, budget: 1, steps: 0, least: 2 };
    const mallocs = ['dumb', 'list', 'paged'].map((name) => resolveMalloc(name));
    const { curves } = await measureCurve(mallocs, plan);
    const [dumb, list, paged] = curves;
    expect(dumb?.stopped?.live).toBe(100_000);
    expect(dumb?.stopped?.reason).toMatch(/^out of (memory|time) while/);
    expect(list?.stopped).toEqual({ live: 100_000, reason: 'out of time while filling' });
    expect(paged?.stopped).toBeUndefined();
    expect(paged?.points.map(({ live }) => live)).toEqual([100, 100_000]);
    expect(curveNotes(curves)).toContain(
      'list stops before 100,000 live blocks: out of time while filling',
    );
  });

  test('its picture depends on the figures alone, and names every malloc', () => {
    const point = (live: number, ns: number) => ({
      live,
      nanoseconds: summarize([ns]),
      instructions: ns * 3,
    });
    const curves: Curve[] = [
      { malloc: 'list', points: [point(100, 40), point(1000, 400)] },
      { malloc: 'mine', points: [point(100, 20), point(1000, 21), point(10_000, 22)] },
    ];
    const svg = svgOf(curvePicture(curves));
    expect(svgOf(curvePicture(structuredClone(curves)))).toBe(svg);
    expect(svg).toMatch(/^<svg [^>]*xmlns="http:\/\/www.w3.org\/2000\/svg"/);
    for (const text of ['list', 'mine', 'CPU per call, ns', 'Instructions per call', '10,000'])
      expect(svg).toContain(`>${text}<`);
    expect(svg).not.toContain('NaN');
  });

  test('names that would overlap move apart, and only those', () => {
    expect(spreadOut([100, 0], 10)).toEqual([100, 0]);
    expect(spreadOut([50, 50, 50], 10)).toEqual([40, 50, 60]);
    const apart = spreadOut([3, 8, 9, 40], 10).sort((a, b) => a - b);
    for (const [i, at] of apart.slice(1).entries())
      expect(at - (apart[i] ?? 0)).toBeGreaterThanOrEqual(9.999);
  });
});

describe('faults', () => {
  test('a malloc that was named but is not installed is an error; glibc is always measured', () => {
    expect(() => selectMallocs(['nosuch'])).toThrow(/unknown malloc: nosuch/);
    expect(() => selectMallocs([join(folder, 'none.so')])).toThrow(Failure);
    expect(selectMallocs(['paged']).mallocs.map(({ name }) => name)).toEqual(['paged', 'glibc']);
  });

  test('a library that is no malloc is not measured', async () => {
    const malloc: Malloc = { name: 'probe', kind: 'file', file: probe() };
    await expect(timeWorkload(malloc, 'curve', { live: 10, calls: 10 })).rejects.toThrow(
      /probe was not in use: malloc came from .*libc/,
    );
  });

  test('a malloc that ends the process is a result, timed or counted', async () => {
    const broken = library('broken.c');
    const options = { live: 200, calls: 100 };
    const ended = { sections: [], stopped: 'killed by SIGABRT' };
    expect(await timeWorkload(broken, 'curve', options)).toEqual(ended);
    const counted = await stepWorkload(broken, 'curve', options);
    expect(counted.sections).toEqual([]);
    expect(counted.stopped).toMatch(/^killed by/);
  });

  test('an unknown workload is named as unknown', () => {
    expect(() => workloadProgram('nosuch.c')).toThrow('no such workload: nosuch.c');
  });
});

test('pairs are timed in three orders, and glibc is the unit of the ratios', async () => {
  const plan = { runs: 3, pairs: 20_000, stepped: 0, size: 32 };
  const { pairs } = await measurePairs([resolveMalloc('paged'), resolveMalloc('glibc')], plan);
  expect(pairs.map(({ malloc }) => malloc)).toEqual(['paged', 'glibc']);
  for (const { nanoseconds, ratio, stopped } of pairs) {
    expect(stopped).toBeUndefined();
    expect(ratio?.median).toBeGreaterThan(0);
    for (const order of orders) {
      expect(nanoseconds?.[order].runs).toBe(3);
      expect(nanoseconds?.[order].median).toBeGreaterThan(0);
    }
  }
  expect(pairs[1]?.ratio).toEqual({ median: 1, low: 1, high: 1, runs: 3 });
});

test('bench writes what it found as JSON and as a picture, and says where it was measured', async () => {
  const [json, svg] = [join(folder, 'r.json'), join(folder, 'p.svg')];
  const argv = ['curve', '--quick', '--runs', '1', '-m', 'glibc', '--json', json, '--svg', svg];
  await benchCommand().parseAsync(argv, { from: 'user' });
  const result = JSON.parse(readFileSync(json, 'utf8'));
  expect(Object.keys(result)[0]).toBe('schema');
  expect(result.schema).toBe('libmalloc/bench/1');
  expect(result.provenance).toMatchObject({
    kernel: expect.any(String),
    mallocs: { glibc: expect.any(String) },
  });
  const [glibc] = result.curve.curves;
  expect(glibc.malloc).toBe('glibc');
  expect(glibc.points.map(({ live }: { live: number }) => live)).toEqual([
    100, 1000, 10_000, 100_000,
  ]);
  for (const point of glibc.points) {
    expect(point.nanoseconds).toMatchObject({ median: expect.any(Number), runs: 1 });
    expect(point.nanoseconds.median).toBeGreaterThan(0);
    expect(point.instructions).toBeGreaterThan(10);
  }
  expect(readFileSync(svg, 'utf8')).toContain('>glibc<');
});
