/** Promises of sharded beyond misuse.test.ts: blocks that were freed long ago, or written to since. */
import assert from 'node:assert/strict';
import { execa } from 'execa';
import { describe, test } from 'vitest';
import { compileProgram } from '../lib/compile.ts';
import { variantFile } from '../lib/variants.ts';

/** The pointer that the program printed, and the message with which it died. */
async function dies(program: string, args: (string | number)[]) {
  const { stdout, stderr, signal } = await execa(compileProgram(`${program}.c`), args.map(String), {
    env: { LD_PRELOAD: variantFile('sharded') },
    reject: false,
    timeout: 30_000,
  });
  const [pointer, survived] = stdout.split('\n');
  const what = [program, ...args].join(' ');
  assert.equal(survived, undefined, `${what}: nobody minded ${pointer}`);
  assert.equal(signal, 'SIGABRT', `${what}: ${signal} ${stderr}`);
  return { pointer, stderr, what };
}

/** Small, middle, of several granules, a run, and with a mapping of its own. */
const sizes = [16, 64, 1000, 3000, 20_000, 100_000, 3_000_000];

const since = [
  'at once',
  'after others',
  'with its page',
  'and purged',
  'by another thread that lives',
  'by another thread that ended',
  'and returned',
  'and drained',
  'by its owner, then by another thread',
  'by two other threads',
  'of a thread that ended',
];

describe('a block that was freed', () => {
  test.each(since)('%s: freeing it again is a double free', async (how) => {
    for (const size of sizes) {
      const { pointer, stderr, what } = await dies('misuse-stale', [how, size]);
      // If the page now holds blocks of another size, the malloc names the block that lies there.
      const said = `(double free of ${pointer}\\b|${pointer} is not a block: it lies )`;
      assert.match(stderr, new RegExp(`^libmalloc: free\\(\\): ${said}[^\\n]*$`), what);
    }
  });

  test.each(since)('%s: a block with its own mapping is already unmapped', async (how) => {
    const { pointer, stderr, what } = await dies('misuse-stale', [how, 40_000_000]);
    assert.match(stderr, new RegExp(`^libmalloc: free\\(\\): [^\\n]*${pointer}\\b[^\\n]*$`), what);
  });
});

describe('a free block that was written to', () => {
  const noticed = async (args: (string | number)[]): Promise<void> => {
    const { pointer, stderr, what } = await dies('misuse-written', args);
    assert.match(
      stderr,
      new RegExp(`^libmalloc: (malloc|free)\\(\\): [^\\n]*\\b${pointer}\\b[^\\n]*$`),
      what,
    );
  };
  const small = [16, 64, 1000, 3000, 20_000];

  test.each(Array.from({ length: 16 }, (_, i) => i + 1))(
    'by an overflow of %i bytes: is never handed out',
    async (bytes) => {
      for (const size of small) await noticed(['overflow', size, bytes]);
    },
  );

  // malloc checks eight bytes, for two instructions; all sixteen are checked when the page is returned.
  test.each(Array.from({ length: 8 }, (_, i) => i))(
    'at its byte %i: is never handed out, freed here or by another thread',
    async (at) => {
      for (const size of small) {
        await noticed(['late', size, at]);
        await noticed(['remote', size, at]);
      }
    },
  );

  test.each([1, 8, 16])('in its first %i bytes, and freed again, is noticed', async (bytes) => {
    for (const size of small) await noticed(['twice', size, bytes]);
  });
});

describe('an address that shares its low bits with a live block', () => {
  /** In GiB: one and two windows of the page table, up and down, and out of user space. */
  const away = [2048, 4096, -2048, -4096, 40_960, 131_072, 1_048_576, 8_388_608];
  const calls = ['realloc', 'malloc_usable_size', 'free_sized'];

  test.each(calls)('%s: is not a block', async (call) => {
    for (const gib of away)
      for (const size of [64, 3000, 100_000]) {
        const { pointer, stderr, what } = await dies('misuse-far', [call, gib, size]);
        assert.match(
          stderr,
          new RegExp(`^libmalloc: ${call}\\(\\): ${pointer} is not a block of this heap$`),
          what,
        );
      }
  });

  // A gap: its fast path reads the block before it knows the whole address, so where nothing is
  // mapped there the program ends by SIGSEGV, without a line.
  test('free: ends the program', async () => {
    const file = compileProgram('misuse-far.c');
    for (const gib of away)
      for (const size of [64, 3000, 100_000]) {
        const { stdout, signal } = await execa(file, ['free', `${gib}`, `${size}`], {
          env: { LD_PRELOAD: variantFile('sharded') },
          reject: false,
        });
        assert.match(`${signal}`, /^SIG(ABRT|SEGV)$/, `${gib} GiB from a block of ${size} bytes`);
        assert.match(stdout, /^0x[0-9a-f]+$/, 'nobody minded');
      }
  });
});
