import { expect } from 'vitest';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { compileProgram } from './compile.ts';

export interface Trial {
  /** The debug build of the variant. */
  debug?: boolean;
  args?: (string | number)[];
  env?: Record<string, string>;
  /** Flags of the compiler. */
  flags?: string[];
  /** Libraries to preload behind the malloc. */
  behind?: string[];
  /** A command that starts the program, such as `setarch -L`. */
  via?: string[];
  /** Seconds until it counts as hung; 60 by default. Generous: the machine may be busy. */
  timeout?: number;
  /** The status it should end with; 0 by default. */
  status?: number;
  /** What it should print on standard error; nothing by default. */
  stderr?: RegExp;
}

/**
 * Runs a program of tests/programs under a variant and expects that it keeps its promise (see
 * program.h): it ends in time, with status 0 and without a message. The program itself makes sure
 * that the variant is the malloc it runs on.
 */
export async function keeps(variant: string, program: string, trial: Trial = {}): Promise<void> {
  await outputOf(variant, program, trial);
}

/** The same; what the program printed on standard output. */
export async function outputOf(
  variant: string,
  program: string,
  trial: Trial = {},
): Promise<string> {
  const file = compileProgram(`${program}.c`, { flags: trial.flags ?? [] });
  const args = (trial.args ?? []).map(String);
  const timeout = trial.timeout ?? 60;
  const malloc = resolveMalloc(variant, { debug: trial.debug === true });
  const result = await launch(malloc, [...(trial.via ?? []), file, ...args], {
    timeout,
    env: {
      ...process.env,
      MALLOC_UNDER_TEST: malloc.file,
      LD_PRELOAD: (trial.behind ?? []).join(':'),
      ...trial.env,
    },
  });
  const stderr = result.stderr.toString();
  const line = [program, ...args].join(' ');
  expect(result.timedOut, `${line} hung for ${timeout} s\n${stderr}`).toBe(false);
  expect(stderr, line).toMatch(trial.stderr ?? /^$/);
  expect(result.status, `the status of ${line}`).toBe(trial.status ?? 0);
  return result.stdout.toString();
}
