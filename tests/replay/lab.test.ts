import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openSource } from '../../scripts/foreign/source.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { scoresOf } from '../../scripts/replay/lab.ts';
import { type Played, play } from '../../scripts/replay/play.ts';
import { writePlan } from '../../scripts/trace/plan.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';

const seconds = (median: number) => ({ median, low: median, high: median, runs: 1 });
const played = (malloc: string, utilisation: number, cpu: number): Played => ({
  malloc,
  file: null,
  utilisation,
  cpu: seconds(cpu),
});

test('the score is the mean utilisation, and the throughput of all calls together', () => {
  const [ours, glibc] = scoresOf([
    {
      weight: 'all',
      calls: 1000,
      played: [played('ours', 0.9, 0.001), played('glibc', 0.5, 0.002)],
    },
    {
      weight: 'all',
      calls: 3000,
      played: [played('ours', 0.5, 0.003), played('glibc', 0.7, 0.002)],
    },
  ]);
  expect(ours).toMatchObject({ malloc: 'ours', calls: 4000, failed: 0 });
  expect(ours?.utilisation).toBeCloseTo(0.7);
  expect(ours?.kops).toBeCloseTo(1000);
  // As fast as glibc: all 40 points; and 60 times 0.7.
  expect(ours?.index).toBeCloseTo(82);
  expect(glibc?.index).toBeCloseTo(76);
});

test('being faster than glibc gains nothing; half its speed counts half', () => {
  const index = (cpu: number) =>
    scoresOf([
      { weight: 'all', calls: 1000, played: [played('ours', 1, cpu), played('glibc', 1, 0.002)] },
    ])[0]?.index;
  expect(index(0.0001)).toBeCloseTo(100);
  expect(index(0.004)).toBeCloseTo(80);
});

test('the weight of a trace says what it counts for', () => {
  const [ours] = scoresOf([
    { weight: 'utilisation', calls: 9, played: [played('ours', 0.4, 9)] },
    { weight: 'throughput', calls: 2000, played: [played('ours', 0.8, 0.001)] },
    { weight: 'nothing', calls: 7, played: [played('ours', 0.9, 7)] },
  ]);
  expect(ours).toMatchObject({ utilisation: 0.4, calls: 2000 });
  expect(ours?.kops).toBeCloseTo(2000);
  expect(ours?.index, 'without glibc there is nothing to compare with').toBeUndefined();
});

test('a malloc that fails a trace gets no index', () => {
  const failed: Played = { malloc: 'ours', file: null, failure: 'killed' };
  const rounds = [{ weight: 'all' as const, calls: 9, played: [failed, played('glibc', 1, 1)] }];
  expect(scoresOf(rounds)[0]).toEqual({ malloc: 'ours', calls: 0, seconds: 0, failed: 1 });
});

test('utilisation counts the heap, not the process: for a malloc of whole pages, page by page', async () => {
  // Each block takes as many pages of a static array as it needs, and none is reused.
  const source = scratch('pages.c');
  writeFileSync(
    source,
    `#include <stddef.h>
    #include <string.h>
    static _Alignas(4096) char memory[64 << 20]; static size_t used;
    void *malloc(size_t n) { void *p = memory + used; used += (n + 4095) & ~(size_t)4095; return p; }
    void free(void *p) { (void)p; }
    void *calloc(size_t n, size_t m) { return malloc(n * m); }
    void *realloc(void *p, size_t n) { void *q = malloc(n); if (p) memcpy(q, p, n); return q; }`,
  );
  const file = compileProgram(source, { flags: ['-shared', '-fPIC', '-fno-builtin'] });
  const blocks = Array.from({ length: 100 }, (_, i) => `a ${i} 4096`).join('\n');
  const rep = scratch('pages.rep');
  writeFileSync(rep, `1\n100\n101\n1\n${blocks}\na 100 4096000\n`);
  const plan = scratch('plan');
  const figures = await writePlan(plan, openSource(rep, undefined).steps());
  const pages: Parameters<typeof play>[2][number] = { name: 'pages', kind: 'file', file };
  const [ours, glibc] = await play(plan, figures, [pages, resolveMalloc('glibc')], { runs: 1 });
  expect(ours?.failure).toBeUndefined();
  // 1,100 pages of blocks; few pages were resident before, or belong to the array's neighbours.
  const most = (4096 * 1100 + 24 * 4096) / 4096;
  expect((ours?.heap ?? 0) / 4096).toBeGreaterThanOrEqual(1100);
  expect((ours?.heap ?? 0) / 4096).toBeLessThan(most);
  expect(ours?.utilisation).toBeCloseTo((4096 * 1100) / (ours?.heap ?? 0), 9);
  expect(glibc?.utilisation).toBeGreaterThan(0.9);
  expect(glibc?.utilisation).toBeLessThanOrEqual(1);
});
