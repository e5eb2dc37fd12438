// Misuses, and whether the malloc detects them (tests/programs/misuse.c): a report for other
// mallocs, a promise of our variants that check their arguments.

import { shellLine } from '../../lib/words.ts';
import { type Launched, launch } from '../../malloc/preload.ts';
import type { Case, Subject, Verdict } from '../case.ts';
import { caseProgram, fromHere, sourceOf } from '../compile-case.ts';
import { debugLine, environmentFor, toldTo } from '../judge.ts';
import { lack } from '../lacks.ts';
import { withoutWitness } from '../witnessed.ts';

/** The outcomes of a misuse, from the best to the worst. */
const outcomes = ['at once', 'later', 'silent', 'corrupted', 'hangs'] as const;
export type Outcome = (typeof outcomes)[number] | 'absent';

/** One misuse: the arguments of misuse.c, and which of our builds promise to detect it. */
export interface Crime {
  name: string;
  call: string;
  kind: string;
  /**
   * `checks`: every variant that checks its pointers ends the program at once. `guard`: every debug
   * build detects the misuse, at the latest when the block is freed or the program exits.
   */
  promise?: 'checks' | 'guard';
}

const wrong = (name: string, call: string, kind: string): Crime => ({
  name,
  call,
  kind,
  promise: 'checks',
});
const later = (name: string, call: string, kind: string): Crime => ({
  name,
  call,
  kind,
  promise: 'guard',
});

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
  later('overflow by 1 byte', 'overflow', '1'),
  later('overflow by 8 bytes', 'overflow', '8'),
  later('overflow by 4096 bytes', 'overflow', '4096'),
  later('write after free', 'write', 'freed'),
  { name: 'read of freed memory', call: 'read', kind: 'freed' },
];

/** Small, medium and large: many mallocs have a separate path for each. */
const crimeSizes = [64, 3000, 300_000];

/** Omits large blocks for a malloc that has none. */
const sizesFor = (subject: Subject): number[] =>
  lack(subject, 'sizes') === undefined ? crimeSizes : crimeSizes.slice(0, -1);

const stops = ['SIGABRT', 'SIGILL', 'SIGTRAP'];

/** The outcome of one run of misuse.c. */
function outcomeOf(result: Launched): Outcome {
  const [, how, after] = result.stdout.toString().trim().split('\n');
  const said = withoutWitness(result.stderr.toString()).trim() !== '';
  if (result.timedOut || result.signal === 'SIGALRM') return how ? 'corrupted' : 'hangs';
  if (how === undefined || how === 'refused') return 'at once';
  if (how === 'absent') return 'absent';
  if (stops.includes(result.signal ?? '') || said) return 'later';
  return after === 'fine' && result.status === 0 ? 'silent' : 'corrupted';
}

/** The different outcomes, from small to large blocks, in one cell. */
export function summary(found: Outcome[]): string {
  return [...new Set(found)].join(' / ');
}

/** The outcome of one misuse for each size of block. */
export async function commit(subject: Subject, crime: Crime): Promise<Committed[]> {
  const program = caseProgram('misuse');
  const committed: Committed[] = [];
  for (const size of sizesFor(subject)) {
    const argv = [program, crime.call, crime.kind, String(size)];
    const env = environmentFor(subject, toldTo(subject, 'misuse'));
    const result = await launch(subject.malloc, argv, { env, timeout: 30 });
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

/** The outcomes that the malloc's promise allows; undefined if it promises nothing. */
function promised(subject: Subject, { promise }: Crime): Outcome[] | undefined {
  const { malloc } = subject;
  if (malloc.kind !== 'variant') return undefined;
  if (promise === 'guard') return malloc.debug ? ['at once', 'later'] : undefined;
  const checks = lack(subject, 'checks') === undefined;
  return promise === 'checks' && checks ? ['at once'] : undefined;
}

async function judge(subject: Subject, crime: Crime): Promise<Verdict> {
  const committed = await commit(subject, crime);
  const seconds = committed.reduce((sum, { result }) => sum + result.seconds, 0);
  const found = summary(committed.map(({ outcome }) => outcome));
  const allowed = promised(subject, crime);
  if (allowed === undefined) return { state: 'noted', because: found, seconds };
  const late = committed.find(({ outcome }) => !allowed.includes(outcome));
  if (late === undefined) return { state: 'passed', because: found, seconds };
  const { malloc } = subject;
  const preload = malloc.file === undefined ? [] : ['env', `LD_PRELOAD=${fromHere(malloc.file)}`];
  return {
    state: 'failed',
    because: `${found}, not ${allowed.join(' or ')} (blocks of ${late.size} bytes)`,
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
    promise: `${crime.name}: the malloc detects it`,
    level: 'should',
    promised: crime.promise !== undefined,
    quick: crime.kind === 'freed',
    run: (subject) => judge(subject, crime),
  }));
}
