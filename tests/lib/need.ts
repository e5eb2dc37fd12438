import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { getCurrentTest } from 'vitest/suite';
import { root } from '../../scripts/lib/paths.ts';

/** One line of tests/programs.json. */
export interface Program {
  /** The Debian package that brings it. */
  package: string;
  /** The command, where it is not the entry's own name. */
  command?: string;
}

/** Every outside program that tests, demonstrations and measurements use, by name. */
export function programs(): Record<string, Program> {
  return JSON.parse(readFileSync(join(root, 'tests', 'programs.json'), 'utf8'));
}

/** The executable that a shell would find in PATH, or undefined. */
export function which(command: string): string | undefined {
  const paths = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, command));
  return paths.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/**
 * Ends the running test as skipped, with a reason that the reporter lists. For what is absent by
 * nature (a gap that a variant declares), not for a missing program: that is `need`.
 */
export function skip(reason: string): never {
  const test = getCurrentTest();
  if (test === undefined) throw new Error(`only a running test can be skipped: ${reason}`);
  return test.context.skip(reason);
}

/**
 * The path of an outside program. Absent, it ends the running test as skipped, naming the Debian
 * package; with REQUIRE=1 that is a failure. Throws for a program that programs.json lacks.
 */
export function need(name: string): string {
  const program = programs()[name];
  if (program === undefined) throw new Error(`${name} is not listed in tests/programs.json`);
  const path = which(program.command ?? name);
  if (path !== undefined) return path;
  const reason = `${name} is missing: apt-get install ${program.package}`;
  if (process.env.REQUIRE === '1') throw new Error(reason);
  return skip(reason);
}
