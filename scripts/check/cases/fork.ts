// fork: from any thread or handler, whatever other threads do meanwhile (tests/programs/fork-*.c).

import { onX64, type ProgramCase } from '../case.ts';

/** Smaller blocks for dumb, because threads that allocate forever would use up all memory. */
const small = { LIBMALLOC_BLOCK: '4096' };

/** Which thread forks while a thread is inside malloc: see tests/programs/fork-anywhere.c. */
export type Mode = 'self' | 'other' | 'waiting';

/** Forks at each instruction of every call, as far as it lies in this part of them. */
export const stepped = (mode: Mode, part: number, parts: number): ProgramCase => ({
  name: `fork-anywhere-${mode}`,
  promise: `fork does no harm at any instruction of malloc (${mode})`,
  level: 'promise',
  program: 'fork-anywhere',
  args: [mode, 160, part, parts],
  frugal: { args: [mode, 16, part, parts], env: { LIBMALLOC_BLOCK: '16384' } },
  timeout: 110,
  possible: onX64,
});

const frozen = (size: number): ProgramCase => ({
  name: `fork-frozen-${size}`,
  promise: `a heap that was frozen at a fork stays readable (blocks of ${size} bytes)`,
  level: 'promise',
  program: 'fork-frozen',
  args: [size],
  frugal: { args: [Math.min(size, 60_000)] },
  flags: ['-rdynamic'],
  needs: ['alone'],
});

export const fork: ProgramCase[] = [
  {
    name: 'fork-threads',
    promise: 'if threads are inside malloc at a fork, the heap works in the child',
    program: 'fork-threads',
    args: [150, 4, 4000],
    frugal: { args: [10, 2, 1000], env: small },
    quick: true,
  },
  {
    name: 'fork-at-once',
    promise: 'several threads may fork at the same time',
    program: 'fork-threads',
    args: [60, 2, 4000, 4],
    frugal: { args: [3, 1, 1000, 4], env: small },
  },
  {
    name: 'fork-large',
    promise: 'a child forked while other threads map and unmap large blocks works',
    program: 'fork-threads',
    args: [40, 3, 400_000],
    needs: ['sizes'],
  },
  {
    name: 'fork-storm',
    promise: 'a signal handler that interrupted malloc may fork',
    level: 'promise',
    program: 'fork-storm',
    args: [200, 0, 3000],
    frugal: { args: [20, 0, 3000], env: small },
  },
  {
    name: 'fork-storm-threads',
    promise: 'a signal handler may fork while other threads are inside malloc, too',
    level: 'promise',
    program: 'fork-storm',
    args: [100, 3, 3000],
    frugal: { args: [10, 1, 3000], env: small },
  },
  {
    name: 'fork-storm-forks',
    promise: 'a signal handler may fork while other threads fork',
    level: 'promise',
    program: 'fork-storm',
    args: [100, 1, 3000, 2],
    frugal: { args: [10, 0, 3000, 2], env: small },
  },
  ...[1000, 20_000, 300_000].map(frozen),
  {
    name: 'fork-emptied',
    promise: 'a child that was forked inside malloc can free blocks of another thread',
    level: 'promise',
    program: 'fork-emptied',
    args: [20],
    flags: ['-rdynamic'],
    needs: ['alone'],
  },
  ...(['self', 'other', 'waiting'] as const).map((mode) => stepped(mode, 7, 80)),
  {
    name: 'fork-stdio',
    promise:
      'nothing hangs when fork waits for fflush(NULL), which waits for getline, which allocates',
    level: 'promise',
    program: 'fork-stdio',
  },
  {
    name: 'fork-handlers-after',
    promise: 'pthread_atfork handlers registered after malloc’s own may allocate',
    program: 'fork-handlers',
    args: [100, 3],
    frugal: { args: [4, 1], env: small },
  },
  {
    name: 'fork-handlers-before',
    promise: 'pthread_atfork handlers registered before malloc’s own may allocate',
    level: 'promise',
    program: 'fork-handlers',
    args: [100, 3, 1],
    frugal: { args: [4, 1, 1], env: small },
    behind: { program: 'fork-handlers' },
  },
  {
    name: 'fork-exec',
    promise: 'fork and exec, vfork and exec, posix_spawn and system work beside other threads',
    program: 'fork-exec',
    args: [20, 3],
    frugal: { args: [3, 1], env: small },
    quick: true,
  },
  {
    name: 'fork-generations',
    promise: 'the heap works in the child of a child of a child',
    program: 'fork-generations',
    args: [12, 2],
    frugal: { args: [4, 1], env: small },
  },
  {
    name: 'fork-reuse',
    promise: 'a child reuses memory that its parent allocated and the child freed',
    program: 'fork-reuse',
    args: [20_000, 1000, 3, 0, 75],
    slow: { args: [2000, 2000, 3, 0, 75] },
    needs: ['reuse', 'lean'],
    quick: true,
  },
  {
    name: 'fork-reuse-threads',
    promise: 'a child reuses memory that other threads of its parent allocated and the child freed',
    level: 'should',
    promised: true,
    program: 'fork-reuse',
    args: [40_000, 1000, 3, 1, 25],
    slow: { args: [4000, 6000, 2, 1, 25] },
    needs: ['reuse', 'sizes', 'lean'],
  },
  ...(['inherited', 'blocked'] as const).map(
    (how): ProgramCase => ({
      name: `fork-${how}`,
      promise: `fifteen generations that each free what they inherited need no more memory than one${
        how === 'blocked' ? ', with all signals blocked' : ''
      }`,
      program: 'life-generations',
      args: [how === 'blocked' ? 'all' : 'none', 15, 20_000, 500],
      slow: { args: [how === 'blocked' ? 'all' : 'none', 15, 3000, 3000] },
      stdout: '*',
      needs: ['reuse', 'lean'],
    }),
  ),
  {
    name: 'fork-exit',
    promise:
      'a child, whichever thread forked it, may end by exit, by quick_exit or with its last thread',
    program: 'fork-exit',
    args: [18],
    quick: true,
  },
  {
    name: 'vfork',
    promise: 'a child of vfork may allocate and free, and its parent’s heap stays intact',
    level: 'should',
    promised: true,
    program: 'life-vfork',
    args: [1, 60_000, 20],
    frugal: { args: [1, 2000, 20], env: { LIBMALLOC_BLOCK: '8192' } },
  },
  {
    name: 'fork-refused',
    promise: 'a fork that the system refuses changes nothing',
    program: 'fork-refused',
    args: [50, 2],
    frugal: { args: [5, 1], env: small },
  },
  {
    // A malloc on the break can avoid this crash only by testing whether the memory exists. glibc
    // and tcmalloc do not: about one in a hundred such children dies of SIGSEGV.
    level: 'promise',
    name: 'fork-break',
    promise: 'a child forked while another thread moves the program break works',
    program: 'fork-break',
    args: [50],
  },
  {
    name: 'fork-exhausted',
    promise: 'fork does not hang when there is no memory left',
    program: 'exhaustion-fork',
    args: [60, 3],
    frugal: { args: [10, 2], env: small },
    needs: ['exhaustion'],
  },
];
