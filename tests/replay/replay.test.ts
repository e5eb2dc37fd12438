import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { writeRep } from '../../scripts/foreign/rep.ts';
import { openSource } from '../../scripts/foreign/source.ts';
import { type Malloc, resolveMalloc, variants } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { checkPatience } from '../../scripts/replay/patience.ts';
import { type Played, play } from '../../scripts/replay/play.ts';
import { type PlanFigures, writePlan } from '../../scripts/trace/plan.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { readTrace } from '../lib/trace.ts';

const folder = testFolder();
const traced = compileProgram('traced.c');

const at = (name: string): string => join(folder, name);

async function record(name: string, m: Malloc, ...command: string[]): Promise<string> {
  await launch(m, command, { trace: at(name) });
  return at(name);
}

/** The plan of a trace or a .rep file, and its figures. */
async function plan(file: string): Promise<{ file: string; figures: PlanFigures }> {
  const source = openSource(file, undefined);
  const made = `${file}.plan`;
  const figures = await writePlan(made, source.steps());
  source.close();
  return { file: made, figures };
}

async function played(file: string, ...mallocs: (Malloc | string)[]): Promise<Played[]> {
  const { file: made, figures } = await plan(file);
  const resolved = mallocs.map((m) => (typeof m === 'string' ? resolveMalloc(m) : m));
  return play(made, figures, resolved, { runs: 1, timeout: 60 });
}

describe('a replayed trace', () => {
  test.each(variants().filter((name) => name !== 'dumb'))(
    'makes the same calls on %s: recorded again, it gives the same trace',
    async (name) => {
      const m = resolveMalloc(name);
      const first = await record('first', resolveMalloc('glibc'), traced, 'plain', '2000');
      const { file, figures } = await plan(first);
      const player = m.file?.replace(/libmalloc-\w+\.so$/, 'libmalloc-replay') ?? '';
      await launch(m, [player, file], { trace: at('second') });
      const [before] = readTrace(first).processes;
      const [after] = readTrace(at('second')).processes;
      const calls = (sum = before) => ({
        allocations: sum?.ledger.allocations,
        bytes: sum?.ledger.totalBytes,
        releases: sum?.ledger.releases,
        peak: sum?.ledger.peakBytes,
      });
      expect(calls(after)).toEqual(calls(before));
      expect(figures.peakLive).toBe(before?.ledger.peakBytes);
      expect(figures.calls).toBe(12_000 + 125 * 10);
    },
  );

  test('has its threads, which free each other’s blocks, on several mallocs', async () => {
    const file = await record('threads', resolveMalloc('paged'), traced, 'threads', '6', '30000');
    const { figures } = await plan(file);
    expect(figures.threads).toBe(7);
    const peers = ['jemalloc', 'mimalloc'];
    for (const name of peers) need(name);
    const all = [
      ...variants().filter((name) => name !== 'dumb' && name !== 'list'),
      'glibc',
      ...peers,
    ];
    for (const each of await played(file, ...all)) {
      expect(each.failure, each.malloc).toBeUndefined();
      expect(each.callsPerSecond, each.malloc).toBeGreaterThan(0);
      expect(each.peakResident?.median, each.malloc).toBeGreaterThan(0);
    }
  });

  test('is measured: memory, page faults, calls a second', async () => {
    // A thousand pages in one block, which is freed at the end, and one small block that is not.
    const text = '0\n2\n3\n1\na 0 4096000\nf 0\na 1 100\n';
    writeFileSync(at('thousand.rep'), text);
    for (const each of await played(at('thousand.rep'), 'paged', 'glibc')) {
      const { malloc, peakResident, minorFaults, fragmentation, wall, callsPerSecond } = each;
      const peak = peakResident?.median ?? 0;
      expect(peak, malloc).toBeGreaterThan(4_000_000);
      expect(peak, malloc).toBeLessThan(5_000_000);
      expect(fragmentation, malloc).toBeCloseTo(peak / 4_096_000, 9);
      expect(minorFaults?.median, malloc).toBeGreaterThanOrEqual(1000);
      expect(minorFaults?.median, malloc).toBeLessThan(1400);
      expect(callsPerSecond, malloc).toBeCloseTo(3 / (wall?.median ?? 0), 3);
    }
  });

  test('with hundreds of short threads', async () => {
    const file = await record('churn', resolveMalloc('glibc'), traced, 'churn', '400');
    const [glibc] = await played(file, 'glibc');
    expect(glibc?.failure).toBeUndefined();
  });

  test('leaves out what a forked child inherited, and says so', async () => {
    const file = await record('fork', resolveMalloc('glibc'), traced, 'fork');
    const source = openSource(file, 2);
    await writePlan(at('fork.plan'), source.steps());
    expect(source.left).toEqual({ failed: 0, strays: 1 });
    expect(source.remarks()[0]).toBe(
      '1 frees of unknown blocks are left out: the process had them from its parent',
    );
    source.close();
    expect(() => openSource(file, 9)).toThrow(/has no process 9/);
  });
});

