// Memory, addresses and mappings end; somebody else moves the break (tests/programs/exhaustion-*.c).

import { onX64, type ProgramCase } from '../case.ts';

/** Blocks in all that a malloc with O(n) calls is asked to keep, at most. */
const MANY = 3000;

function limit(resource: 'as' | 'data', size: number): ProgramCase {
  const mib = Math.ceil(Math.max(1, Math.min(16, (size * MANY) / 2 ** 20)));
  return {
    name: `${resource === 'as' ? 'ulimit-v' : 'ulimit-d'}-${size}`,
    promise: `when memory ends, every call says so, and what is freed can be had again (${
      resource === 'as' ? 'ulimit -v' : 'ulimit -d'
    }, blocks of ${size} bytes)`,
    level: 'should',
    promised: true,
    program: 'exhaustion-limit',
    args: [resource, 32, size],
    quick: size === 5000,
    // A limit on addresses leaves 30 MiB that the program does not need: too many small blocks to
    // walk past each time, so those are larger.
    slow: { args: [resource, mib, resource === 'as' ? Math.max(size, 2000) : size] },
    ...(size === 5000
      ? {
          frugal: { args: [resource, 16, 16384, 0], env: { LIBMALLOC_BLOCK: '16384' } },
          needs: ['exhaustion', 'lean'],
        }
      : {
          needs: ['exhaustion', 'reuse', 'sizes', ...(size < 5000 ? (['lean'] as const) : [])],
        }),
  };
}

const sizes = [200, 5000, 60_000, 300_000];

export const exhaustion: ProgramCase[] = [
  ...sizes.map((size) => limit('as', size)),
  ...sizes.map((size) => limit('data', size)),
  {
    name: 'each-call-fails',
    promise: 'whichever system call for memory fails, calls return NULL with ENOMEM or succeed',
    program: 'exhaustion-calls',
    args: ['once', 120],
    needs: ['exhaustion', 'reuse', 'sizes'],
    possible: onX64,
    quick: true,
  },
  {
    name: 'every-kth-call-fails',
    promise: 'every k-th system call for memory may fail, and nothing is lost or overwritten',
    program: 'exhaustion-calls',
    args: ['every', 12],
    needs: ['exhaustion', 'reuse', 'sizes'],
    possible: onX64,
  },
  ...[200_000, 20_000].map(
    (size): ProgramCase => ({
      name: `mappings-${size}`,
      promise: `with too many mappings free keeps errno and loses nothing (${size} bytes)`,
      level: 'should',
      promised: true,
      program: 'exhaustion-mappings',
      args: [400, size],
      strict: { args: [400, size, 3] },
      needs: ['exhaustion', 'reuse', 'lean'],
    }),
  ),
  {
    name: 'unmap-refused',
    promise:
      'free keeps errno when munmap and madvise are refused, and memory can be had as before',
    program: 'exhaustion-unmap',
    args: [10, 8 << 20],
    needs: ['reuse', 'sizes'],
    quick: true,
  },
  {
    name: 'limited-later',
    promise: 'a limit on addresses that a program sets later counts hardly more than it uses',
    level: 'should',
    promised: true,
    program: 'life-limited',
    args: [4096, 0],
    strict: { args: [4096, 1] },
    stdout: '*',
    needs: ['threads', 'exhaustion', 'sizes', 'lean'],
  },
  {
    name: 'locked',
    promise: 'mlockall locks hardly more than what is used, and memory can be had afterwards',
    level: 'should',
    promised: true,
    program: 'life-locked',
    args: [3, 0],
    possible: {
      command: ['sh', '-c', 'test "$(id -u)" = 0'],
      otherwise: 'only root may lock memory without a limit',
    },
    stdout: '*',
    needs: ['exhaustion', 'reuse', 'sizes', 'lean'],
  },
  {
    name: 'lazy',
    promise: 'gigabytes that nobody touches cost nothing',
    level: 'should',
    promised: true,
    program: 'exhaustion-lazy',
    args: [1024, 8],
    needs: ['lazyCalloc', 'sizes'],
  },
  ...[1, 2, 3].map(
    (seed): ProgramCase => ({
      name: `break-${seed}`,
      promise: `somebody else moves the program break, up and down (seed ${seed})`,
      program: 'break',
      args: [5000, 100_000, seed],
      frugal: { args: [2000, 60_000, seed] },
    }),
  ),
];
