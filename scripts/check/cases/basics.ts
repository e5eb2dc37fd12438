// The preliminary cases: each is the smallest program that shows one cause of many failures.

import type { ProgramCase, Question } from '../case.ts';

/** A preliminary case: one C program of tests/programs that includes none of our headers. */
export interface Basic extends ProgramCase {
  question: Question;
}

const basic = (
  name: string,
  promise: string,
  question: Question,
  more: Partial<ProgramCase> = {},
): Basic => ({
  name,
  promise,
  program: `basics-${name}`,
  timeout: 30,
  quick: true,
  stdout: '*',
  frugal: { env: { LIBMALLOC_BLOCK: '131072' } },
  question,
  ...more,
});

const blocks = basic('blocks', 'two blocks that are live at the same time share no byte', {
  word: 'blocks',
  why: 'One part of a program overwrites the data of another.\nLook at how a block is split, and at what lies before the pointer that malloc returns.',
  standard: 'C23 7.24.4: each allocation yields an object disjoint from any other object.',
});

/** Run once blocks are known to be disjoint; each is independent of the others. */
const single: Basic[] = [
  basic('alignment', 'a block of 16 bytes or more is aligned to 16', {
    word: 'alignment',
    why: 'Compilers use instructions (movaps) that crash on a block that is aligned to 8 only.\nRound the header and every size up to a multiple of 16.',
    standard: 'C23 7.24.4: the pointer is suitably aligned for any type that fits into the size.',
  }),
  basic('null', 'free(NULL) does nothing, and realloc(NULL, n) is malloc(n)', {
    why: 'Programs free pointers that they never set, and grow buffers from NULL by realloc.\nBegin both functions with a test for NULL.',
    standard: 'C23 7.24.4.4: if ptr is a null pointer, no action occurs (realloc: as malloc).',
  }),
  basic(
    'calloc',
    'calloc returns zeroed memory, even where memory was used before',
    {
      word: 'calloc',
      why: 'Memory from the system is zero only before its first use.\nClear a reused block: all of its count * size bytes.',
      standard: 'C23 7.24.4.3: the space is initialised to all bits zero.',
    },
    { needs: ['calloc', 'blocks'] },
  ),
  basic(
    'realloc',
    'realloc keeps the contents, up to the smaller of both sizes',
    {
      word: 'realloc',
      why: 'A program that grows a block expects its data in the new one.\nCopy the smaller of both sizes before you free the old block.',
      standard: 'C23 7.24.4.7: the contents are the same up to the lesser of the two sizes.',
    },
    { needs: ['realloc', 'blocks'] },
  ),
  basic(
    'usable',
    'all bytes that malloc_usable_size counts belong to the block',
    {
      word: 'malloc_usable_size',
      why: 'Programs write to all of these bytes.\nCount from the pointer to the end of the block, without headers and without the next block.',
      standard: 'malloc_usable_size(3): the number of usable bytes, at least the size asked for.',
    },
    { needs: ['malloc_usable_size', 'blocks'] },
  ),
  basic('errno', 'free keeps errno', {
    word: 'errno',
    why: 'After an error, programs free what they hold and then report errno.\nSave errno before munmap, madvise or sbrk, and restore it.',
    standard: 'POSIX.1-2024 free: it shall not modify errno if ptr is null or a block.',
  }),
  basic('refusals', 'for impossible sizes the result is NULL', {
    word: 'refusals',
    why: 'A size that overflows when a header is added, or in calloc’s product, becomes a small one.\nRefuse sizes above PTRDIFF_MAX first; multiply with __builtin_mul_overflow.',
    standard: 'C23 7.24.4: if the space cannot be allocated, a null pointer is returned.',
  }),
  basic(
    'sizes',
    'malloc can allocate a block of 64 MiB, and a thousand of 100,000 bytes',
    {
      word: 'sizes',
      why: 'Cases that need more memory than that are skipped.\nA heap of a fixed size is enough for exercises; programs need one that grows.',
      standard: 'The standard sets no limit other than the available memory.',
    },
    { level: 'should', needs: ['sizes'] },
  ),
  basic(
    'reuse',
    'freed memory is reused',
    {
      word: 'reuse',
      why: 'A program that runs long enough uses up all memory of the machine.\nLet free put the block into a list, and malloc search that list first.',
      standard: 'C23 7.24.4.4: the space is made available for further allocation.',
    },
    { needs: ['reuse', 'free'] },
  ),
];

/** Run once refusals, reuse and speed are known. */
const limits: Basic[] = [
  basic(
    'enomem',
    'when malloc returns NULL, errno is ENOMEM',
    {
      word: 'enomem',
      why: 'Programs print strerror(errno) when malloc fails.\nSet errno to ENOMEM wherever you return NULL because there is no memory.',
      standard: 'POSIX.1-2024 malloc: otherwise it shall return a null pointer and set errno.',
    },
    { needs: ['refusals'] },
  ),
  basic(
    'exhaustion',
    'malloc returns NULL when memory runs out',
    {
      word: 'exhaustion',
      why: 'When mmap returns MAP_FAILED, or sbrk (void *)-1, the malloc uses that as an address.\nTest for it, and return NULL with ENOMEM.',
      standard: 'C23 7.24.4: if the space cannot be allocated, a null pointer is returned.',
    },
    { needs: ['reuse'], slow: { args: [200_000] } },
  ),
];

const threads = basic(
  'threads',
  'threads may allocate and free at the same time',
  {
    word: 'threads',
    why: 'Two threads inside malloc get the same block from the list.\nLock a pthread_mutex_t in every public function, or give each thread a heap.',
    standard: 'C23 7.24.4: allocation functions cause no data race, whichever threads call them.',
  },
  {
    needs: ['blocks', 'threads'],
    frugal: { args: [2000], env: { LIBMALLOC_BLOCK: '4096' } },
  },
);

const fork = basic(
  'fork',
  'a child may allocate although its parent had another thread inside malloc',
  {
    word: 'fork',
    why: 'The child inherits a lock whose holder, a thread of the parent, does not exist in the child.\nTake the lock in the prepare handler of pthread_atfork; release it in parent and child.',
    standard: 'POSIX leaves it open; glibc’s malloc allows it, and programs rely on it.',
  },
  { needs: ['blocks', 'threads', 'fork'], frugal: { env: { LIBMALLOC_BLOCK: '4096' } } },
);

/** Fails if calls cost more the more blocks are live; all that follows is that cases use smaller sizes. */
export const speed: ProgramCase = {
  name: 'speed',
  promise: 'a call costs the same however many blocks are live',
  program: 'basics-speed',
  stderr: /ns among/,
  level: 'should',
  quick: true,
  timeout: 30,
  needs: ['blocks', 'reuse', 'sizes'],
};

/** In the order in which they run: a wave needs the results of the waves before it. */
export const waves: Basic[][] = [[blocks], single, [...limits, threads], [fork]];
