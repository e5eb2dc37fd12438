/** The same as stress.test.ts, in the sizes that the promises speak of. */
import { describe, test } from 'vitest';
import { keeps } from '../lib/keeps.ts';
import { gap } from '../lib/mallocs.ts';
import { everyVariant } from '../lib/variants.ts';

const strong = everyVariant.filter((name) => name !== 'list' && gap(name, 'reuse') === undefined);
const timeout = 600;

describe.each(strong)('%s', { timeout: (timeout + 30) * 1000 }, (variant) => {
  test('100,000 threads are born and die, and their blocks outlive them', () =>
    keeps(variant, 'threads-churn', { args: [100_000, 6, 3000], timeout }));

  test('100,000 threads, many at once', () =>
    keeps(variant, 'threads-churn', { args: [100_000, 48, 24_000], timeout }));

  test('a thread ends while others free its blocks, 20,000 times', () =>
    keeps(variant, 'threads-death', { args: [20_000, 150], timeout }));

  test('pages in use are never among those that go back to the system', () =>
    keeps(variant, 'threads-purge', { args: [6, 20_000, 3000], timeout }));

  test('a chain of twelve threads', () =>
    keeps(variant, 'threads-chain', { args: [12, 1_000_000, 3000, 12_000], timeout }));

  test('ten million live blocks', () =>
    keeps(variant, 'many-live', { args: [10_000_000, 80], timeout }));

  test.each([1, 2, 3, 4])('every allocation may fail (seed %i)', async (seed) => {
    await keeps(variant, 'exhaustion-any', { args: ['before', 6, 2_000_000, 32, seed], timeout });
    await keeps(variant, 'exhaustion-any', { args: ['after', 6, 2_000_000, 32, seed], timeout });
  });

  test('data that looks like free blocks never ends the program', () =>
    keeps(variant, 'data-like-free', { args: [400, 4], timeout }));
});
