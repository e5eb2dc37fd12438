// Exit statuses that are ours, not those of a program that we run.

/** The verdict is bad: some malloc failed, something is missing. */
export const BAD = 1;
/** The time of --timeout ran out; timeout(1) reports the same. */
export const TIMED_OUT = 124;
/** libmalloc itself failed, or refused. */
export const FAILED = 125;
/** The program cannot be executed. */
export const NOT_EXECUTABLE = 126;
/** The program was not found. */
export const NOT_FOUND = 127;
/** Ctrl-C ended it early; a shell reports SIGINT so. */
export const INTERRUPTED = 130;

/** The reader of our output has closed the pipe; a shell reports SIGPIPE so. */
export const BROKEN_PIPE = 141;

/** What each means, for docs/reference.md. */
export const statuses: Readonly<Record<string, string>> = {
  0: 'success; of `run`, `record`, `gdb` and `layout` the status of CMD',
  [BAD]:
    'a bad verdict: a malloc failed (`check`, `replay`), something needed is missing (`doctor`)',
  [TIMED_OUT]: 'the time of `--timeout` ran out',
  [FAILED]:
    'libmalloc failed, or refused: wrong usage, a preload that cannot work, a broken variable, a malloc that was not in use',
  [NOT_EXECUTABLE]: 'CMD cannot be executed',
  [NOT_FOUND]: 'CMD was not found',
  '128+N': 'signal N ended CMD',
  [INTERRUPTED]: 'Ctrl-C ended `bench`, which reports what it measured until then',
};
