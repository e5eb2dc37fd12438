/** Addresses that cannot be guessed, and free blocks that an attacker writes to (tests/programs/life-*.c). */
import { describe, expect, test } from 'vitest';
import { keeps, outputOf } from '../lib/keeps.ts';
import { gap } from '../lib/mallocs.ts';
import { everyVariant } from '../lib/variants.ts';

const able = everyVariant.filter((name) => !gap(name, 'sizes') && !gap(name, 'reuse'));
const RUNS = 5;

describe.each(able)('%s', (variant) => {
  const sizes = variant === 'sharded' ? [16, 64, 1000, 20_000] : [16, 1000];

  test.each([64, 300])('addresses differ from run to run, a block of %i MiB too', async (mib) => {
    const seen = new Map<string, Set<string>>();
    for (let run = 0; run < RUNS; run++) {
      const text = await outputOf(variant, 'life-random', { args: [mib * 2 ** 20] });
      for (const line of text.trim().split('\n')) {
        const [kind = '', address = ''] = line.split(' ');
        seen.set(kind, (seen.get(kind) ?? new Set()).add(address));
      }
    }
    expect([...seen.keys()]).toEqual(['first', 'large', 'huge', "thread's", 'last']);
    for (const [kind, addresses] of seen)
      expect(addresses.size, `${kind}: ${[...addresses]}`).toBeGreaterThanOrEqual(RUNS - 1);
  });

  test.each(sizes)('a forged link in a free block of %i bytes is noticed or useless', (size) =>
    keeps(variant, 'life-forged', { args: [size] }),
  );

  test.each(sizes)(
    'earlier or foreign content of free blocks of %i bytes is noticed or useless',
    (size) => keeps(variant, 'life-replayed', { args: [size, 16] }),
  );
});

describe.each(able.filter((name) => name !== 'list'))('%s', (variant) => {
  test.each([48, 128, 500])(
    'the secrets of two pages with blocks of %i bytes do not help to forge a link in a third',
    (size) => keeps(variant, 'life-leaked', { args: [size] }),
  );
});

describe('the debug build of sharded', () => {
  test.each([64])('a forged or copied link in a free block of %i bytes', async (size) => {
    await keeps('sharded', 'life-forged', { debug: true, args: [size] });
    await keeps('sharded', 'life-replayed', { debug: true, args: [size, 16] });
  });
});
