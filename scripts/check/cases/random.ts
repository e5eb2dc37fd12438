// Random calls (tests/programs/random.c): finds sequences that fail, and shortens them.

import { glibc } from '../../malloc/mallocs.ts';
import { type Launched, launch } from '../../malloc/preload.ts';
import type { Case, Evidence, Subject, Verdict } from '../case.ts';
import { caseProgram, fromHere, sourceOf } from '../compile-case.ts';
import {
  commandLine,
  debugLine,
  ending,
  environmentFor,
  overdue,
  patiently,
  skipped,
  toldTo,
} from '../judge.ts';
import { firstLack, lack } from '../lacks.ts';
import type { Lack } from '../needs.ts';
import { writeReproducer } from '../reproducer.ts';
import { shrink } from '../shrink.ts';

export interface RandomOptions {
  /** The seed of the first round; each later round adds one. */
  seed: number;
  /** How long each case runs. */
  seconds: number;
}

export interface Mix {
  name: string;
  promise: string;
  calls: number;
  threads: number;
  largest: number;
  /** How many calls a malloc that never reuses memory can serve within its limit. */
  frugal?: number;
  quick?: boolean;
}

export const mixes: Mix[] = [
  {
    name: 'small',
    promise: 'any calls in any order, blocks of up to 2,000 bytes, keep every byte of every block',
    calls: 30_000,
    threads: 1,
    largest: 2000,
    frugal: 1000,
  },
  {
    name: 'mixed',
    promise: 'any calls in any order, blocks of up to 40,000 bytes, keep every byte of every block',
    calls: 20_000,
    threads: 1,
    largest: 40_000,
    frugal: 1000,
    quick: true,
  },
  {
    name: 'large',
    promise:
      'any calls in any order, blocks of up to 3,000,000 bytes, keep every byte of every block',
    calls: 1000,
    threads: 1,
    largest: 3_000_000,
  },
  {
    name: 'threads',
    promise: 'any calls in any order, by four threads that exchange blocks, keep every byte',
    calls: 8000,
    threads: 4,
    largest: 20_000,
    frugal: 250,
    quick: true,
  },
];

/** Seconds for the round that is running when the time is up. */
const GRACE = 60;
/** Seconds for one trial of a shorter sequence; a sequence that hangs counts as a failure. */
const TRIAL = 10;

const program = (): string => caseProgram('random');

function start(subject: Subject, args: (string | number)[], timeout: number): Promise<Launched> {
  const env = environmentFor(subject, toldTo(subject, 'random'));
  return launch(subject.malloc, [program(), ...args.map(String)], { ...patiently(timeout), env });
}

const failed = ({ status }: Launched): boolean => status !== 0;

/** The result of rounds with the seeds `first`, `first` + 1, … up to `last`. */
export interface Played {
  first: number;
  last: number;
  seconds: number;
  /** How the last round failed, in a sentence. */
  because?: string;
  result: Launched;
  /** The arguments of random.c. */
  args: string[];
}

async function playOnce(subject: Subject, mix: Mix, { seed, seconds }: RandomOptions) {
  const { calls, threads, largest } = mix;
  const args = ['play', seed, calls, threads, largest, seconds].map(String);
  const result = await start(subject, args, seconds + GRACE);
  const rounds = result.stdout.toString().trim().split('\n');
  const because = result.timedOut ? overdue(result) : ending(result);
  const last = Number(rounds.at(-1) || seed);
  return { last, seconds: result.seconds, ...(failed(result) && { because }), result, args };
}

/** Plays rounds with the seeds `first`, `first` + 1, … until the time is up or one fails. */
export async function play(subject: Subject, mix: Mix, options: RandomOptions): Promise<Played> {
  const first = options.seed;
  if (lack(subject, 'reuse') === undefined)
    return { first, ...(await playOnce(subject, mix, options)) };
  const round = { ...mix, calls: mix.frugal ?? mix.calls }; // in a process of its own
  for (let [seed, spent] = [first, 0]; ; seed++) {
    const played = await playOnce(subject, round, { seed, seconds: 0 });
    spent += played.seconds;
    if (played.because !== undefined || spent >= options.seconds)
      return { first, ...played, seconds: spent };
  }
}

/** Why this malloc cannot serve such calls; undefined if it can. */
export function excuse(subject: Subject, mix: Mix): Lack | undefined {
  return firstLack(subject, [
    'blocks',
    ...(mix.frugal === undefined ? (['sizes'] as const) : []),
    ...(mix.threads > 1 ? (['threads'] as const) : []),
  ]);
}

