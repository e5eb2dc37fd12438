/** Processes that fork, lock memory, set limits and install filters (tests/programs/life-*.c). */
import { describe, expect, test } from 'vitest';
import { glibc } from '../../scripts/malloc/mallocs.ts';
import { keeps, outputOf } from '../lib/keeps.ts';
import { gap } from '../lib/mallocs.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant } from '../lib/variants.ts';

const able = everyVariant.filter((name) => !gap(name, 'sizes') && !gap(name, 'reuse'));

/** Release builds of all, and the debug build of the one with threads of its own. */
const builds: [string, { variant: string; debug: boolean }][] = [
  ...able.map((variant): (typeof builds)[number] => [variant, { variant, debug: false }]),
  ['the debug build of sharded', { variant: 'sharded', debug: true }],
];

/** libstdc++ allocates before any thread runs, and before the malloc has been initialised. */
const withLibstdcxx = ['-Wl,--no-as-needed', '-lstdc++'];

describe.each(builds)('%s', (_, { variant, debug }) => {
  const few = variant === 'list' || debug;

  test.each(['none', 'SIGCHLD', 'all'])(
    'generations of a fork server need no more memory, signals blocked: %s',
    (blocked) =>
      keeps(variant, 'life-generations', {
        debug,
        args: few ? [blocked, 10, debug ? 4000 : 1500, 2000] : [blocked, 15, 30_000, 200],
      }),
  );

  describe.each([
    { program: 'a C program', flags: [] },
    { program: 'a program with libstdc++', flags: withLibstdcxx },
  ])('$program', ({ flags }) => {
    test.each([
      ['has not used malloc', 0],
      ['has used malloc', 1],
    ])('a child of vfork may allocate, in a thread that %s', (_, used) =>
      keeps(variant, 'life-vfork', { debug, flags, args: [used, few ? 30_000 : 300_000] }),
    );

    test.each(['main', 'fresh', 'used'])(
      'a child of a raw clone may allocate, in a thread of this kind: %s',
      async (who) => {
        await keeps(variant, 'life-clone', { debug, flags, args: [who, 2000, 200] });
        await keeps(variant, 'life-clone', { debug, flags, args: [who, 200, 40_000] });
      },
    );
  });

  test.each([100, 5000, 200_000])(
    'free as the first call of a thread keeps errno when no addresses are left: %i bytes',
    (size) => keeps(variant, 'life-errno', { debug, args: [size] }),
  );
});

/** MCL_CURRENT, MCL_FUTURE, and MCL_ONFAULT on top of them. */
const flags = { current: 1, future: 2, both: 3, 'current on fault': 5, 'both on fault': 7 };

/** The program's output: the result of mlockall, KiB in small and in larger blocks. */
async function locked(variant: string, args: (string | number)[]) {
  const text = await outputOf(variant, 'life-locked', { args, timeout: 20 });
  const [said = '', small = 0, large = 0] = text.trim().split(' ');
  return { said, small: Number(small), large: Number(large) };
}

describe.each(able)('%s', (variant) => {
  test.each(Object.entries(flags))('mlockall as root: %s', async (_, value) => {
    if (process.getuid?.() !== 0) skip('only root may lock memory without a limit');
    const ours = await locked(variant, [value, 0]);
    expect(ours.said).toBe((await locked(glibc.name, [value, 0])).said);
  });

  test.each(
    Object.entries(flags).flatMap(([name, value]) =>
      [64, 8192].map((kib) => ({ name, value, kib })),
    ),
  )('mlockall as a user who may lock $kib KiB: $name', async ({ value, kib }) => {
    const ours = await locked(variant, [value, kib]);
    const theirs = await locked(glibc.name, [value, kib]);
    expect(ours.said).toBe(theirs.said);
    if (kib < 1024) return; // almost no memory can be locked
    expect(ours.small, 'KiB in small blocks').toBeGreaterThanOrEqual(theirs.small / 2);
    expect(ours.large, 'KiB in larger blocks').toBeGreaterThanOrEqual(theirs.large / 2);
  });

  test.each(['kill', 'refuse'])(
    'under a seccomp filter that allows only memory and futex calls, and otherwise does %s',
    (otherwise) => {
      const asGlibc = variant === 'list' ? 1 : 0; // it lives on the program break
      return keeps(variant, 'life-filter', { args: [otherwise, asGlibc, asGlibc ? 1 : 6] });
    },
  );

  test('blocks of the whole family, under a tool that replaces the exported functions', () => {
    const memcheck = [need('valgrind'), '-q', '--error-exitcode=9'];
    return keeps(variant, 'life-family', { via: memcheck });
  });

  test('blocks of the whole family', () => keeps(variant, 'life-family'));
});
