// What a case of the conformance kit is, and what can come of it.

import type { Malloc } from '../malloc/mallocs.ts';
import type { Lack, Need } from './needs.ts';

export const groups = [
  'basics',
  'semantics',
  'structure',
  'threads',
  'process',
  'exhaustion',
  'misuse',
  'random',
  'programs',
] as const;
export type Group = (typeof groups)[number];

/**
 * `must`: C, POSIX, or what real programs need; a failure fails the run. `should`: shown, fails
 * nothing. `promise`: our variants document it, so theirs fails the run; nobody else is asked.
 */
export type Level = 'must' | 'should' | 'promise';

/** Where programs run, if not right here: under an emulator, or in another system's folder. */
export interface Machine {
  /** Its compiler with leading arguments, more flags for programs, and the folder for these. */
  cc: string[];
  caseFlags: string[];
  folder: string;
  /** The command of this machine that runs `argv` there, with these variables set. */
  command(argv: string[], variables: Record<string, string>): string[];
  /** Why a case cannot run there; undefined when it can. */
  obstacle(each: ProgramCase, run: Run, variant: string): string | undefined;
  /** How many times as long everything takes. */
  patience: number;
}

/** The malloc under test, and whether it gets smaller sizes. */
export interface Subject {
  malloc: Malloc;
  /** Its calls cost more the more blocks there are: smaller sizes will do. */
  slow: boolean;
  machine?: Machine;
  /** What the preliminary questions found it to lack. */
  lacks?: ReadonlyMap<Need, Lack>;
  /** What its blocks are aligned to, where that is less than it should be. */
  alignment?: number;
  /** A library of ours that provides calloc, realloc or free where the malloc has none. */
  standIn?: string;
}

/** How a program of tests/programs is run; sizes and times are what its head says they are. */
export interface Run {
  args?: (string | number)[];
  env?: Record<string, string>;
  /** More flags for the compiler. */
  flags?: string[];
  /** A program compiled as a library and preloaded behind the malloc; or whose path is the first argument. */
  behind?: { program: string; flags?: string[] };
  library?: string;
  /** A command that starts the program: `setarch -L`. Its first word is an entry of programs.json. */
  via?: string[];
  /** A command that must succeed, or the case cannot run here; `otherwise` is the reason. */
  possible?: { command: string[]; otherwise: string };
  /** Seconds until it counts as hung. */
  timeout?: number;
  /** What it ends with and prints when all is well: 0 and nothing. */
  status?: number;
  stdout?: string;
  stderr?: RegExp;
}

/** For programs that step through instructions, or stand between them and the kernel. */
export const onX64 = {
  command: ['sh', '-c', 'test "$(uname -m)" = x86_64'],
  otherwise: 'the program is written for x86-64',
};

/** A case that is one C program, which ends with 0 when the promise was kept (program.h). */
export interface ProgramCase extends Run {
  name: string;
  /** One sentence: what a program may rely on. */
  promise: string;
  level?: Level;
  /** Without .c */
  program: string;
  /** Instead, for a malloc that never reuses a block, or whose calls cost O(n), or that is ours. */
  frugal?: Run;
  slow?: Run;
  strict?: Run;
  /** And for a debug build of ours. */
  guarded?: Run;
  /** The case is a `should` for other mallocs and a promise of our variants. */
  promised?: boolean;
  /** What a malloc must have; one that lacks it skips the case, and says why. */
  needs?: Need[];
  /** Part of the quick selection. */
  quick?: boolean;
  /** Of a preliminary case. */
  question?: Question;
}

/** What a case came to. */
export interface Verdict {
  state: 'passed' | 'failed' | 'skipped' | 'noted';
  /** One sentence: what was broken, why it was skipped, or what was found out (noted). */
  because?: string;
  /** The preliminary case that failed, where that is why it was skipped: GROUP/NAME. */
  cause?: string;
  seconds: number;
  failure?: Evidence;
}

/** All that a reader needs to see a failure again. */
export interface Evidence {
  /** A C file that shows it, and the command that compiles and runs it. */
  source: string;
  reproduce: string;
  /** A session with the program at hand. */
  debug: string;
  seed?: number;
  /** What a reader should know of these. */
  note?: string;
  /** The shortest sequence of calls that still fails. */
  sequence?: string[];
  /** What the program printed on standard error, cut. */
  printed: string;
}

/** What a preliminary case asks, so that a failure can be said as a cause. */
export interface Question {
  /** What a malloc that fails it lacks: cases that need one of these are not run. */
  lacks?: Need[];
  /** Two lines: what happens to programs, and what to mend. */
  why: string;
  /** What the standard says, in short. */
  standard: string;
}

export interface Case {
  group: Group;
  name: string;
  promise: string;
  level: Level;
  promised: boolean;
  quick: boolean;
  question?: Question;
  /** Runs it; never throws for what the malloc does. `patience` stretches or shrinks the timeouts. */
  run(subject: Subject, patience: number): Promise<Verdict>;
}

/** The level at which this malloc is judged; undefined: the case is not for it. */
export function levelFor(each: Case, { malloc }: Subject): Level | undefined {
  if (malloc.kind === 'variant') return each.promised ? 'promise' : each.level;
  return each.level === 'promise' ? undefined : each.level;
}

/** A case with what came of it. */
export interface Finding {
  case: Case;
  level: Level;
  verdict: Verdict;
}

/** Does this failure fail the whole run? */
export function isFatal({ level, verdict }: Finding): boolean {
  return verdict.state === 'failed' && level !== 'should';
}
