import { TestRunner } from 'vitest';
import { besideMalloc } from '../../scripts/malloc/beside.ts';
import { findProgram, programs } from '../../scripts/malloc/programs.ts';

/**
 * Ends the running test as skipped, with a reason that the reporter lists. Use it for a gap
 * that a variant declares; for a missing program use `need`.
 */
export function skip(reason: string): never {
  const test = TestRunner.getCurrentTest();
  if (test === undefined) throw new Error(`only a running test can be skipped: ${reason}`);
  return test.context.skip(reason);
}

/**
 * The path of an outside program (or of a peer's library). Absent, it ends the running test as
 * skipped, naming the Debian package; with REQUIRE=1 that is a failure. Throws for a program that
 * tests/programs.json does not list. Skips likewise a program that only jemalloc can serve.
 */
export function need(name: string): string {
  const program = programs()[name];
  if (program === undefined) throw new Error(`${name} is not listed in tests/programs.json`);
  const path = findProgram(name, program);
  if (path !== undefined) return besides(path);
  const reason = `${name} is missing: apt-get install ${program.package}`;
  if (process.env.REQUIRE === '1') throw new Error(reason);
  return skip(reason);
}

function besides(path: string): string {
  const reason = besideMalloc(path);
  return reason === undefined ? path : skip(reason);
}
