/** fork, wherever it comes from and whatever goes on meanwhile (tests/programs/fork-*.c). */
import { describe, test } from 'vitest';
import { anywhere } from './lib/anywhere.ts';
import { compileLibrary, keeps, type Trial } from './lib/keeps.ts';
import { gap } from './lib/mallocs.ts';
import { everyVariant } from './lib/variants.ts';

describe.each(everyVariant)('%s', (variant) => {
  // Threads that allocate without end use up the machine on dumb: few forks, small blocks.
  const frugal = gap(variant, 'reuse') !== undefined;
  const scale = (args: Trial['args'], less: Trial['args']): Trial =>
    frugal ? { args: less, env: { LIBMALLOC_BLOCK: '4096' } } : { args };

  test('300 children of a process whose threads are inside malloc', () =>
    keeps(variant, 'fork-threads', scale([300, 4, 4000], [10, 2, 1000])));

  test('children of several threads that fork at the same time', () =>
    keeps(variant, 'fork-threads', scale([60, 2, 4000, 4], [3, 1, 1000, 4])));

  test('children while large blocks are mapped and unmapped', ({ skip }) => {
    const reason = gap(variant, 'sizes');
    return reason ? skip(reason) : keeps(variant, 'fork-threads', { args: [40, 3, 400_000] });
  });

  test('a signal handler forks that interrupted malloc, 200 times', () =>
    keeps(variant, 'fork-storm', scale([200, 0, 3000], [20, 0, 3000])));

  test('a signal handler forks while other threads are inside malloc, too', () =>
    keeps(variant, 'fork-storm', scale([100, 3, 3000], [10, 1, 3000])));

  test('a signal handler forks while other threads fork', () =>
    keeps(variant, 'fork-storm', scale([100, 1, 3000, 2], [10, 0, 3000, 2])));

  test.each(['self', 'other', 'waiting'] as const)(
    'fork at every twentieth instruction of every call (%s)',
    (mode) => anywhere(variant, mode, { parts: 80, of: [0, 1, 2, 3] }),
  );

  test.each([1000, 20_000, 300_000])('a frozen heap stays readable (blocks of %i bytes)', (size) =>
    keeps(variant, 'fork-frozen', {
      args: [gap(variant, 'sizes') ? Math.min(size, 60_000) : size],
      flags: ['-rdynamic'],
    }),
  );

  test('fork waits for fflush(NULL), which waits for getline, which allocates', () =>
    keeps(variant, 'fork-stdio'));

  test('handlers registered after ours allocate', () =>
    keeps(variant, 'fork-handlers', scale([100, 3], [4, 1])));

  test('handlers registered before ours allocate', () =>
    keeps(variant, 'fork-handlers', {
      ...scale([100, 3, 1], [4, 1, 1]),
      behind: [compileLibrary('fork-handlers')],
    }));

  test('fork and exec, vfork and exec, posix_spawn, system', () =>
    keeps(variant, 'fork-exec', scale([20, 3], [3, 1])));

  test('the child of a child of a child', () =>
    keeps(variant, 'fork-generations', scale([12, 2], [4, 1])));

  test('a fork that is refused changes nothing', () =>
    keeps(variant, 'fork-refused', scale([50, 2], [5, 1])));

  test('fork while another thread moves the program break', () =>
    keeps(variant, 'fork-break', { args: [50] }));

  test('fork when there is no memory left for a fresh heap', () =>
    keeps(variant, 'exhaustion-fork', scale([60, 3], [10, 2])));
});
