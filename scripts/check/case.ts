// The types of the conformance kit: a case, the malloc under test, a verdict.

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
 * `must`: C, POSIX or real programs require it; a failure fails the run. `should`: a failure is
 * reported but fails nothing. `promise`: our variants document it; a failure of theirs fails the
 * run, and other mallocs skip the case.
 */
export type Level = 'must' | 'should' | 'promise';

/** Where programs run if not on this system: under an emulator, or in another system's folder. */
export interface Machine {
  /** Its compiler with leading arguments, more flags for programs, and the folder to compile into. */
  cc: string[];
  caseFlags: string[];
  folder: string;
  /** The command of this machine that runs `argv` there, with these variables set. */
  command(argv: string[], variables: Record<string, string>): string[];
  /** Why a case cannot run there; undefined when it can. */
  obstacle(each: ProgramCase, run: Run, variant: string): string | undefined;
  /** The factor by which every timeout grows there. */
  patience: number;
}

/** The malloc under test, and what is known of it. */
export interface Subject {
  malloc: Malloc;
  /** Its calls cost more the more blocks are live, so its cases use smaller sizes. */
  slow: boolean;
  machine?: Machine;
  /** What the preliminary cases found missing. */
  lacks?: ReadonlyMap<Need, Lack>;
  /** The alignment of its blocks, where that is less than it should be. */
  alignment?: number;
  /** A library of ours that provides calloc, realloc or free where the malloc has none. */
  standIn?: string;
}

/** How a program of tests/programs is run; the comment at its head explains its arguments. */
export interface Run {
  args?: (string | number)[];
  env?: Record<string, string>;
  /** More flags for the compiler. */
  flags?: string[];
  /**
   * `behind`: a program that is compiled as a library and preloaded after the malloc. `library`: one
   * whose path becomes the first argument.
   */
  behind?: { program: string; flags?: string[] };
  library?: string;
  /** A command that starts the program: `setarch -L`. Its first word is an entry of programs.json. */
  via?: string[];
  /** Unless this command succeeds, the case is skipped; `otherwise` is the reason given. */
  possible?: { command: string[]; otherwise: string };
  /** Seconds of processor time that it may use. */
  timeout?: number;
  /** The expected exit status and output: 0 and nothing unless given. */
  status?: number;
  stdout?: string;
  stderr?: RegExp;
}

/** For programs that single-step a process or intercept its system calls. */
export const onX64 = {
  command: ['sh', '-c', 'test "$(uname -m)" = x86_64'],
  otherwise: 'the program is written for x86-64',
};

/** A case that is one C program; it exits with 0 if the malloc kept the promise (program.h). */
export interface ProgramCase extends Run {
  name: string;
  /** One sentence: what a program may rely on. */
  promise: string;
  level?: Level;
  /** Without .c */
  program: string;
  /** Overrides for a malloc that never reuses a block, whose calls cost O(n), or that is ours. */
  frugal?: Run;
  slow?: Run;
  strict?: Run;
  /** Overrides for a debug build of ours. */
  guarded?: Run;
  /** The case is a `should` for other mallocs and a promise of our variants. */
  promised?: boolean;
  /** What a malloc must have; on a malloc that lacks it the case is skipped, with the reason. */
  needs?: Need[];
  /** Part of the quick selection. */
  quick?: boolean;
  /** Of a preliminary case. */
  question?: Question;
}

/** The result of a case. */
export interface Verdict {
  state: 'passed' | 'failed' | 'skipped' | 'noted';
  /** One sentence: what was broken, why the case was skipped, or what was observed (noted). */
  because?: string;
  /** GROUP/NAME of the preliminary case whose failure is why this one was skipped. */
  cause?: string;
  seconds: number;
  failure?: Evidence;
}

/** All that a reader needs to reproduce a failure. */
export interface Evidence {
  /** A C file that shows it, and the command that compiles and runs it. */
  source: string;
  reproduce: string;
  /** The command that starts a GDB session with the program. */
  debug: string;
  seed?: number;
  /** A caveat about the source and the commands. */
  note?: string;
  /** The shortest sequence of calls that still fails. */
  sequence?: string[];
  /** What the program printed on standard error, shortened. */
  printed: string;
}

/** What a preliminary case asks; the report lists its failure as a cause. */
export interface Question {
  /** What a malloc that fails it lacks; cases that need this are skipped. */
  word?: Need;
  /** Two lines: what happens to programs, and how to fix it. */
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
  /** Runs it; never throws because of what the malloc does. `patience` multiplies the timeouts. */
  run(subject: Subject, patience: number): Promise<Verdict>;
}

/** The level at which the case judges this malloc; undefined if the case does not apply to it. */
export function levelFor(each: Case, { malloc }: Subject): Level | undefined {
  if (malloc.kind === 'variant') return each.promised ? 'promise' : each.level;
  return each.level === 'promise' ? undefined : each.level;
}

/** A case with its verdict. */
export interface Finding {
  case: Case;
  level: Level;
  verdict: Verdict;
}

/** True for a failure that fails the whole run. */
export function isFatal({ level, verdict }: Finding): boolean {
  return verdict.state === 'failed' && level !== 'should';
}
