import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import { root } from '../lib/paths.ts';
import { findPeer } from './mallocs.ts';

/** One line of tests/programs.json. */
export interface Program {
  /** The Debian package that brings it. */
  package: string;
  /** Command to look for in PATH, or an absolute path, where it is not the entry's own name. */
  command?: string;
  /** The same in the next release of Debian. */
  or?: Program;
}

/** Every outside program that tests, demonstrations and measurements use, by name. */
export function programs(): Record<string, Program> {
  return JSON.parse(readFileSync(join(root, 'tests', 'programs.json'), 'utf8'));
}

function executable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The executable that a shell would find in PATH, or undefined. */
export function which(command: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  const folders = (env.PATH ?? '').split(delimiter).filter((folder) => folder !== '');
  return folders.map((folder) => join(folder, command)).find(executable);
}

/** Where an entry of programs.json is on this machine (a command, a peer, a file), or undefined. */
export function findProgram(name: string, program: Program): string | undefined {
  const command = program.command ?? name;
  const file = isAbsolute(command) ? command : undefined;
  const found = file === undefined ? (findPeer(name) ?? which(command)) : file;
  if (found !== undefined && existsSync(found)) return found;
  return program.or === undefined ? undefined : findProgram(name, program.or);
}
