// Misuse, and how a program finds out (tests/programs/misuse.c): a report for the mallocs of
// others, a promise where ours checks what it is given.

import { type Launched, launch } from '../preload.ts';
import type { Case, Subject, Verdict } from './case.ts';
import { caseProgram, fromHere, shellLine, sourceOf } from './compile.ts';
import { gap } from './features.ts';
import { debugLine } from './judge.ts';

/** What comes of a misuse, from the best to the worst. */
export const outcomes = ['at once', 'later', 'silent', 'corrupted', 'hangs'] as const;
export type Outcome = (typeof outcomes)[number] | 'absent';

/** One misuse: what misuse.c is told, and who promises that it ends the program at once. */
export interface Crime {
  name: string;
  call: string;
  kind: string;
  /** `checks`: every variant that checks its pointers. */
  promise?: 'checks';
}

const wrong = (name: string, call: string, kind: string): Crime => ({
  name,
  call,
  kind,
  promise: 'checks',
});
const silent = (name: string, call: string, kind: string): Crime => ({ name, call, kind });

export const crimes: Crime[] = [
  wrong('double free', 'free', 'freed'),
  wrong('double free, delayed', 'free', 'freed, others since'),
  wrong('double free, neighbours freed', 'free', 'freed with its neighbours'),
  wrong('free of an interior pointer', 'free', 'interior'),
  wrong('free of a misaligned pointer', 'free', 'misaligned'),
  wrong('free of a static variable', 'free', 'static'),
  wrong('free of the stack', 'free', 'on the stack'),
  wrong('free of somebody’s mapping', 'free', "in somebody's mapping"),
  wrong('free of an address below 4096', 'free', 'low'),
  wrong('realloc of a freed block', 'realloc', 'freed'),
  wrong('usable size of a freed block', 'malloc_usable_size', 'freed'),
  wrong('sized free with another size', 'free_sized', 'live'),
  wrong('alignment that is no power of two', 'posix_memalign', '24'),
  silent('overflow by 1 byte', 'overflow', '1'),
  silent('overflow by 8 bytes', 'overflow', '8'),
  silent('overflow by 4096 bytes', 'overflow', '4096'),
  silent('write after free', 'write', 'freed'),
  silent('read of freed memory', 'read', 'freed'),
];

/** Small, middle, and large: often three different ways through a malloc. */
export const crimeSizes = [64, 3000, 300_000];

const stops = ['SIGABRT', 'SIGILL', 'SIGTRAP'];

/** What became of a run of misuse.c. */
export function outcomeOf(result: Launched): Outcome {
  const [, how, after] = result.stdout.toString().trim().split('\n');
  const said = result.stderr.toString().trim() !== '';
  if (result.timedOut || result.signal === 'SIGALRM') return how ? 'corrupted' : 'hangs';
  if (how === undefined || how === 'refused') return 'at once';
  if (how === 'absent') return 'absent';
  if (after?.startsWith('corrupted')) return 'corrupted';
  if (after === 'fine' && result.status === 0 && !said) return 'silent';
  return stops.includes(result.signal ?? '') || said ? 'later' : 'corrupted';
}

/** The outcomes of several sizes in one cell: what differs is told apart, small to large. */
export function summary(found: Outcome[]): string {
  return [...new Set(found)].join(' / ');
}

/** The outcome of one misuse for each of `crimeSizes`. */
export async function commit({ malloc }: Subject, crime: Crime): Promise<Committed[]> {
  const program = caseProgram('misuse');
  const committed: Committed[] = [];
  for (const size of crimeSizes) {
    const argv = [program, crime.call, crime.kind, String(size)];
    const env = { ...process.env, MALLOC_UNDER_TEST: malloc.file ?? '', LD_PRELOAD: '' };
    const result = await launch(malloc, argv, { env, timeout: 30 });
    committed.push({ size, argv, result, outcome: outcomeOf(result) });
  }
  return committed;
}

export interface Committed {
  size: number;
  argv: string[];
  result: Launched;
  outcome: Outcome;
}

function isPromised({ malloc }: Subject, crime: Crime): boolean {
  const ours = malloc.kind === 'variant' && gap(malloc.name, 'checks') === undefined;
  return ours && crime.promise === 'checks';
}

async function judge(subject: Subject, crime: Crime): Promise<Verdict> {
  const committed = await commit(subject, crime);
  const seconds = committed.reduce((sum, { result }) => sum + result.seconds, 0);
  const found = summary(committed.map(({ outcome }) => outcome));
  const late = committed.find(({ outcome }) => outcome !== 'at once');
  if (!isPromised(subject, crime)) return { state: 'noted', because: found, seconds };
  if (late === undefined) return { state: 'passed', because: found, seconds };
  const { malloc } = subject;
  const preload = malloc.file === undefined ? [] : ['env', `LD_PRELOAD=${fromHere(malloc.file)}`];
  return {
    state: 'failed',
    because: `${found}, not at once (blocks of ${late.size} bytes)`,
    seconds,
    failure: {
      source: fromHere(sourceOf('misuse')),
      reproduce: shellLine([...preload, ...late.argv.map(fromHere)]),
      debug: debugLine(malloc, late.argv),
      printed: late.result.stderr.toString().slice(0, 2000),
    },
  };
}

export function misuse(): Case[] {
  return crimes.map((crime) => ({
    group: 'misuse',
    name: crime.name.replaceAll(/[ ,]+/g, '-'),
    promise: `${crime.name}: the program finds out`,
    level: 'should',
    promised: crime.promise !== undefined,
    quick: crime.kind === 'freed',
    run: (subject) => judge(subject, crime),
  }));
}
