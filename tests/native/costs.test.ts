/**
 * The costs of sharded's calls, in counts that are the same on every machine: instructions, atomic
 * operations, system calls, page faults. No test here reads a clock.
 */
import { describe, expect, test } from 'vitest';
import { orders } from '../../scripts/bench/pairs.ts';
import { EMPTY, measureStart, type Start } from '../../scripts/bench/start.ts';
import { type Options, type Section, stepWorkload } from '../../scripts/bench/workload.ts';
import { type Malloc, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { skip } from '../lib/need.ts';

/** The promised limits; lower them when the malloc gets cheaper. */
const budget = {
  /** Instructions of one malloc and one free, the worst of three orders, all checks in them. */
  pair: 42,
  /** The same beyond the sizes that malloc finds in a table: more than 1 KiB, at most 32 KiB. */
  pairOfMedium: 76,
  /** The same of a block beyond 32 KiB that the thread keeps, with one atomic operation. */
  pairOfLarge: 105,
  /** The same of a realloc that leaves a small block where it is. */
  stay: 29,
  /** Atomic operations for each block that another thread frees. */
  atomicsPerRemoteFree: { 32: 1 / 25, 1000: 0.35 },
  /** Above a process with an empty library preloaded. */
  startCalls: 12,
  startFaults: 20,
  /** Bytes above glibc's. */
  startResident: 300 * 1024,
  /** Instructions per call with a million live blocks, against a hundred. */
  growth: 1.3,
};

const sharded = resolveMalloc('sharded');
const long = process.env.LONG === '1';

/** Single-steps a workload: only some ten thousand steps, because each is slow on a busy machine. */
async function step(malloc: Malloc, workload: string, options: Options): Promise<Section[]> {
  const { sections, stopped } = await stepWorkload(malloc, workload, options);
  expect(stopped).toBeUndefined();
  for (const section of sections) expect(section.calls).toBeGreaterThan(0);
  return sections;
}

const perCall = (section: Section | undefined, what: 'instructions' | 'atomics'): number =>
  (section?.[what] ?? Number.NaN) / (section?.calls ?? 0);

const onlyHere = (): void => {
  if (process.arch !== 'x64') skip('atomic instructions are told apart on x86-64 only');
};

describe('a pair of malloc and free', () => {
  test.each([...orders.entries()])(
    `costs at most ${budget.pair} instructions, none of them atomic (order %i, %s)`,
    async (order) => {
      const [short, long] = await step(sharded, 'pairs', { order, pairs: 100, size: 32 });
      const instructions = ((long?.instructions ?? 0) - (short?.instructions ?? 0)) / 200;
      expect(instructions).toBeLessThanOrEqual(budget.pair);
      expect(instructions, 'fewer than any free list: nothing was counted').toBeGreaterThan(14);
      if (process.arch === 'x64') expect(long?.atomics).toBe(0);
    },
  );
});

test.each([
  ['medium', 16_384, 0, budget.pairOfMedium, 0],
  ['large', 65_536, 0, budget.pairOfLarge, 0],
  ['large', 65_536, 1, budget.pairOfLarge, 1],
])(
  'a pair of %s blocks (%i bytes; %i more threads): at most %i instructions, %i atomic',
  async (...row) => {
    const [, size, company, most, atomics] = row;
    const [short, long] = await step(sharded, 'pairs', { order: 0, pairs: 100, size, company });
    expect(((long?.instructions ?? 0) - (short?.instructions ?? 0)) / 200).toBeLessThanOrEqual(
      most,
    );
    if (process.arch === 'x64')
      expect(((long?.atomics ?? 0) - (short?.atomics ?? 0)) / 200).toBe(atomics);
  },
);

test(`a realloc that finds the room it wants: at most ${budget.stay} instructions`, async () => {
  const [short, long] = await step(sharded, 'stay', { calls: 100 });
  const instructions = ((long?.instructions ?? 0) - (short?.instructions ?? 0)) / 200;
  expect(instructions).toBeLessThanOrEqual(budget.stay);
  expect(instructions, 'fewer than it takes to look at the block').toBeGreaterThan(7);
});

describe('a block that another thread frees', () => {
  test.each([
    ['in order of allocation', 0],
    ['in any order', 1],
  ])(
    'costs few atomic operations, %s: what is held back is bounded in bytes',
    async (_name, order) => {
      onlyHere();
      for (const size of [32, 1000] as const) {
        const [section] = await step(sharded, 'remote', { order, size, blocks: 640 });
        const each = perCall(section, 'atomics');
        expect(each, `${size} bytes`).toBeLessThanOrEqual(budget.atomicsPerRemoteFree[size]);
        expect(each, 'none at all: no block can have been returned').toBeGreaterThan(0);
      }
    },
  );

  test('costs glibc at least one, by the same count', async () => {
    onlyHere();
    const options = { blocks: 200, size: 5000 }; // more than its cache per thread takes
    const [section] = await step(resolveMalloc('glibc'), 'remote', options);
    expect(perCall(section, 'atomics')).toBeGreaterThanOrEqual(1);
  });
});

describe('work per call', () => {
  /** Instructions per call with that many live blocks of 16 to 272 bytes, random ones replaced. */
  async function instructions(live: number): Promise<number> {
    const [section] = await step(sharded, 'curve', { live, calls: 400, age: live });
    return perCall(section, 'instructions');
  }
  let few: Promise<number> | undefined;

  test.each([1e4, 1e6, ...(long ? [1e7] : [])])(
    'is the same with %i live blocks as with a hundred',
    async (live) => {
      few ??= instructions(100);
      const [least, many] = [await few, await instructions(live)];
      expect(many / least, `${least} and ${many} instructions`).toBeLessThan(budget.growth);
    },
  );
});

describe('a process that has allocated one block', () => {
  const find = (starts: Start[], name: string): Start => {
    const start = starts.find(({ malloc }) => malloc === name);
    if (start === undefined || start.failed !== undefined)
      throw new Error(`${name}: ${start?.failed}`);
    return start;
  };

  test('made few system calls, touched few pages, and holds little memory', async ({
    annotate,
  }) => {
    const mallocs = [sharded, resolveMalloc('glibc')];
    const { starts, uncounted } = await measureStart(mallocs, { runs: 3, times: 5 });
    if (uncounted !== undefined) skip(`cannot count system calls: ${uncounted}`);
    const [empty, glibc, ours] = [EMPTY, 'glibc', 'sharded'].map((name) => find(starts, name));
    const calls = (ours?.calls ?? Number.NaN) - (empty?.calls ?? 0);
    const faults = (ours?.faults?.median ?? Number.NaN) - (empty?.faults?.median ?? 0);
    const resident = (ours?.resident ?? Number.NaN) - (glibc?.resident ?? 0);
    await annotate(JSON.stringify({ calls, faults, resident }));
    expect(calls).toBeLessThanOrEqual(budget.startCalls);
    expect(glibc?.calls, 'nothing was counted').not.toBe(empty?.calls);
    expect(faults).toBeLessThanOrEqual(budget.startFaults);
    expect(resident).toBeLessThanOrEqual(budget.startResident);
  });
});
