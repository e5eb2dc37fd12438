// Runs one workload (a C program of tests/workloads) under one malloc: timed, or step by step.

import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { compileInto } from '../lib/compile.ts';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { buildFolder } from '../lib/native-files.ts';
import { glibc, type Malloc } from '../malloc/mallocs.ts';
import { launch, preloadValue } from '../malloc/preload.ts';
import { workloadsFolder } from './catalog.ts';

/** One measured stretch of a workload. */
export interface Section {
  /** Calls of malloc or free in it. */
  calls: number;
  /** CPU seconds, user and system, of the whole section: the workload's own loop is in it. */
  seconds: number;
  /** A budget ended it before all calls were made. */
  cut: boolean;
  /** Instructions outside of the workload itself: malloc, free and what they call. Stepped runs only. */
  instructions?: number;
  /** Those of them that are atomic (x86-64 only; 0 elsewhere). Stepped runs only. */
  atomics?: number;
}

export interface Outcome {
  sections: Section[];
  /** Why sections are missing or short: "out of memory while filling", "killed by SIGSEGV"… */
  stopped?: string;
}

/** Options of the C program, `{ live: 100 }` being `--live 100`. */
export type Options = Record<string, number>;

// The compiler may not remove calls, but everything except the malloc should be fast.
const compileFlags = ['-O2', '-g', '-Wall', '-Wextra', '-fno-builtin', '-pthread'];

export const programFolder = (): string => buildFolder('bench');

/**
 * Compiles a source file of tests/workloads (`tight.c`, `containers.cc`) into a program, unless `flags`
 * say otherwise, and returns its path. Throws Failure when it does not compile.
 */
export function workloadProgram(file: string, flags: string[] = []): string {
  const source = join(workloadsFolder, file);
  if (!existsSync(source)) throw new Failure(`no such workload: ${file}`);
  const standard = file.endsWith('.cc') ? '-std=gnu++17' : '-std=gnu17';
  return compileInto(programFolder(), source, [standard, ...compileFlags, ...flags]);
}

function programArguments(options: Options): string[] {
  return Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
}

/** Whether `provider`, the file that malloc came from, is that of `malloc`. */
export function isProvider(malloc: Malloc, provider: string): boolean {
  const actual = existsSync(provider) ? realpathSync(provider) : provider;
  if (malloc.file === undefined) return basename(actual).startsWith('libc.so');
  return actual === realpathSync(malloc.file);
}

/** If another malloc were in use, every figure would be wrong. */
function assertProvider(malloc: Malloc, provider: string): void {
  if (isProvider(malloc, provider)) return;
  throw new Failure(`${malloc.name} was not in use: malloc came from ${provider}`, {
    hint:
      malloc.file === undefined
        ? 'unset LD_PRELOAD: glibc is measured without any preload'
        : 'does the library define malloc?',
  });
}

interface Printed {
  malloc: string;
  sections: Section[];
  stopped: string | null;
}

/** The line that workload_end prints, without the empty first section. */
function readOutcome(malloc: Malloc, line: string): Outcome {
  const printed = JSON.parse(line) as Printed;
  assertProvider(malloc, printed.malloc);
  const sections = printed.sections.slice(1);
  return { sections, ...(printed.stopped === null ? {} : { stopped: printed.stopped }) };
}

/** The output of a program, and how it failed if it did: "killed by SIGSEGV". */
export async function launched(
  under: Malloc,
  argv: string[],
  timeout: number,
  limits?: { addressSpace: number },
): Promise<{ output: string; ended: string | undefined }> {
  const result = await launch(under, argv, { timeout, ...(limits && { limits }) });
  const output = String(result.stdout).trim();
  if (result.timedOut) return { output, ended: `no end within ${timeout} s` };
  if (result.signal) return { output, ended: `killed by ${result.signal}` };
  if (result.status > 128) return { output, ended: `killed by signal ${result.status - 128}` };
  if (result.status !== 0) return { output, ended: String(result.stderr).trim() };
  return { output, ended: undefined };
}

/**
 * Runs a workload under `malloc` and reads its CPU times. A fault of the malloc is an outcome;
 * Failure only for what makes any figure meaningless. `timeout` in seconds of wall clock.
 */
export async function timeWorkload(
  malloc: Malloc,
  name: string,
  options: Options,
  timeout = 120,
): Promise<Outcome> {
  const argv = [workloadProgram(`${name}.c`), ...programArguments(options)];
  const { output, ended } = await launched(malloc, argv, timeout);
  return ended === undefined ? readOutcome(malloc, output) : { sections: [], stopped: ended };
}

/**
 * Runs a workload under `malloc` and counts instructions by single steps (see step.c); `steps` is
 * how many in a section are enough. The empty section's count, what the marks cost, is subtracted.
 * Throws Failure where this process may not trace another.
 */
export async function stepWorkload(
  malloc: Malloc,
  name: string,
  options: Options,
  steps = 0,
  timeout = 600,
): Promise<Outcome> {
  const directory = temporaryFolder('bench');
  try {
    const result = join(directory, 'steps.json');
    const preload = preloadValue(malloc);
    const step = [workloadProgram('step.c'), '-o', result, '-n', String(steps)];
    const program = [workloadProgram(`${name}.c`), ...programArguments({ ...options, mark: 1 })];
    const argv = [...step, ...(preload ? ['-l', preload] : []), ...program];
    const { output, ended } = await launched(glibc, argv, timeout);
    if (ended?.startsWith('step: ')) throw new Failure(`cannot count instructions: ${ended}`);
    if (ended !== undefined) return { sections: [], stopped: ended };
    const outcome = readOutcome(malloc, output);
    return { ...outcome, sections: withSteps(outcome.sections, readFileSync(result, 'utf8')) };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function withSteps(sections: Section[], json: string): Section[] {
  const counted = JSON.parse(json) as { sections: { outside: number; atomics: number }[] };
  const [empty = { outside: 0, atomics: 0 }, ...rest] = counted.sections;
  return sections.map((section, i) => {
    const { outside, atomics } = rest[i] ?? empty;
    return {
      ...section,
      instructions: outside - empty.outside,
      atomics: atomics - empty.atomics,
    };
  });
}
