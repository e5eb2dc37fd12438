// Node reads arguments, variables and paths as UTF-8. Bytes that are not UTF-8 would reach a program or
// a file system changed, so we refuse them and name the argument, variable or path.

import { isUtf8 } from 'node:buffer';
import { readFileSync, readlinkSync } from 'node:fs';
import { Failure } from './errors.ts';

/** Bytes in the shell's notation `$'…'`. */
function shown(bytes: Buffer): string {
  const text = bytes.toString('latin1');
  const escaped = text.replaceAll(
    /[^ -~]/g,
    (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
  return `$'${escaped.slice(0, 80)}'`;
}

/** The first of the strings in a file of /proc, each ending in a zero byte, that is not UTF-8. */
function firstBroken(file: string): Buffer | undefined {
  const bytes = readFileSync(file);
  if (isUtf8(bytes)) return undefined;
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    const word = bytes.subarray(at, end < 0 ? bytes.length : end);
    if (!isUtf8(word)) return word;
    at += word.length + 1;
  }
  return undefined;
}

/** Throws Failure for an argument that is not UTF-8, and for such a current folder. */
export function checkArguments(): void {
  const word = firstBroken('/proc/self/cmdline');
  if (word !== undefined)
    throw new Failure(
      `the argument ${shown(word)} is not UTF-8 and cannot be passed on unchanged`,
      {
        hint: 'rename the file, or write the command into a script: libmalloc run -- sh ./script',
      },
    );
  const folder = readlinkSync('/proc/self/cwd', { encoding: 'buffer' });
  if (!isUtf8(folder))
    throw new Failure(`the current folder ${shown(folder)} is not UTF-8`, {
      hint: 'work in another folder, or rename it',
    });
}

/** Throws Failure for a variable that is not UTF-8, because every program would get a changed one. */
export function checkVariables(): void {
  const word = firstBroken('/proc/self/environ');
  if (word === undefined) return;
  const name = word.toString('latin1').replace(/=.*$/s, '');
  throw new Failure(`the variable ${name} is not UTF-8 and cannot be passed on unchanged`, {
    hint: `leave it out: env -u ${name} libmalloc …`,
  });
}
