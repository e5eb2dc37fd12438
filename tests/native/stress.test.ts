/** Thousands of threads, millions of blocks, and memory that may run out at any call. */
import { describe, test } from 'vitest';
import { keeps, outputOf } from '../lib/keeps.ts';
import { gap } from '../lib/mallocs.ts';
import { everyVariant } from '../lib/variants.ts';

/** Without variants that never reuse memory or walk past all chunks at each call. */
const strong = everyVariant.filter((name) => name !== 'list' && gap(name, 'reuse') === undefined);

describe.each(strong)('%s', (variant) => {
  test('5,000 threads are born and die, and their blocks outlive them', () =>
    keeps(variant, 'threads-churn', { args: [5000, 6, 2500] }));

  test('a thread ends while others free its blocks', () =>
    keeps(variant, 'threads-death', { args: [600, 150] }));

  test('pages in use are never among those that go back to the system', () =>
    keeps(variant, 'threads-purge', { args: [3, 1500, 1000] }));

  test.each([3000, 20_000])(
    'a thread that only frees keeps no memory from the others (blocks of %i bytes)',
    (size) => keeps(variant, 'threads-frees-only', { args: [64, size] }),
  );

  test('blocks pass along a chain of threads', () =>
    keeps(variant, 'threads-chain', { args: [4, 200_000, 2000, 4000] }));

  test('a block that is allocated and freed alone costs no page fault each time', () =>
    keeps(variant, 'lone-pairs'));

  test('a million live blocks', () => keeps(variant, 'many-live', { args: [1_000_000, 80] }));

  test.each(['before', 'after'])(
    'every allocation may fail, the address space being limited %s the start',
    (when) => keeps(variant, 'exhaustion-any', { args: [when, 3, 150_000, 24] }),
  );

  test('blocks below a limit are recognised wherever the kernel maps the program', async () => {
    for (let seed = 1; seed <= 12; seed++)
      await keeps(variant, 'exhaustion-any', { args: ['before', 3, 15_000, 24, seed] });
  });

  test('data that looks like free blocks never ends the program', () =>
    keeps(variant, 'data-like-free', { args: [20, 2] }));

  test('a thousand living threads cost little each', async ({ annotate }) => {
    const said = await outputOf(variant, 'threads-alive', { args: [1000, 64] });
    await annotate(said.trim());
  });
});
