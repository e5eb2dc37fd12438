// The first preliminary case: which malloc functions the library defines.

import { basename } from 'node:path';
import { symbolsOf } from '../malloc/elf.ts';
import { launch } from '../malloc/preload.ts';
import type { Case, Subject, Verdict } from './case.ts';
import { caseLibrary, caseProgram, fromHere } from './compile-case.ts';
import { functions, type Lack, type Need } from './needs.ts';

/** Without these three a program crashes, because libc's versions use another heap. */
const indispensable = ['calloc', 'realloc', 'free'];

export interface Survey {
  /** It exports no malloc, so programs never call it. */
  none: boolean;
  absent: string[];
}

/** Asks the dynamic linker of a process; reads the file's symbols if no process runs on it. */
export async function survey({ malloc }: Subject): Promise<Survey> {
  if (malloc.file === undefined) return { none: false, absent: [] };
  const names = ['malloc', ...functions];
  const env = { ...process.env, LD_PRELOAD: '' };
  const argv = [caseProgram('basics-functions'), ...names];
  const { status, stdout } = await launch(malloc, argv, { timeout: 20, env });
  const exported = symbolsOf(malloc.file, 'exported').map(({ name }) => name);
  const own =
    status === 0 ? provided(stdout.toString()) : names.filter((name) => exported.includes(name));
  return { none: !own.includes('malloc'), absent: functions.filter((name) => !own.includes(name)) };
}

/** The names whose file is not the C library, from lines such as `calloc /lib/libc.so.6`. */
function provided(lines: string): string[] {
  return lines
    .split('\n')
    .map((line) => /^(\S+) (.*)$/.exec(line))
    .filter((found) => found?.[2] && found[2] !== 'nobody')
    .filter((found) => !/^libc[.-]/.test(basename(found?.[2] ?? '')))
    .map((found) => found?.[1] as string);
}

/** Names that may be the malloc of a library that exports none: `mm_malloc`, or a C++ symbol. */
function lookalikes(file: string): string[] {
  const names = symbolsOf(file, 'all').map(({ name }) => name);
  return [...new Set(names)].filter((name) => /(?:^|_|\d)malloc(?:$|m$|_?impl)/.test(name));
}

/** The preliminary case that judges what the survey found. */
export function surveyCase(found: Survey): Case {
  return {
    group: 'basics',
    name: 'functions',
    promise: 'a malloc also defines calloc, realloc and free',
    level: 'must',
    promised: true,
    quick: true,
    question: {
      why: 'Programs call the C library’s instead: it allocates from another heap, and your free gets the block.\nDefine it (calloc is malloc and memset), or programs crash in free.',
      standard: 'glibc manual, Replacing malloc: malloc, free, calloc, realloc are the least.',
    },
    run: async (subject) => verdict(subject, found),
  };
}

function verdict({ malloc }: Subject, { none, absent }: Survey): Verdict {
  const file = malloc.file ?? '';
  if (none) return failed(file, noMalloc(malloc.name, file));
  const missed = absent.filter((name) => indispensable.includes(name));
  if (missed.length > 0) return failed(file, `it has no ${missed.join(', no ')} of its own`);
  const others = absent.length > 0 ? { because: `absent: ${absent.join(', ')}` } : {};
  return { state: 'passed', ...others, seconds: 0 };
}

function noMalloc(name: string, file: string): string {
  const [other] = lookalikes(file);
  const cpp = other?.startsWith('_Z') ? '; declare it extern "C"' : '';
  const hint =
    other === 'malloc'
      ? '; it has a malloc that is hidden (static, or -fvisibility=hidden)'
      : `; it has ${other}${cpp || ': call it malloc'}`;
  return `${name} exports no malloc, so programs never call it${other === undefined ? '' : hint}`;
}

const failed = (file: string, because: string): Verdict => ({
  state: 'failed',
  because,
  seconds: 0,
  failure: {
    source: fromHere(file),
    reproduce: `nm -D --defined-only ${fromHere(file)}`,
    debug: `nm ${fromHere(file)}`,
    printed: '',
  },
});

/** The needs that the absent functions leave unmet. */
export function lacksOf({ absent }: Survey): Map<Need, Lack> {
  return new Map(
    absent.map((name) => [
      name as Need,
      {
        because: `it has no ${name} of its own`,
        ...(indispensable.includes(name) && { cause: 'basics/functions' }),
      },
    ]),
  );
}

/** A library that defines the indispensable functions that are absent; undefined if none is. */
export function standInFor({ absent }: Survey): string | undefined {
  const missed = absent.filter((name) => indispensable.includes(name));
  if (missed.length === 0) return undefined;
  return caseLibrary(
    'stand-in',
    missed.map((name) => `-D${name.toUpperCase()}`),
  );
}
