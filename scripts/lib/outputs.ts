// Files that a verb writes: whether it can is asked before the work, not after an hour of it.

import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { Failure, reasonOf } from './errors.ts';

/** Options that name a file to be written, in every verb that has them. */
const named = ['output', 'export', 'json', 'junit', 'svg', 'png'];

/** Throws Failure for the first of these options whose file cannot be written. */
export function checkOutputs(options: Readonly<Record<string, unknown>>): void {
  for (const name of named)
    for (const file of [options[name]].flat()) {
      if (typeof file !== 'string' || (name === 'json' && file === '-')) continue;
      const problem = whyNot(file);
      if (problem !== undefined) throw unwritable(file, `--${name}`, problem);
    }
}

/** Writes what `option` asked for. Throws Failure when the file cannot be written. */
export function writeOutput(option: string, file: string, content: string | Uint8Array): void {
  try {
    writeFileSync(file, content);
  } catch (cause) {
    throw unwritable(file, option, reasonOf(cause), cause);
  }
}

export function unwritable(file: string, option: string, why: string, cause?: unknown): Failure {
  const or = option === '--json' ? ', or - for standard output' : '';
  return new Failure(`cannot write ${file === '' ? '(empty)' : file}: ${why}`, {
    hint: `give ${option} a path that can be written${or}`,
    cause,
  });
}

/** Why this file cannot be written, without opening it: a pipe's reader would see it end. */
function whyNot(file: string): string | undefined {
  try {
    const there = statSync(file, { throwIfNoEntry: false });
    if (there?.isDirectory()) return 'it is a folder';
    if (there !== undefined) {
      accessSync(file, constants.W_OK);
      return undefined;
    }
    const folder = dirname(file);
    const parent = statSync(folder, { throwIfNoEntry: false });
    if (file === '' || file.endsWith('/') || parent === undefined)
      return `there is no folder ${file.endsWith('/') ? file : folder}`;
    accessSync(folder, constants.W_OK | constants.X_OK);
    return parent.isDirectory() ? undefined : `${folder} is no folder`;
  } catch (cause) {
    return reasonOf(cause);
  }
}