describe('a faulty malloc is detected', () => {
  const wrong = async (name: string, body: string): Promise<string | undefined> => {
    const source = at(`${name}.c`);
    writeFileSync(source, `#include <stddef.h>\n#include <string.h>\n#include <stdlib.h>\n${body}`);
    const library = compileProgram(source, { flags: ['-shared', '-fPIC'] });
    writeFileSync(at('small.rep'), '100\n3\n6\n1\na 0 64\na 1 64\na 2 64\nf 0\nf 1\nf 2\n');
    const [result] = await played(at('small.rep'), { name, kind: 'file', file: library });
    return result?.failure;
  };
  const rest = `
    void free(void *p) { (void)p; }
    void *calloc(size_t n, size_t m) { void *p = malloc(n * m); return p ? memset(p, 0, n * m) : p; }
    void *realloc(void *p, size_t n) { void *q = malloc(n); if (q && p) memcpy(q, p, n); return q; }`;

  test('it hands out the same memory twice', async () => {
    const twice = `static _Alignas(16) char m[1 << 22]; static size_t used;
      void *malloc(size_t n) {
        if (n == 64) return m;
        used += 4096 + (n & ~(size_t)15); return m + used; }`;
    expect(await wrong('twice', twice + rest)).toMatch(/a block has lost its content/);
  });

  test('it has no memory left', async () => {
    const none = `static _Alignas(16) char m[1 << 22]; static size_t used;
      void *malloc(size_t n) { if (n == 64) return NULL;
        used += 16 + ((n + 15) & ~(size_t)15); return m + used; }`;
    expect(await wrong('none', none + rest)).toMatch(/out of memory/);
  });

  test('it crashes', async () => {
    const crash = `static _Alignas(16) char m[1 << 22]; static size_t used;
      void *malloc(size_t n) { if (n == 64) abort();
        used += 16 + ((n + 15) & ~(size_t)15); return m + used; }`;
    expect(await wrong('crash', crash + rest)).toMatch(/SIGABRT/);
  });
});

describe('.rep files of the malloc lab', () => {
  test('are played, and written again as they were', async () => {
    const text = '20000000\n3\n7\n1\na 0 512\na 1 128\nr 0 640\na 2 48\nf 1\nr 2 16\nf 0\n';
    writeFileSync(at('short.rep'), text);
    const [result] = await played(at('short.rep'), 'paged');
    expect(result?.failure).toBeUndefined();
    const source = openSource(at('short.rep'), undefined);
    expect(await writeRep(at('again.rep'), () => source.steps())).toEqual({
      operations: 7,
      blocks: 3,
      plain: 0,
      empty: 0,
    });
    expect(readFileSync(at('again.rep'), 'utf8')).toBe(text);
  });

  test('are written from any trace, and replay like it', async () => {
    const file = await record('rep', resolveMalloc('paged'), traced, 'plain', '1500');
    const { status, stderr } = await libmalloc(['replay', file, '--export', at('out.rep')]);
    expect(stderr).toMatch(
      /^libmalloc: 9,940 operations on 3,470 blocks in \S+; 1,970 were aligned/,
    );
    expect(status).toBe(0);
    const { calls, peakLive } = (await plan(at('out.rep'))).figures;
    const { figures } = await plan(file);
    expect({ calls, peakLive }).toEqual({ calls: 9940, peakLive: figures.peakLive });
  });

  test.each([
    ['x 1 2', 'makes no sense'],
    ['f 7', 'makes no sense'],
    ['a 0', 'makes no sense'],
  ])('with the line `%s` are refused', (line, message) => {
    writeFileSync(at('bad.rep'), `1\n1\n1\n1\na 5 10\n${line}\n`);
    const source = openSource(at('bad.rep'), undefined);
    expect(() => [...source.steps()]).toThrow(new RegExp(`line 6: '${line}' ${message}`));
  });
});

describe('dumb and list', () => {
  const figures = { calls: 2e6, threads: 1, peakLive: 1, peakBlocks: 9e4, walked: 8e10 };

  test('refuse more than 100,000 calls, with an estimate', () => {
    const list = [resolveMalloc('list')];
    expect(() => checkPatience(list, figures, false)).toThrow(/^list would need some 240 s a run/);
    const dumb = [resolveMalloc('dumb')];
    expect(() => checkPatience(dumb, figures, false)).toThrow(/^dumb would need some 131 GB/);
    expect(checkPatience(list, figures, true)).toHaveLength(1);
    expect(checkPatience([...list, ...dumb], { ...figures, calls: 1e5 }, false)).toEqual([]);
    expect(checkPatience([resolveMalloc('paged')], figures, false)).toEqual([]);
  });
});

describe('the verb', () => {
  test('shows a table, and writes JSON', async () => {
    const file = await record('verb', resolveMalloc('glibc'), traced, 'plain', '300');
    const json = at('replay.json');
    const { status, stdout, stderr } = await libmalloc([
      'replay',
      file,
      '-m',
      'paged',
      '-m',
      'glibc',
      '--runs',
      '3',
      '--json',
      json,
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(
      /^verb: traced\S*: 1,990 calls of one thread; at most 300 B in 1 blocks alive\n/,
    );
    expect(stdout).toMatch(/^paged +[\d.]+ (µs|ms) +\d+ %/m);
    const found = JSON.parse(readFileSync(json, 'utf8'));
    expect(found).toMatchObject({
      schema: 'libmalloc/replay/1',
      calls: 1990,
      runs: 3,
      failed: 0,
      strays: 0,
      damage: [],
    });
    const [paged, glibc] = found.played;
    expect([paged.malloc, glibc.malloc]).toEqual(['paged', 'glibc']);
    expect(paged.wall.runs).toBe(3);
    expect(paged.minorFaults.median).toBeGreaterThan(0);
  });

  test.each([
    [['nowhere'], /there is no trace nowhere/],
    [['x', 'y', '--export', 'z.rep'], /--export writes one trace/],
    [['x', '--runs', '0'], /give a whole number from 1/],
    [['x', '-m', 'nobody'], /unknown malloc: nobody/],
  ])('refuses %j', async (args, message) => {
    const { status, stdout, stderr } = await libmalloc(['replay', ...args]);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(message);
  });
});
