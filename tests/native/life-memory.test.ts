/** Memory over a long life: touched pages, returned memory, time of a call (tests/programs/life-*.c). */
import { describe, expect, test } from 'vitest';
import { glibc } from '../../scripts/malloc/mallocs.ts';
import { keeps, outputOf, type Trial } from '../lib/keeps.ts';
import { gap } from '../lib/mallocs.ts';
import { everyVariant } from '../lib/variants.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** A variant that neither reuses memory nor knows sizes can promise nothing here. */
const able = everyVariant.filter((name) => !gap(name, 'sizes') && !gap(name, 'reuse'));
/** Those whose calls do not walk past every block. */
const quick = able.filter((name) => name !== 'list');

type Arguments = (string | number)[];

/** A test for each line of arguments. */
function each(
  variant: string,
  program: string,
  promise: string,
  lines: Arguments[],
  trial?: Trial,
) {
  test.each(lines.map((args) => ({ args, line: args.join(' ') })))(
    `${program} $line: ${promise}`,
    ({ args }) => keeps(variant, program, { ...trial, args }),
  );
}

describe.each(able)('%s', (variant) => {
  each(variant, 'life-sparse', 'a large buffer costs what is touched of it', [
    [MiB, 2000, 16],
    [300_000, 2000, 16],
    [100_000, 2000, 16],
    [40_000, 1000, 0],
    [5 * MiB, 300, 64],
  ]);

  each(variant, 'life-refusals', 'what the kernel refuses costs no addresses', [
    [1_000_000, 40, 0],
    [1_000_000, 40, 8],
    [100_000, 40, 8],
    [15_000_000, 40, 8],
    ...(variant === 'list' ? [] : [[2000, 40, 8]]),
  ]);

  test.each([0, 4])(
    'life-addresses: a small process with %i threads more uses about the addresses that it uses under glibc',
    async (threads) => {
      const trial = { args: [threads] };
      const [ours, theirs] = [
        await outputOf(variant, 'life-addresses', trial),
        await outputOf(glibc.name, 'life-addresses', trial),
      ].map((text) =>
        text
          .trim()
          .split(' ')
          .map((kib) => Number(kib) * KiB),
      );
      const [all = 0, readable = 0] = ours ?? [];
      const [allOfGlibc = 0, readableOfGlibc = 0] = theirs ?? [];
      expect(all - allOfGlibc, 'bytes of addresses more').toBeLessThanOrEqual(GiB);
      expect(readable - readableOfGlibc, 'readable bytes more').toBeLessThanOrEqual(8 * MiB);
    },
  );

  each(variant, 'life-limited', 'a limit on addresses that comes later leaves room', [
    [2048],
    [4096],
  ]);

  each(variant, 'life-churn', 'brief threads leave nothing behind', [
    [200, variant === 'sharded' ? 600 : 150],
    ...(variant === 'list' ? [] : [[1000, variant === 'sharded' ? 600 : 150]]),
  ]);
});

describe.each(quick)('%s', (variant) => {
  each(variant, 'life-untouched', 'addresses have no limit of ours', [
    [100, 330],
    [31, 300],
    [8, 280],
  ]);

  each(variant, 'life-trimmed-again', 'malloc_trim gives the same memory back each time', [
    [20_000, 80],
    [8192, 80],
    [700, 40],
  ]);

  each(variant, 'life-locked-piece', 'memory that was freed locked can be handed out again', [
    [256, 20_000],
    [3000, 4000],
  ]);

  each(variant, 'structure-regrown', 'blocks that grew leave no trace for others', [[]]);

  each(variant, 'life-owner', 'malloc_trim reaches what an idle owner has', [
    ['sleeps', 'trim'],
    ['ended', 'trim'],
    ['sleeps', 'trim', 4000, 30_000],
  ]);

  each(variant, 'life-consumers', 'what idle threads hold back is bounded in bytes', [
    [200, 63, 8000],
    [200, 63, 2000],
    [60, 63, 32_000],
    [40, 400, 500],
  ]);

  each(variant, 'life-shrink', 'a realloc to a half gives the other half back', [
    [256 * MiB, 256],
    [24 * MiB, 240],
    [MiB, 128],
    [100_000, 128],
  ]);

  each(variant, 'life-near-fits', 'free runs that are too short are not looked at one by one', [
    [5000],
  ]);

  each(variant, 'life-longest-malloc', 'remote frees are taken over in portions', [
    [3_000_000, 48],
    [100_000, 500],
  ]);
});

// paged returns every empty span and every large block at once; glibc returns memory at its top.
describe('sharded', () => {
  const variant = 'sharded';

  each(variant, 'life-burst', 'memory goes back while small traffic goes on', [
    [1_500_000, 128, 1],
    [400_000, 128, 4],
    [3000, 100_000, 1],
    [10_000, 20_000, 1],
  ]);

  each(variant, 'life-idle', 'memory goes back while single small blocks come and go', [
    [112, 'small'],
    [20_000, 'small'],
    [300_000, 'small'],
  ]);

  each(variant, 'life-idle', 'memory goes back when nothing else happens', [
    [112, 'nothing'],
    [20_000, 'nothing'],
    [300_000, 'nothing'],
  ]);

  each(variant, 'life-owner', 'memory of an idle owner is of use to others', [
    ['sleeps', 'reuse'],
    ['ended', 'reuse'],
    ['sleeps', 'reuse', 1_000_000, 112, 400],
    ['sleeps', 'reuse', 4000, 30_000, 112],
  ]);

  each(variant, 'life-spike', 'after a spike little more is left than pages with a live block', [
    [200_000, 0, 'small'],
    [200_000, 0, 'trim'],
    [300_000, 200, 'trim'],
    [100_000, 6000, 'small'],
    [20_000, 30_000, 'trim'],
    [200_000, 0, 'nothing', 20],
    [100_000, 6000, 'nothing', 20],
  ]);

  each(variant, 'life-purged', 'memory that went back from inside of a page is handed out again', [
    ['none', 200],
    ['none', 1000],
  ]);

  test.each([
    ['twice', 200],
    ['written', 200],
    ['twice', 1000],
    ['written', 1000],
  ])('life-purged %s %i: misuse of a block without memory is noticed', (misuse, size) =>
    keeps(variant, 'life-purged', { args: [misuse, size], status: 134, stderr: /libmalloc: / }),
  );

  each(variant, 'life-longest-free', 'idle memory goes back in portions', [[3000]]);

  each(variant, 'life-cache-sets', 'large blocks begin in many cache sets', [
    [60_000],
    [100_000],
    [300_000],
  ]);

  each(variant, 'life-mallinfo', 'mallinfo2 walks no blocks', [[4_000_000], [1_000_000]]);
});
