/** Memory, addresses and mappings end; somebody else moves the break (tests/programs/exhaustion-*.c). */
import { describe, test } from 'vitest';
import { keeps } from './lib/keeps.ts';
import { gap } from './lib/mallocs.ts';
import { skip } from './lib/need.ts';
import { everyVariant } from './lib/variants.ts';

describe.each(everyVariant)('%s', (variant) => {
  const frugal = gap(variant, 'reuse') !== undefined;
  const slow = variant === 'list'; // each call walks all chunks, so fewer of them

  describe.each([
    ['as', 'ulimit -v'],
    ['data', 'ulimit -d'],
  ])('%s (%s)', (limit) => {
    test.each([200, 5000, 60_000, 300_000])(
      'blocks of %i bytes until there are no more',
      (size) => {
        if (frugal) {
          if (size !== 5000) skip(gap(variant, 'sizes') ?? '');
          const env = { LIBMALLOC_BLOCK: '16384' };
          return keeps(variant, 'exhaustion-limit', { args: [limit, 16, 16384, 0], env });
        }
        const mib = slow ? Math.max(1, Math.min(16, size / 300)) : 32;
        return keeps(variant, 'exhaustion-limit', { args: [limit, Math.ceil(mib), size] });
      },
    );
  });

  test.each([200_000, 20_000])(
    'too many mappings: free keeps errno, nothing is lost (%i bytes)',
    (size) =>
      frugal
        ? skip(gap(variant, 'reuse') ?? '')
        : keeps(variant, 'exhaustion-mappings', { args: [400, size] }),
  );

  test('gigabytes that nobody touches cost nothing', () => {
    const reason = gap(variant, 'lazyCalloc') ?? gap(variant, 'sizes');
    return reason ? skip(reason) : keeps(variant, 'exhaustion-lazy', { args: [1024, 8] });
  });

  test.each([1, 2, 3])('somebody else moves the break, up and down (seed %i)', (seed) =>
    keeps(variant, 'break', { args: frugal ? [2000, 60_000, seed] : [5000, 100_000, seed] }),
  );
});
