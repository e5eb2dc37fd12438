// The preliminary questions: each is the smallest program that shows one cause of many failures.

import type { ProgramCase, Question } from '../case.ts';

/** A question in one C program of tests/programs that includes nothing of ours. */
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

const calls = basic(
  'calls',
  'malloc and free return, and every block can be written',
  {
    lacks: ['calls'],
    why: 'Every program makes these calls, so nothing else can be asked.\nLook at the call below in GDB: a list with a cycle never ends, a broken header leads astray.',
    standard: 'C23 7.24.4: malloc returns a null pointer or the space; free returns no value.',
  },
  { timeout: 5 },
);

const blocks = basic('blocks', 'two blocks that live at the same time share no byte', {
  lacks: ['blocks'],
  why: 'What one part of a program writes, another finds in its own block.\nLook at how a block is split, and at what lies before the pointer that malloc returns.',
  standard: 'C23 7.24.4: each allocation yields an object disjoint from any other object.',
});

/** Asked when blocks are known to be disjoint: each is independent of the others. */
const single: Basic[] = [
  basic('alignment', 'a block of 16 bytes or more is aligned to 16', {
    lacks: ['alignment'],
    why: 'Compilers use instructions (movaps) that crash on a block that is aligned to 8 only.\nRound the header and every size up to a multiple of 16.',
    standard: 'C23 7.24.4: the pointer is suitably aligned for any type that fits into the size.',
  }),
  basic('null', 'free(NULL) does nothing, and realloc(NULL, n) is malloc(n)', {
    why: 'Programs free what they never allocated, and grow from nothing by realloc.\nBegin both functions with a test for NULL.',
    standard: 'C23 7.24.4.4: if ptr is a null pointer, no action occurs (realloc: as malloc).',
  }),
  basic(
    'calloc',
    'calloc gives zeroes, also where memory was used before',
    {
      lacks: ['calloc'],
      why: 'Memory from the system is zero only the first time.\nClear a block that was free before, all of count * size bytes.',
      standard: 'C23 7.24.4.3: the space is initialised to all bits zero.',
    },
    { needs: ['calloc', 'blocks'] },
  ),
  basic(
    'realloc',
    'realloc keeps what was there, as far as both sizes go',
    {
      lacks: ['realloc'],
      why: 'A block that moves takes its contents along.\nCopy the smaller of both sizes before the old block is freed.',
      standard: 'C23 7.24.4.7: the contents are the same up to the lesser of the two sizes.',
    },
    { needs: ['realloc', 'blocks'] },
  ),
  basic(
    'usable',
    'all bytes that malloc_usable_size counts belong to the block',
    {
      lacks: ['malloc_usable_size'],
      why: 'Programs write to all of it.\nReturn what can be written from the pointer on: without headers, and without the next block.',
      standard: 'malloc_usable_size(3): the number of usable bytes, at least the size asked for.',
    },
    { needs: ['malloc_usable_size', 'blocks'] },
  ),
  basic('errno', 'free leaves errno alone', {
    lacks: ['errno'],
    why: 'Programs free things on their way out and report the error that sent them there.\nSave errno before munmap, madvise or sbrk, and restore it.',
    standard: 'POSIX.1-2024 free: it shall not modify errno if ptr is null or a block.',
  }),
  basic('refusals', 'sizes that cannot be are NULL', {
    lacks: ['refusals'],
    why: 'A size that overflows when the header is added, or when calloc multiplies, becomes small.\nRefuse sizes above PTRDIFF_MAX first; multiply with __builtin_mul_overflow.',
    standard: 'C23 7.24.4: if the space cannot be allocated, a null pointer is returned.',
  }),
  basic(
    'sizes',
    'a block of 64 MiB can be had, and a thousand of 100,000 bytes',
    {
      lacks: ['sizes'],
      why: 'Cases that need more memory than that are not run.\nA heap of a fixed size is enough for exercises; programs need one that grows.',
      standard: 'The standard gives no limit but the memory that there is.',
    },
    { level: 'should', needs: ['sizes'] },
  ),
  basic(
    'reuse',
    'what was freed is used again',
    {
      lacks: ['reuse'],
      why: 'A program that runs long enough takes all memory of the machine.\nLet free keep the block in a list, and malloc look there first.',
      standard: 'C23 7.24.4.4: the space is made available for further allocation.',
    },
    { needs: ['reuse', 'free'] },
  ),
];

const aligned = basic(
  'aligned',
  'whoever asks for aligned blocks gets them, and can free them',
  {
    lacks: ['aligned_alloc', 'posix_memalign', 'memalign', 'valloc', 'pvalloc'],
    why: 'C++ (alignas), databases and sandboxes call these from their first lines on.\nAsk malloc for size + alignment and round up; free must find where the block begins.',
    standard: 'C23 7.24.4.1: aligned_alloc gives a block whose address is a multiple of alignment.',
  },
  { needs: ['aligned_alloc', 'posix_memalign', 'memalign', 'blocks'], timeout: 5 },
);

/** Asked when it is known what is refused, what is reused, and how fast. */
const limits: Basic[] = [
  basic(
    'enomem',
    'errno says why there is no memory',
    {
      lacks: ['enomem'],
      why: 'Programs print strerror(errno) when malloc fails.\nSet errno to ENOMEM wherever NULL is returned for want of memory.',
      standard: 'POSIX.1-2024 malloc: otherwise it shall return a null pointer and set errno.',
    },
    { needs: ['refusals'] },
  ),
  basic(
    'exhaustion',
    'malloc gives NULL when memory ends',
    {
      lacks: ['exhaustion'],
      why: 'Where mmap gives MAP_FAILED, or sbrk (void *)-1, the malloc goes on as if it were memory.\nTest for it, and return NULL with ENOMEM.',
      standard: 'C23 7.24.4: if the space cannot be allocated, a null pointer is returned.',
    },
    { needs: ['reuse'], slow: { args: [200_000] } },
  ),
];

const threads = basic(
  'threads',
  'threads may allocate and free at the same time',
  {
    lacks: ['threads'],
    why: 'Two threads inside malloc take the same block off the list.\nLock a pthread_mutex_t in every public function, or give each thread a heap.',
    standard: 'C23 7.24.4: allocation functions cause no data race, whichever threads call them.',
  },
  {
    needs: ['blocks', 'threads'],
    frugal: { args: [2000], env: { LIBMALLOC_BLOCK: '4096' } },
  },
);

const fork = basic(
  'fork',
  'a child may allocate whose parent had another thread inside malloc',
  {
    lacks: ['fork'],
    why: 'The child inherits a lock that is held by a thread that it does not have.\nTake the lock in the prepare handler of pthread_atfork; release it in parent and child.',
    standard: 'POSIX leaves it open; glibc’s malloc keeps it, and programs rely on it.',
  },
  { needs: ['blocks', 'threads', 'fork'], frugal: { env: { LIBMALLOC_BLOCK: '4096' } } },
);

/** Fails where calls cost more the more blocks there are: a reason for smaller sizes, and no more. */
export const speed: ProgramCase = {
  name: 'speed',
  promise: 'a call costs the same however many blocks there are',
  program: 'basics-speed',
  stderr: /ns among/,
  level: 'should',
  quick: true,
  timeout: 30,
  needs: ['blocks', 'reuse', 'sizes'],
};

/** In the order in which they are asked: a wave needs what the waves before it found out. */
export const waves: Basic[][] = [
  [calls],
  [blocks],
  [...single, aligned],
  [...limits, threads],
  [fork],
];
