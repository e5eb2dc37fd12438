// Compiles the C programs of the kit, each when a case first needs it.

import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { compileInto } from '../lib/compile.ts';
import { buildFolder } from '../lib/native-files.ts';
import { root } from '../lib/paths.ts';
import type { Machine } from './case.ts';

const programsFolder = join(root, 'tests', 'programs');

// Without -fno-builtin the compiler deletes free(malloc(n)), so that the case would test nothing.
export const programFlags = ['-std=gnu17', '-O1', '-g', '-Wall', '-Wextra', '-fno-builtin'];

/** The folders of the headers that programs may include. */
const include = ['-I', programsFolder, '-I', join(root, 'native')];

/** The path of a C program of tests/programs (`threads-keys`), or an absolute one. */
export function sourceOf(program: string): string {
  return program.startsWith('/') ? program : join(programsFolder, `${program}.c`);
}

/** Compiles a program of the kit and returns its path. Throws Failure with the compiler's message. */
export function caseProgram(program: string, flags: string[] = [], machine?: Machine): string {
  const own = machine?.caseFlags ?? [];
  const all = [...programFlags, '-pthread', ...include, ...own, ...flags, '-ldl'];
  const folder = machine?.folder ?? buildFolder('tests');
  return compileInto(folder, sourceOf(program), all, machine?.cc);
}

/** Compiles such a program with -DLIBRARY, as a shared library, and returns its path. */
export function caseLibrary(program: string, flags: string[] = [], machine?: Machine): string {
  return caseProgram(program, ['-DLIBRARY', '-shared', '-fPIC', ...flags], machine);
}

/** The path, relative to the current folder if it lies below it. */
export function fromHere(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' || short.startsWith('..') ? path : short;
}

/** The words that start our command: in a checkout, or once installed. */
export function ourCommand(): string[] {
  return existsSync(join(root, 'Makefile')) ? ['npx', 'libmalloc'] : ['libmalloc'];
}
