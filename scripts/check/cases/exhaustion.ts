// Memory, addresses or mappings run out; other code moves the break (tests/programs/exhaustion-*.c).

import { onX64, type ProgramCase } from '../case.ts';

/** The most live blocks that a malloc with O(n) calls has to hold. */
const MANY = 3000;

function limit(resource: 'as' | 'data', size: number): ProgramCase {
  const mib = Math.ceil(Math.max(1, Math.min(16, (size * MANY) / 2 ** 20)));
  return {
    name: `${resource === 'as' ? 'ulimit-v' : 'ulimit-d'}-${size}`,
    promise: `when memory runs out, every call reports it, and freed memory can be allocated again (${
      resource === 'as' ? 'ulimit -v' : 'ulimit -d'
    }, blocks of ${size} bytes)`,
    level: 'should',
    promised: true,
    program: 'exhaustion-limit',
    args: [resource, 32, size],
    quick: size === 5000,
    // A limit on addresses leaves 30 MiB to fill. With small blocks these would be too many for a
    // malloc whose calls walk all of them, so its blocks are larger.
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
    promise: 'whichever system call for memory fails, calls succeed or return NULL with ENOMEM',
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
      promise: `when the process has too many mappings, free keeps errno and loses nothing (${size} bytes)`,
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
      'when munmap and madvise are refused, free keeps errno, and allocation works as before',
    program: 'exhaustion-unmap',
    args: [10, 8 << 20],
    needs: ['reuse', 'sizes'],
    quick: true,
  },
  {
    name: 'limited-later',
    promise:
      'under a limit on addresses set later, malloc counts little more than the program uses',
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
    promise: 'mlockall locks little more than the memory in use, and allocation works afterwards',
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
    promise: 'gigabytes that the program never touches take no memory',
    level: 'should',
    promised: true,
    program: 'exhaustion-lazy',
    args: [1024, 32],
    strict: { args: [1024, 8] },
    needs: ['lazyCalloc', 'sizes'],
  },
  ...[1, 2, 3].map(
    (seed): ProgramCase => ({
      name: `break-${seed}`,
      promise: `other code may move the program break, up and down (seed ${seed})`,
      program: 'break',
      args: [5000, 100_000, seed],
      frugal: { args: [2000, 60_000, seed] },
    }),
  ),
];