async function judge(subject: Subject, mix: Mix, options: RandomOptions): Promise<Verdict> {
  const excused = excuse(subject, mix);
  if (excused !== undefined) return skipped(excused);
  const { first, last, seconds, because, result, args } = await play(subject, mix, options);
  const rounds = `${last - first + 1} rounds`;
  if (because === undefined) return { state: 'passed', because: rounds, seconds };
  const found = await investigate(subject, mix, last, args);
  return { state: 'failed', because, seconds, failure: { ...found, printed: printed(result) } };
}

const printed = ({ stderr }: Launched): string => stderr.toString().slice(0, 2000);

/** Looks for a simpler failure: in one thread, then in one round, then with fewer calls. */
async function investigate(
  subject: Subject,
  mix: Mix,
  seed: number,
  all: string[],
): Promise<Omit<Evidence, 'printed'>> {
  const alone = ['play', String(seed), String(mix.calls), '1', String(mix.largest), '0'];
  if (failed(await start(subject, alone, TRIAL))) {
    const sequence = await shortest(subject, mix, seed);
    const shown = sequence && (await sequenceEvidence(subject, mix.name, seed, sequence));
    return shown ?? { ...roundEvidence(subject, seed, alone), note: ONLY_WHOLE };
  }
  const round = [
    'play',
    String(seed),
    String(mix.calls),
    String(mix.threads),
    `${mix.largest}`,
    '0',
  ];
  for (let i = 0; i < 5; i++)
    if (failed(await start(subject, round, TRIAL * 2))) return roundEvidence(subject, seed, round);
  return { ...roundEvidence(subject, seed, all), note: NOT_AGAIN };
}

const ONLY_WHOLE =
  'no part of these calls fails in a program of its own, so this runs the whole round';
const NOT_AGAIN =
  'the round that failed did not fail again in five runs, so this runs all rounds: run it several times';

/** The shortest sequence of calls of this round that fails on its own; undefined if none does. */
async function shortest(subject: Subject, mix: Mix, seed: number): Promise<string[] | undefined> {
  const list = ['list', seed, mix.calls, mix.largest];
  const { stdout } = await start({ ...subject, malloc: glibc }, list, 30);
  const calls = stdout.toString().trim().split('\n');
  return shrink(calls, async (file) => failed(await start(subject, ['file', file], TRIAL)));
}

function roundEvidence(subject: Subject, seed: number, args: string[]): Omit<Evidence, 'printed'> {
  return {
    source: fromHere(sourceOf('random')),
    reproduce: commandLine(subject, [fromHere(program()), ...args], toldTo(subject, 'random')),
    debug: debugLine(subject.malloc, [program(), ...args], toldTo(subject, 'random')),
    seed,
  };
}

/** How many runs must fail before the report offers them as a way to reproduce the failure. */
const RUNS = 2;

async function alwaysFails(run: () => Promise<Launched>): Promise<boolean> {
  for (let i = 0; i < RUNS; i++) if (!failed(await run())) return false;
  return true;
}

/** A program of its own, if that fails as well; else a list for random.c, if that fails. */
async function sequenceEvidence(subject: Subject, name: string, seed: number, sequence: string[]) {
  const { malloc } = subject;
  const files = writeReproducer(
    `${malloc.name.replaceAll(/[^\w.-]+/g, '_')}-${name}-${seed}`,
    sequence,
    {
      usable: lack(subject, 'malloc_usable_size') === undefined,
      errnoKept: lack(subject, 'errno') === undefined,
      alignment: subject.alignment ?? 16,
    },
  );
  const offered = { seed, sequence };
  const file = caseProgram(files.source);
  const env = environmentFor(subject);
  if (await alwaysFails(() => launch(malloc, [file], { ...patiently(TRIAL), env })))
    return {
      ...offered,
      source: fromHere(files.source),
      reproduce: commandLine(subject, [fromHere(file)]),
      debug: debugLine(malloc, [file]),
    };
  const args = ['file', files.list];
  if (await alwaysFails(() => start(subject, args, TRIAL)))
    return { ...offered, ...roundEvidence(subject, seed, args), note: ONLY_LISTED };
  return undefined;
}

const ONLY_LISTED = 'the calls fail when random.c makes them, not in a program of their own';

/** The random cases; the report prints the seed of one that fails. */
export function random(options: RandomOptions): Case[] {
  return mixes.map((mix) => ({
    group: 'random',
    name: mix.name,
    promise: mix.promise,
    level: 'must',
    promised: true,
    quick: mix.quick ?? false,
    run: (subject) => judge(subject, mix, options),
  }));
}
