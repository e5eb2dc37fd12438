// Random calls (tests/programs/random.c): which sequences fail, and the shortest that still fails.

import { shellLine } from '../../lib/words.ts';
import { glibc, type Malloc } from '../../malloc/mallocs.ts';
import { type Launched, launch, preloadValue } from '../../malloc/preload.ts';
import type { Case, Evidence, Subject, Verdict } from '../case.ts';
import { caseProgram, fromHere, sourceOf } from '../compile-case.ts';
import { gap } from '../features.ts';
import { debugLine, ending } from '../judge.ts';
import { writeReproducer } from '../reproducer.ts';
import { shrink } from '../shrink.ts';

export interface RandomOptions {
  /** Of the first round; later ones count up. */
  seed: number;
  /** Of each case. */
  seconds: number;
}

export interface Mix {
  name: string;
  promise: string;
  calls: number;
  threads: number;
  largest: number;
  /** This many calls use up the memory limit of a malloc that never reuses any. */
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
    promise: 'so do four threads that take blocks from each other',
    calls: 8000,
    threads: 4,
    largest: 20_000,
    frugal: 250,
    quick: true,
  },
];

/** Time for a round that has begun when the time is up. */
const GRACE = 60;
/** One trial of a shorter sequence: those that hang are failures as well. */
const TRIAL = 10;

const program = (): string => caseProgram('random');

function start(malloc: Malloc, args: (string | number)[], timeout: number): Promise<Launched> {
  const env = { ...process.env, LD_PRELOAD: '', MALLOC_UNDER_TEST: preloadValue(malloc) };
  return launch(malloc, [program(), ...args.map(String)], { timeout, env });
}

const failed = ({ status }: Launched): boolean => status !== 0;

/** What became of rounds with the seeds `first`, `first` + 1, … up to `last`. */
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

async function playOnce(malloc: Malloc, mix: Mix, { seed, seconds }: RandomOptions) {
  const { calls, threads, largest } = mix;
  const args = ['play', seed, calls, threads, largest, seconds].map(String);
  const result = await start(malloc, args, seconds + GRACE);
  const rounds = result.stdout.toString().trim().split('\n');
  const because = result.timedOut
    ? `not over after ${Math.round(result.seconds)} s`
    : ending(result);
  const last = Number(rounds.at(-1) || seed);
  return { last, seconds: result.seconds, ...(failed(result) && { because }), result, args };
}

/** Rounds with the seeds `first`, `first` + 1, … until the time is up or one of them fails. */
export async function play(malloc: Malloc, mix: Mix, options: RandomOptions): Promise<Played> {
  const first = options.seed;
  if (!neverReuses(malloc)) return { first, ...(await playOnce(malloc, mix, options)) };
  const round = { ...mix, calls: mix.frugal ?? mix.calls }; // in a process of its own
  for (let [seed, spent] = [first, 0]; ; seed++) {
    const played = await playOnce(malloc, round, { seed, seconds: 0 });
    spent += played.seconds;
    if (played.because !== undefined || spent >= options.seconds)
      return { first, ...played, seconds: spent };
  }
}

const neverReuses = ({ kind, name }: Malloc): boolean =>
  kind === 'variant' && gap(name, 'reuse') !== undefined;

/** Why this malloc cannot be asked for such calls. */
export function excuse(malloc: Malloc, mix: Mix): string | undefined {
  const lacks = malloc.kind === 'variant' ? gap(malloc.name, 'sizes') : undefined;
  return mix.frugal === undefined ? lacks : undefined;
}

async function judge({ malloc }: Subject, mix: Mix, options: RandomOptions): Promise<Verdict> {
  const excused = excuse(malloc, mix);
  if (excused !== undefined) return { state: 'skipped', because: excused, seconds: 0 };
  const { first, last, seconds, because, result, args } = await play(malloc, mix, options);
  const rounds = `${last - first + 1} rounds`;
  if (because === undefined) return { state: 'passed', because: rounds, seconds };
  const found = await investigate(malloc, mix, last, args);
  return { state: 'failed', because, seconds, failure: { ...found, printed: printed(result) } };
}

const printed = ({ stderr }: Launched): string => stderr.toString().slice(0, 2000);

/** Fewer threads, fewer rounds, fewer calls, as long as it fails. */
async function investigate(
  malloc: Malloc,
  mix: Mix,
  seed: number,
  all: string[],
): Promise<Omit<Evidence, 'printed'>> {
  const alone = ['play', String(seed), String(mix.calls), '1', String(mix.largest), '0'];
  if (failed(await start(malloc, alone, TRIAL))) {
    const sequence = await shortest(malloc, mix, seed);
    if (sequence !== undefined) return sequenceEvidence(malloc, mix.name, seed, sequence);
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
    if (failed(await start(malloc, round, TRIAL * 2))) return roundEvidence(malloc, seed, round);
  return roundEvidence(malloc, seed, all); // the round fails only after earlier rounds
}

/** The shortest sequence of calls of this round that fails on its own; undefined if none does. */
async function shortest(malloc: Malloc, mix: Mix, seed: number): Promise<string[] | undefined> {
  const list = ['list', seed, mix.calls, mix.largest];
  const { stdout } = await start(glibc, list, 30);
  const calls = stdout.toString().trim().split('\n');
  return shrink(calls, async (file) => failed(await start(malloc, ['file', file], TRIAL)));
}

function roundEvidence(malloc: Malloc, seed: number, args: string[]): Omit<Evidence, 'printed'> {
  const preload = malloc.file === undefined ? [] : ['env', `LD_PRELOAD=${malloc.file}`];
  return {
    source: fromHere(sourceOf('random')),
    reproduce: shellLine([...preload, fromHere(program()), ...args]),
    debug: debugLine(malloc, [program(), ...args]),
    seed,
  };
}

/** As a program of its own, if that fails as well; else as a list for random.c. */
async function sequenceEvidence(malloc: Malloc, name: string, seed: number, sequence: string[]) {
  const { source, list } = writeReproducer(`${malloc.name}-${name}-${seed}`, sequence);
  const file = caseProgram(source);
  const alone = failed(await launch(malloc, [file], { timeout: TRIAL }));
  const argv = alone ? [file] : [program(), 'file', list];
  const preload = malloc.file === undefined ? [] : ['env', `LD_PRELOAD=${malloc.file}`];
  return {
    source: fromHere(source),
    reproduce: shellLine([...preload, ...argv.map(fromHere)]),
    debug: debugLine(malloc, argv),
    seed,
    sequence,
  };
}

/** The random cases, with a seed that is printed where one fails. */
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
