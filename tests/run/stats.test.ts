import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { defaultVariant, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { type Counts, countsOf, together } from '../../scripts/run/counts.ts';
import { describeCounts } from '../../scripts/run/show-counts.ts';
import { allocations } from '../../scripts/trace/format.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { ownCounts } from '../lib/trace.ts';

const folder = testFolder();
const traced = compileProgram('traced.c');

/** Counts a command as `run --stats` does: the counts of each process, and the program's output. */
async function counted(m: string, ...command: string[]) {
  const file = join(folder, `counts-${Math.random()}`);
  const { stdout, status } = await launch(resolveMalloc(m), command, { trace: `count,${file}` });
  const trace = openTrace(file);
  const all = trace.processes.map((process) => ({ process, counts: countsOf(trace, process) }));
  const { damage, lost } = trace;
  trace.close();
  return { status, all, damage, lost, own: ownCounts(stdout.toString()) };
}

const mallocs = [defaultVariant(), 'paged', 'glibc', 'mimalloc'];

describe.each(mallocs)('counted on %s', (m) => {
  test('the program’s calls, and their bytes', async () => {
    if (m === 'mimalloc') need(m);
    const { all, own, damage, lost } = await counted(m, traced, 'plain', '5000');
    expect({ damage, lost }).toEqual({ damage: [], lost: 0 });
    const counts = all[0]?.counts as Counts;
    const [said = {}] = own.values();
    for (const name of [...allocations, 'free'])
      expect(counts.calls[name] ?? 0, name).toBe(said[name]);
    const sum = (key: 'blocks' | 'requested' | 'usable') =>
      counts.classes.reduce((total, each) => total + (each[key] ?? 0), 0);
    expect(sum('requested')).toBe(said.bytes);
    expect(sum('usable')).toBeGreaterThanOrEqual(sum('requested'));
    expect(sum('blocks')).toBe(allocations.reduce((n, name) => n + Number(said[name]), 0));
    for (const { limit, blocks, requested } of counts.classes)
      expect(requested, String(limit)).toBeLessThanOrEqual(limit * blocks);
    // One block at a time is alive; a realloc has both for a moment, and counts one.
    expect(counts.peakBlocks).toBe(1);
    expect(counts.peakLive).toBeGreaterThanOrEqual(700);
    expect(counts.peakResident).toBeGreaterThan(500_000);
  });
});

test('threads and their frees add up', async () => {
  const { all, own } = await counted(defaultVariant(), traced, 'threads', '4', '20000');
  const counts = all[0]?.counts as Counts;
  const [said = {}] = own.values();
  expect(counts.calls.malloc).toBe(said.malloc);
  expect(counts.peakBlocks).toBeGreaterThanOrEqual(64);
  expect(counts.peakBlocks).toBeLessThan(64 + 4 * 3);
});

test('a forked child goes on from its parent’s live blocks; kill loses nothing', async () => {
  const { all, own } = await counted(defaultVariant(), traced, 'fork');
  expect(all).toHaveLength(3);
  for (const { process, counts } of all)
    expect(counts?.calls.malloc, String(process.pid)).toBe(own.get(process.pid)?.malloc);
  for (const { counts } of all) expect(counts?.peakBlocks).toBeLessThan(10);
  const killed = await counted(defaultVariant(), traced, 'kill', '3000');
  expect(killed.status).toBe(137);
  expect(killed.all[0]?.counts?.calls.malloc).toBe(3000);
});

test('processes together: sums, and the highest of the peaks', () => {
  const one = (n: number): Counts => ({
    calls: { malloc: n },
    failed: 1,
    peakLive: n * 10,
    peakBlocks: n,
    peakResident: n,
    kernel: { mmap: n },
    classes: [{ limit: 16, blocks: n, requested: n, usable: 2 * n }],
  });
  expect(together([one(1), { ...one(5), kernel: undefined }])).toMatchObject({
    calls: { malloc: 6 },
    failed: 2,
    peakLive: 50,
    peakBlocks: 5,
    kernel: { mmap: 1 },
    classes: [{ limit: 16, blocks: 6, requested: 6, usable: 12 }],
  });
});

test('classes: usable bytes as the malloc gives them, resident bytes at their highest', async () => {
  const source = join(folder, 'classes.c');
  writeFileSync(
    source,
    `#include <malloc.h>
     #include <stdio.h>
     #include <stdlib.h>
     #include <string.h>
     #include <sys/mman.h>
     #include <unistd.h>
     int main(void) {
       static void *p[30];
       size_t usable[3] = {0};
       const size_t sizes[3] = {17, 100, 5000};
       for (int i = 0; i < 30; i++)
         usable[i % 3] += malloc_usable_size(p[i] = malloc(sizes[i % 3]));
       for (int i = 0; i < 30; i++)
         free(p[i]);
       char *large = malloc(50 << 20);
       memset(large, 1, 50 << 20);
       free(large);
       // It is freed before the next sample: only the kernel's own peak includes it.
       char *gone = mmap(0, 90 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
       memset(gone, 1, 90 << 20);
       munmap(gone, 90 << 20);
       usleep(20000);
       free(malloc(17));
       fprintf(stderr, "%zu %zu %zu\\n", usable[0], usable[1], usable[2]);
       _Exit(0);
     }`,
  );
  const file = join(folder, 'classes');
  const m = resolveMalloc('paged');
  const { stderr } = await launch(m, [compileProgram(source)], { trace: `count,${file}` });
  const usable = stderr.toString().trim().split(' ').map(Number);
  const trace = openTrace(file);
  const [process] = trace.processes;
  const counts = process && countsOf(trace, process);
  trace.close();
  const rows = counts?.classes.map(({ limit, blocks, requested, usable }) => [
    limit,
    blocks,
    requested,
    usable,
  ]);
  expect(rows?.slice(0, 3)).toEqual([
    [32, 11, 187, 1.1 * (usable[0] ?? 0)],
    [112, 10, 1000, usable[1]],
    [5120, 10, 50_000, usable[2]],
  ]);
  expect(usable[0]).toBeGreaterThan(170);
  const large = rows?.[3]?.[3] ?? 0;
  expect(large).toBeGreaterThanOrEqual(50 << 20);
  // When the large block was allocated, no other was live.
  expect(counts?.peakLive).toBe(large);
  expect(counts?.peakBlocks).toBe(30);
  expect(counts?.peakResident).toBeGreaterThan(90 << 20);
});

test('waste is usable minus requested bytes, by powers of two and in all', () => {
  const counts: Counts = {
    calls: { malloc: 60 },
    failed: 2,
    peakLive: 1000,
    peakBlocks: 10,
    peakResident: 5e6,
    classes: [
      { limit: 48, blocks: 10, requested: 300, usable: 480 },
      { limit: 64, blocks: 30, requested: 1500, usable: 1920 },
      { limit: 1024, blocks: 20, requested: 20_000, usable: 20_480 },
    ],
  };
  const said = describeCounts(counts, 1);
  expect(said.slice(0, 4)).toEqual([
    'calls: malloc 60 (2 failed)',
    'peak: live 1.00 kB in 10 blocks; resident: 5.00 MB',
    'asked for: 21.8 kB; waste: 5 % of what was given',
    'system calls: unknown, as this malloc makes them within libc',
  ]);
  const rows = said.slice(4).map((line) => line.trim().split(/\s{2,}|(?<=\d) (?=▇)/));
  expect(rows.at(-2)).toEqual(['64', '40', '▇'.repeat(24), '1.80 kB', '25 %']);
  expect(rows.at(-1)).toEqual(['1,024', '20', '▇'.repeat(12), '20.0 kB', '2 %']);
});

describe('system calls', () => {
  // 100 blocks so large that each malloc maps them: the kernel’s counts equal strace’s. Both are of
  // the same process, because the address of a mapping decides how many calls align it.
  test('are those of the malloc in strace', async () => {
    const strace = need('strace');
    const source = join(folder, 'large.c');
    writeFileSync(
      source,
      `#include <stdlib.h>\nint main(void) { for (int i = 0; i < 100; i++) {
         char *p = malloc(300000000); p[0] = 1; free(p); } return 0; }`,
    );
    const program = compileProgram(source);
    const seen = join(folder, 'seen');
    const { all } = await counted('paged', strace, '-c', '-o', seen, program);
    const rows = readFileSync(seen, 'utf8')
      .split('\n')
      .map((row) => row.trim().split(/\s+/));
    const line = (name: string): number =>
      Number(rows.find((row) => row.at(-1) === name)?.[3] ?? 0);
    const kernel = all.find(({ process }) => process.executable === program)?.counts?.kernel ?? {};
    expect(kernel.mmap).toBeGreaterThanOrEqual(99);
    // The program's start maps its libraries: these calls are not the malloc's.
    expect(line('mmap') - Number(kernel.mmap)).toBeLessThan(40);
    expect(line('mmap')).toBeGreaterThan(Number(kernel.mmap));
    expect(Math.abs(line('munmap') - Number(kernel.munmap))).toBeLessThan(10);
  });

  test('of glibc, which cannot be counted, are left out', async () => {
    const { all } = await counted('glibc', traced, 'plain', '10');
    expect(all[0]?.counts?.kernel).toBeUndefined();
  });
});

describe('run --stats', () => {
  test('prints the counts after the program, on standard error, and writes them to the JSON', async () => {
    const json = join(folder, 'stats.json');
    const { status, stdout, stderr } = await libmalloc([
      'run',
      '--stats',
      '-m',
      'paged',
      '--json',
      json,
      '--',
      traced,
      'exit',
      '200',
    ]);
    expect(status).toBe(3);
    expect(stdout).toMatch(/^malloc=200 .*\d$/);
    expect(stderr).toMatch(
      /^libmalloc: paged in 1 process \(traced\S*\): \S+libmalloc-paged.so\ncalls: malloc 200, /,
    );
    expect(stderr).toMatch(/^peak: live [\d.]+ k?B in 1 blocks; resident: [\d.]+ MB$/m);
    expect(stderr).toMatch(/^system calls: mmap \d+/m);
    const found = JSON.parse(readFileSync(json, 'utf8'));
    expect(found).toMatchObject({
      schema: 'libmalloc/run/1',
      proven: true,
      stats: { calls: { malloc: 200, calloc: 200 }, failed: 0 },
    });
    expect(found.statsByProcess).toHaveLength(1);
  });
});
