// The start and the end of a process, and unusual settings (tests/programs/lifecycle-*.c).

import type { ProgramCase, Run } from '../case.ts';
import type { Need } from '../needs.ts';
import { fork } from './fork.ts';

const work = (name: string, promise: string, via: string[], run: Run = {}): ProgramCase => ({
  name,
  promise,
  program: 'threads-private',
  args: [4, 500, 100, 8000],
  via,
  needs: ['threads'],
  ...run,
});

const hidden = ['unshare', '-rm', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh'];

const aborted = (how: 'exit' | 'jump'): ProgramCase => ({
  name: `abort-${how}`,
  promise: `a handler of SIGABRT may allocate and ${how === 'jump' ? 'go on' : 'end the program'}`,
  level: 'promise',
  program: 'lifecycle-abort',
  args: [how],
  status: how === 'jump' ? 0 : 3,
  stderr: /^(?:libmalloc: free\(\): 0x\w+ is not a block: it lies 16 [^\n]*\n(?: {4}[^\n]*\n)*)+$/,
  needs: ['checks'],
});

const lifecycle: ProgramCase[] = [
  {
    name: 'early-resolver',
    promise: 'an IFUNC resolver may allocate while the program is being relocated',
    level: 'promise',
    program: 'lifecycle-early',
    args: [1],
    flags: ['-DRESOLVER'],
    needs: ['early'],
  },
  {
    name: 'early-preinit',
    promise: 'functions in .preinit_array may allocate, before any constructor',
    program: 'lifecycle-early',
    args: [0],
  },
  {
    name: 'early-constructor',
    promise: 'a constructor that runs before malloc’s own and before libc’s may allocate',
    program: 'lifecycle-early',
    args: [0, 1],
    behind: { program: 'lifecycle-early', flags: ['-nostdlib'] },
    needs: ['aligned_alloc'],
  },
  {
    name: 'first-call',
    promise: 'the first call of a process may be any malloc function, with any size',
    program: 'lifecycle-first',
    needs: ['sizes'],
    quick: true,
  },
  {
    name: 'exit',
    promise:
      'atexit handlers, and destructors after malloc’s own, may allocate while a thread runs',
    program: 'lifecycle-late',
    behind: { program: 'lifecycle-late' },
    stdout: "atexit\nthe program's destructor\nthe library's destructor\n",
    quick: true,
    needs: ['threads'],
  },
  {
    name: 'quick_exit',
    promise: 'at_quick_exit handlers may allocate',
    program: 'lifecycle-late',
    args: ['quick_exit'],
    stdout: 'at_quick_exit\n',
  },
  {
    name: '_exit',
    promise: '_exit ends a process while another thread allocates',
    program: 'lifecycle-late',
    args: ['_exit'],
    needs: ['threads'],
  },
  {
    name: 'descriptors',
    promise: 'malloc holds no file descriptor (dup(0) is 3), and needs none',
    program: 'lifecycle-descriptors',
    level: 'should',
    promised: true,
  },
  {
    name: 'descriptors-closed',
    promise: 'standard input, output and error may be closed',
    program: 'lifecycle-descriptors',
    level: 'should',
    promised: true,
    args: [3],
    via: ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh'],
  },
  {
    name: 'closed',
    promise:
      'after a daemon closed all descriptors, malloc does not touch files that reuse their numbers',
    program: 'lifecycle-closed',
    args: [10_000],
    slow: { args: [2000] },
    frugal: { args: [200], env: { LIBMALLOC_BLOCK: '524288' } },
    needs: ['threads', 'fork', 'calloc', 'realloc'],
    quick: true,
  },
  {
    name: 'seccomp',
    promise: 'in a sandbox, malloc needs no system calls but those that get memory or wait',
    level: 'should',
    promised: true,
    program: 'life-filter',
    args: ['kill', 1, 2],
    slow: { args: ['kill', 1, 1] },
    needs: ['threads', 'realloc', 'reuse', 'sizes'],
  },
  {
    name: 'dlopen',
    promise: 'several threads may load and unload libraries whose constructors allocate',
    program: 'lifecycle-dlopen',
    library: 'lifecycle-dlopen',
    args: [50, 4],
    needs: ['threads'],
  },
  {
    name: 'ld-debug',
    promise: 'the dynamic linker may print what it does (LD_DEBUG=all)',
    program: 'lifecycle-dlopen',
    library: 'lifecycle-dlopen',
    args: [2, 2],
    via: ['sh', '-c', 'export LD_DEBUG=all; exec "$@" 2>/dev/null', 'sh'],
    needs: ['threads'],
  },
  aborted('exit'),
  aborted('jump'),
  {
    name: 'jumps',
    promise: 'longjmp may leave frames and signal handlers, and free keeps errno',
    program: 'lifecycle-jump',
    args: [1_000_000],
    frugal: { args: [60_000] },
  },
  {
    name: 'signals',
    promise: 'signals that interrupt malloc again and again do no harm',
    program: 'process-signals',
    args: [1500],
    frugal: { args: [100], env: { LIBMALLOC_BLOCK: '8192' } },
  },
  work('setarch-L', 'mappings may go bottom up (setarch -L)', ['setarch', '-L']),
  work('setarch-R', 'addresses may be the same each time (setarch -R)', ['setarch', '-R']),
  work('unlimited-stack', 'the stack may be unlimited', [
    'sh',
    '-c',
    'ulimit -s unlimited && exec "$@"',
    'sh',
  ]),
  work('no-proc', 'there may be no /proc', hidden, {
    possible: {
      command: [...hidden, 'true'],
      otherwise: 'this user may not mount a file system over /proc, not even in a namespace',
    },
  }),
];

export const processes: ProgramCase[] = [
  ...lifecycle,
  ...fork.map((each) => ({ ...each, needs: ['threads', 'fork', ...(each.needs ?? [])] as Need[] })),
];
