// The program that GDB debugs: GDB loads only ELF files, so a script becomes its interpreter's argument.

import { closeSync, openSync, readSync } from 'node:fs';
import { which } from '../malloc/programs.ts';

const FIRST_LINE_BYTES = 256;
const SCRIPT_DEPTH = 5;

/** An ELF file and its arguments, without the program's own name. */
export interface Debuggee {
  file: string;
  args: string[];
}

/**
 * What the kernel would start for `file`, an executable that checkTarget has passed: itself, or for a
 * script the interpreter of its first line, which may be a script again. `env NAME` in that line is
 * looked up here, so that the session begins in NAME.
 */
export function debuggee(file: string, args: string[], depth = SCRIPT_DEPTH): Debuggee {
  const start = firstBytes(file);
  if (start.startsWith('\x7fELF') || start === '' || depth === 0) return { file, args };
  if (!start.startsWith('#!')) return { file: '/bin/sh', args: [file, ...args] };
  const { interpreter, argument } = scriptLine(start);
  const named = /^\/(usr\/)?bin\/env$/.test(interpreter) && /^[^-=\s]+$/.test(argument);
  const direct = named ? which(argument) : undefined;
  if (direct) return debuggee(direct, [file, ...args], depth - 1);
  const between = argument === '' ? [] : [argument];
  return debuggee(interpreter, [...between, file, ...args], depth - 1);
}

/** As the kernel reads a `#!` line: the interpreter, and all that follows it as one argument. */
export function scriptLine(start: string): { interpreter: string; argument: string } {
  const [first = ''] = start.slice(2).split('\n');
  const [, interpreter = '', argument = ''] =
    /^[ \t]*([^ \t]*)[ \t]*(.*?)[ \t]*$/.exec(first) ?? [];
  return { interpreter, argument };
}

function firstBytes(file: string): string {
  try {
    const fd = openSync(file, 'r');
    const bytes = Buffer.alloc(FIRST_LINE_BYTES);
    const length = readSync(fd, bytes, 0, bytes.length, 0);
    closeSync(fd);
    return bytes.toString('latin1', 0, length);
  } catch {
    return ''; // executable but unreadable: GDB reports it
  }
}
