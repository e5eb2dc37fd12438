// What becomes of memory: reuse, merging, holes, and the way back (tests/programs/structure-*.c).

import type { ProgramCase } from '../case.ts';

export const structure: ProgramCase[] = [
  {
    name: 'reuse',
    promise: 'what was freed is used again: a program that takes and drops does not grow',
    program: 'structure-reuse',
    args: [4096, 64, 65_536],
    slow: { args: [256, 32, 8192] },
    needs: ['reuse'],
    quick: true,
  },
  {
    name: 'steady',
    promise: 'memory stops growing while what lives stays the same',
    program: 'structure-steady',
    args: [20_000, 4000, 2_000_000, 50],
    slow: { args: [1000, 4000, 100_000, 50] },
    needs: ['reuse'],
    quick: true,
  },
  {
    name: 'handover',
    promise: 'blocks that another thread frees are used again',
    program: 'structure-handover',
    args: [100, 2048, 65_536],
    strict: { args: [100, 2048, 32_768] },
    slow: { args: [100, 64, 8192] },
    needs: ['threads', 'reuse'],
    quick: true,
  },
  {
    name: 'trim',
    promise: 'after malloc_trim, what is free is handed out again, and once',
    program: 'structure-trim',
    args: [],
    quick: true,
    needs: ['malloc_trim'],
  },
  {
    name: 'merge',
    promise: 'large blocks fit where many small ones were freed',
    level: 'should',
    promised: true,
    program: 'structure-merge',
    args: [65_536, 50],
    slow: { args: [256, 100] },
    needs: ['reuse'],
  },
  {
    name: 'fragment',
    promise: 'holes are bounded when every other block of each size is freed',
    level: 'should',
    promised: true,
    program: 'structure-fragment',
    args: [8192, 8, 300],
    slow: { args: [128, 8, 600] },
    needs: ['reuse', 'lean'],
  },
  ...[500, 5000, 100_000].map(
    (size): ProgramCase => ({
      name: `return-${size}`,
      promise: `memory that was freed returns to the system (blocks of ${size} bytes)`,
      level: 'should',
      promised: true,
      program: 'structure-return',
      args: [65_536, size, 25],
      slow: { args: [1024, Math.max(size, 1000), 50] },
      needs: size < 100_000 ? ['reuse', 'lean'] : ['reuse'],
    }),
  ),
];
