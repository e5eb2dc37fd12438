// Many threads on one heap (tests/programs/threads-*.c).

import type { ProgramCase } from '../case.ts';

/** A malloc that never reuses a block is given less to do, in smaller blocks. */
const small = { LIBMALLOC_BLOCK: '8192' };
/** Blocks in quarantine are no leak. */
const noQuarantine = { env: { LIBMALLOC_DEBUG: 'quarantine=0' } };

export const threads: ProgramCase[] = [
  {
    name: 'private',
    promise: 'threads that share nothing but malloc do not notice each other',
    program: 'threads-private',
    args: [8, 20_000, 200, 40_000],
    frugal: { args: [8, 1000, 100, 8000], env: small },
    quick: true,
  },
  {
    name: 'private-large',
    promise: 'threads that share nothing but malloc do not notice each other in large blocks',
    program: 'threads-private',
    args: [4, 2000, 20, 1_000_000],
    needs: ['sizes'],
  },
  {
    name: 'exchange-mutex',
    promise: 'threads free the blocks of others, handed over by a mutex',
    program: 'threads-exchange',
    args: ['mutex', 4, 4, 20_000, 4000],
    frugal: { args: ['mutex', 4, 4, 2000, 4000], env: small },
  },
  {
    name: 'exchange-ring',
    promise: 'threads free the blocks of others, handed over by a ring without a lock',
    program: 'threads-exchange',
    args: ['ring', 4, 4, 20_000, 4000],
    frugal: { args: ['ring', 4, 4, 2000, 4000], env: small },
    quick: true,
  },
  {
    name: 'exchange-many-to-one',
    promise: 'many threads produce blocks and one frees them all',
    program: 'threads-exchange',
    args: ['ring', 8, 1, 5000, 20_000],
    frugal: { args: ['ring', 8, 1, 500, 4000], env: small },
  },
  {
    name: 'exchange-one-to-many',
    promise: 'one thread produces blocks and many free them',
    program: 'threads-exchange',
    args: ['ring', 1, 8, 5000, 20_000],
    frugal: { args: ['ring', 1, 8, 500, 4000], env: small },
  },
  {
    name: 'aligned',
    promise: 'aligned blocks are nobody else’s, however many threads ask at once',
    program: 'threads-aligned',
    args: [6, 5000, 20_000],
    frugal: { args: [6, 300, 8000, 65536], env: small },
    needs: ['aligned_alloc', 'posix_memalign', 'memalign'],
  },
  {
    name: 'births',
    promise: 'threads come and go, and the next free what they left',
    program: 'threads-births',
    args: [200, 8],
    frugal: { args: [20, 8], env: small },
  },
  {
    name: 'births-bounded',
    promise: 'memory stays bounded over 2,000 threads that come and go',
    program: 'threads-births',
    args: [250, 8, 48_000],
    strict: { args: [250, 8, 4000] },
    guarded: noQuarantine,
    needs: ['reuse'],
    quick: true,
  },
  {
    name: 'destructors',
    promise: 'destructors of keys and of thread-local objects allocate and free',
    program: 'threads-destructors',
    args: [500],
    frugal: { args: [20], env: { LIBMALLOC_BLOCK: '40000' } },
  },
  {
    name: 'destructors-bounded',
    promise: 'memory stays bounded over 1,000 threads whose destructors allocate',
    program: 'threads-destructors',
    args: [1000, 64_000],
    strict: { args: [1000, 2000] },
    guarded: noQuarantine,
    needs: ['reuse'],
  },
  {
    name: 'keys',
    promise: 'a program may use all 1,024 pthread keys',
    program: 'threads-keys',
    level: 'should',
    promised: true,
  },
  {
    name: 'stack',
    promise: 'the smallest stack that a thread can have is large enough for every call',
    program: 'threads-stack',
    args: [10_000_000],
    frugal: { args: [60_000] },
  },
  {
    name: 'cancel',
    promise: 'malloc is no cancellation point, even while others fork',
    program: 'threads-cancel',
    args: [20, 5000],
    frugal: { args: [2, 3000], env: small },
  },
];
