/** Many threads on one heap: what each variant promises them (tests/programs/threads-*.c). */
import { describe, test } from 'vitest';
import { keeps, type Trial } from './lib/keeps.ts';
import { gap } from './lib/mallocs.ts';
import { skip } from './lib/need.ts';
import { everyVariant } from './lib/variants.ts';

/** dumb takes new memory for each call and is given less to do, in smaller blocks. */
const block = { LIBMALLOC_BLOCK: '8192' };

describe.each(everyVariant)('%s', (variant) => {
  const frugal = gap(variant, 'reuse') !== undefined;
  const scale = (args: Trial['args'], less: Trial['args']): Trial =>
    frugal ? { args: less, env: block } : { args };

  test('threads that share nothing but malloc do not notice each other', () =>
    keeps(variant, 'threads-private', scale([8, 20_000, 200, 40_000], [8, 1000, 100, 8000])));

  test('one thread at a time gets large blocks as well', () =>
    frugal
      ? skip(gap(variant, 'sizes') ?? '')
      : keeps(variant, 'threads-private', { args: [4, 2000, 20, 1_000_000] }));

  test.each(['mutex', 'ring'])('threads free the blocks of others, handed over by a %s', (way) =>
    keeps(variant, 'threads-exchange', scale([way, 4, 4, 20_000, 4000], [way, 4, 4, 2000, 4000])),
  );

  test('many produce for one, and one for many', async () => {
    await keeps(
      variant,
      'threads-exchange',
      scale(['ring', 8, 1, 5000, 20_000], ['ring', 8, 1, 500, 4000]),
    );
    await keeps(
      variant,
      'threads-exchange',
      scale(['ring', 1, 8, 5000, 20_000], ['ring', 1, 8, 500, 4000]),
    );
  });

  test('aligned blocks are nobody else’s, however many threads ask at once', () =>
    keeps(variant, 'threads-aligned', scale([6, 5000, 20_000], [6, 300, 8000, 65536])));

  test('threads come and go, and the next free what they left', () =>
    keeps(variant, 'threads-births', scale([200, 8], [20, 8])));

  test('memory stays bounded over 2,000 threads', () =>
    frugal
      ? skip(gap(variant, 'reuse') ?? '')
      : keeps(variant, 'threads-births', { args: [250, 8, 4000] }));

  test('destructors of keys and of thread-local objects allocate and free', () =>
    keeps(variant, 'threads-destructors', {
      args: [frugal ? 20 : 500],
      env: { LIBMALLOC_BLOCK: '40000' },
    }));

  test('memory stays bounded over 1,000 threads whose destructors allocate', () =>
    frugal
      ? skip(gap(variant, 'reuse') ?? '')
      : keeps(variant, 'threads-destructors', { args: [1000, 2000] }));

  test('a program may use all 1,024 pthread keys', () => keeps(variant, 'threads-keys'));

  test('the smallest stack of a thread is large enough', () =>
    keeps(variant, 'threads-stack', { args: [gap(variant, 'sizes') ? 60_000 : 10_000_000] }));

  test('malloc is no cancellation point, even while others fork', () =>
    keeps(variant, 'threads-cancel', scale([20, 5000], [2, 3000])));
});
