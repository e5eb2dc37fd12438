// Bench on real runs: the launcher and the counter are right, and a run reports failures. No time is
// asserted, only facts that hold on any machine.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { choose, readCatalog } from '../../scripts/bench/catalog.ts';
import { compete } from '../../scripts/bench/compete.ts';
import {
  type Contest,
  prepareCommand,
  prepareProgram,
  prepareWorkload,
} from '../../scripts/bench/contest.ts';
import { measureRun, type Run } from '../../scripts/bench/measured.ts';
import { EMPTY, measureStart } from '../../scripts/bench/start.ts';
import { workloadProgram } from '../../scripts/bench/workload.ts';
import { defaultVariant, type Malloc, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { probe } from '../../scripts/malloc/preload.ts';
import { cli, libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { interruptWhen } from '../lib/interrupt.ts';
import { need } from '../lib/need.ts';

const glibc = resolveMalloc('glibc');
const ours = resolveMalloc(defaultVariant());
const MiB = 2 ** 20;

const folder = testFolder();

/** A run of a shell script, which must not fail. */
async function shell(script: string, malloc = glibc, times = 1): Promise<Run> {
  const run = await measureRun(malloc, ['/bin/sh', '-c', script], { timeout: 30, times });
  if (typeof run === 'string') throw new Error(run);
  return run;
}

describe('the launcher', () => {
  test('a small process is measured as small, however large this one is', async () => {
    const run = await measureRun(glibc, ['/bin/true'], { timeout: 10 });
    expect(process.memoryUsage().rss).toBeGreaterThan(30 * MiB);
    expect(run).toMatchObject({ status: 0 });
    expect((run as Run).peak).toBeGreaterThan(MiB / 4);
    expect((run as Run).peak).toBeLessThan(4 * MiB);
    expect((run as Run).faults).toBeGreaterThan(10);
  });

  test('peak memory is that of the largest descendant', async () => {
    const held = 'head -c 64M /dev/zero | tail -c 64M | wc -c';
    expect((await shell(held)).peak).toBeGreaterThan(60 * MiB);
    expect((await shell(held)).peak).toBeLessThan(160 * MiB);
  });

  test('CPU time and page faults include all descendants, even those that no parent waited for', async () => {
    const loop = 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done';
    const alone = await shell(loop);
    const child = await shell(`sh -c '${loop}'; true`);
    const orphan = await shell(`(sh -c '${loop}' & ) | cat; sleep 0.3`);
    for (const { cpu } of [child, orphan]) expect(cpu).toBeGreaterThan(alone.cpu * 0.3);
    expect(alone.cpu).toBeGreaterThan(0.01);
    expect(orphan.wall).toBeGreaterThan(0.29);
  });

  test('the library reaches the command, and no process before it', async () => {
    const maps = `grep -c ${ours.name} /proc/$PPID/maps; grep -q ${ours.name} /proc/$$/maps && echo in`;
    const [with_, without] = [await shell(maps, ours), await shell(maps)];
    const expected = await shell('echo 0; echo in');
    expect(with_.digest).toBe(expected.digest);
    expect(without.digest).toBe((await shell('echo 0')).digest);
  });

  test('only equal outputs have equal digests; all of a large output counts', async () => {
    const [first, same, other] = [
      await shell('seq 300000'),
      await shell('seq 300000'),
      await shell('seq 300001'),
    ];
    expect(first.digest).toBe(same.digest);
    expect(first.digest).not.toBe(other.digest);
    expect(first.digest).toMatch(/\/1988895$/);
  });

  test('several runs add up', async () => {
    const [one, ten] = [await shell('echo a'), await shell('echo a', glibc, 10)];
    expect(ten.faults).toBeGreaterThan(one.faults * 5);
    expect(ten.digest).toMatch(/\/20$/);
  });

  test('a status is a result, with the message; a signal and a timeout are failures', async () => {
    expect(await shell('echo why >&2; exit 3')).toMatchObject({ status: 3, said: 'why' });
    await expect(shell('kill -SEGV $$')).rejects.toThrow('killed by SIGSEGV');
    const late = await measureRun(glibc, ['/bin/sleep', '60'], { timeout: 0.5 });
    expect(late).toBe('no end within 0.5 s');
  });

  test('a process left behind in the background does not hold it up', async () => {
    expect((await shell('sleep 20 & echo done')).wall).toBeLessThan(19);
  });
});

describe('a contest', () => {
  const entry = readCatalog().workloads.find(({ name }) => name === 'batch-random');
  const plan = { runs: 1, amount: 'tiny', timeout: 20 } as const;
  const library = (source: string, ...flags: string[]): Malloc => {
    const file = compileProgram(source, { flags: ['-shared', '-fPIC', ...flags] });
    return { name: source, kind: 'file', file };
  };
  const batch = () => prepareWorkload(entry as NonNullable<typeof entry>) as Contest;

  test('a crash, mixed-up blocks and a library without malloc give different reasons', async () => {
    const none: Malloc = { name: 'none', kind: 'file', file: probe() };
    const mallocs = [
      library('overlap.c', '-DENDS=10000'),
      library('overlap.c'),
      library('broken.c'),
      none,
      ours,
      glibc,
    ];
    const { standings } = await compete(batch(), mallocs, plan);
    const [crashes, overlaps, partial, absent, good, reference] = standings;
    expect(crashes?.failed).toBe('killed by SIGABRT');
    expect(partial?.failed).toMatch(/^broken.c has no calloc and no realloc: .*libc/);
    expect(overlaps?.failed).toBe('its output is not that under glibc');
    expect(absent?.failed).toMatch(/^none defines neither malloc nor any o/);
    for (const { cpu, peak, failed } of [good, reference] as (typeof standings)[number][]) {
      expect(failed).toBeUndefined();
      expect(cpu?.median).toBeGreaterThan(0);
      expect(peak?.median).toBeGreaterThan(MiB / 4);
    }
  });

  test('a program that is not installed is absent, with its package; one without a package is named', () => {
    const base = { about: '', amount: { full: 1, quick: 1, tiny: 1 } };
    const sqlite = { ...base, name: 's', needs: ['nosuch', 'sh'], command: ['nosuch'] };
    expect(prepareProgram(sqlite)).toEqual({
      name: 's',
      reason: 'needs nosuch: apt-get install nosuch',
    });
  });

  test('an input is made once for each amount', () => {
    const gawk = readCatalog().programs.find(({ name }) => name === 'gawk');
    need('gawk');
    const { argv } = prepareProgram(gawk as NonNullable<typeof gawk>) as Contest;
    const file = argv('tiny').at(-1) ?? '';
    expect(argv('tiny').at(-1)).toBe(file);
    expect(readFileSync(file, 'utf8').split('\n').length).toBeGreaterThan(400);
  });

  test('a command that no preload would reach is refused before anything is measured', () => {
    const still = workloadProgram('measure.c', ['-static']);
    expect(() => prepareCommand([still])).toThrow(/static/);
    expect(() => prepareCommand(['nosuch-command'])).toThrow(/no such program/);
  });
});

test('the start of a process: an empty library costs something, ours a little more', async () => {
  const { starts, uncounted } = await measureStart([ours, glibc], { runs: 2, times: 5 });
  expect(starts.map(({ malloc }) => malloc)).toEqual([EMPTY, ours.name, 'glibc']);
  const [empty, own, plain] = starts;
  for (const { cpu, faults, failed } of starts) {
    expect(failed).toBeUndefined();
    expect(cpu?.median).toBeGreaterThan(0);
    expect(faults?.median).toBeGreaterThan(20);
  }
  expect(empty?.overEmpty?.median).toBe(1);
  if (uncounted !== undefined) return;
  expect(empty?.calls).toBeGreaterThan(plain?.calls ?? Number.NaN);
  expect(own?.calls, 'sharded needs other calls than glibc').not.toBe(empty?.calls);
  expect(Math.abs((own?.calls ?? 0) - (empty?.calls ?? 0))).toBeLessThan(40);
  expect(plain?.resident).toBeGreaterThan(MiB / 2);
  expect(plain?.resident).toBeLessThan(4 * MiB);
});

describe('the command line', () => {
  test('a workload: a table, a JSON document, a picture', async () => {
    const [json, svg] = [join(folder, 'r.json'), join(folder, 'r.svg')];
    const words = ['bench', 'tight-16', 'spawn', '-m', ours.name, '--quick', '--runs', '1'];
    const { status, stdout } = await libmalloc([...words, '--json', json, '--svg', svg]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/tight-16 +CPU +\/ best/);
    const text = readFileSync(json, 'utf8');
    expect(text.indexOf('"schema": "libmalloc/bench/1"')).toBeLessThan(10);
    const { contests, provenance } = JSON.parse(text);
    expect(provenance.mallocs).toHaveProperty('glibc');
    expect(contests.plan).toMatchObject({ runs: 1, amount: 'quick' });
    expect(contests.peers).toEqual({ debian: ['glibc'], all: ['glibc'] });
    expect(contests.contests.map(({ name }: { name: string }) => name)).toEqual([
      'tight-16',
      'spawn',
    ]);
    for (const { standings } of contests.contests)
      for (const standing of standings)
        expect(standing).toMatchObject({
          cpu: {
            median: expect.any(Number),
            low: expect.any(Number),
            high: expect.any(Number),
            runs: 1,
          },
          wall: { runs: 1 },
          peak: { runs: 1 },
          faults: { runs: 1 },
        });
    expect(readFileSync(svg, 'utf8')).toContain('>spawn<');
  });

  test('a command: its options are not parsed, any status is accepted, varying output is not compared', async () => {
    const words = ['bench', '-m', ours.name, '--runs', '2', '--version-of', `${ours.name}=mine`];
    const command = ['--', 'sh', '-c', 'echo $$; exit 3', '--quick'];
    const { status, stdout } = await libmalloc([...words, '--json', '-', ...command]);
    expect(status).toBe(0);
    const { contests, provenance } = JSON.parse(stdout);
    expect(contests.contests[0]).toMatchObject({
      name: 'sh -c echo $$; exit 3 --quick',
      kind: 'command',
      note: expect.stringMatching(/varies/),
    });
    expect(contests.contests[0].standings[0]).not.toHaveProperty('failed');
    expect(provenance.mallocs[ours.name]).toBe('mine');
  });

  test.each([
    [['--runs', '0'], 'whole number'],
    [['--'], 'no command after --'],
    [['-m', 'nosuch', 'tight-16'], 'unknown malloc: nosuch'],
    [['--version-of', 'x', 'tight-16'], 'give NAME=TEXT'],
  ])('%j is refused: %s', async (words, message) => {
    const { status, stderr } = await libmalloc(['bench', ...words]);
    expect(status).not.toBe(0);
    expect(stderr).toContain(message);
  });
});

test('Ctrl-C ends a bench with what was measured so far, and says what was not', async () => {
  const file = join(folder, 'interrupted.json');
  const words = [...cli, 'bench', 'tight', '-m', 'glibc', '--runs', '50', '--json', file];
  expect(await interruptWhen(words, 'measure-')).toBe(130);
  const { contests, absent } = JSON.parse(readFileSync(file, 'utf8')).contests;
  expect(absent.length, 'the one under way and those after it').toBeGreaterThan(0);
  expect(absent.at(-1)).toEqual({ name: 'tight-drawn', reason: 'interrupted' });
  const all = [...contests, ...absent].map(({ name }) => name);
  expect(all).toEqual(choose(['tight'], readCatalog()).workloads.map(({ name }) => name));
});
