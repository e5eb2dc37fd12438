// The C programs of the kit, compiled when they are needed.

import { existsSync } from 'node:fs';
import { join, relative } from 'node:path';
import { compileInto } from '../lib/compile.ts';
import { buildFolder } from '../lib/native-files.ts';
import { root } from '../lib/paths.ts';
import type { Machine } from './case.ts';

const programsFolder = join(root, 'tests', 'programs');

// Without -fno-builtin the compiler deletes free(malloc(n)), and with it the case.
export const programFlags = ['-std=gnu17', '-O1', '-g', '-Wall', '-Wextra', '-fno-builtin'];

/** Where headers lie that programs may include, seen from anywhere. */
const include = ['-I', programsFolder, '-I', join(root, 'native')];

/** The path of a C program of tests/programs (`threads-keys`), or an absolute one. */
export function sourceOf(program: string): string {
  return program.startsWith('/') ? program : join(programsFolder, `${program}.c`);
}

/** Compiles a program of the kit and returns its path. Throws Failure with the compiler's words. */
export function caseProgram(program: string, flags: string[] = [], machine?: Machine): string {
  const own = machine?.caseFlags ?? [];
  const all = [...programFlags, '-pthread', ...include, ...own, ...flags, '-ldl'];
  const folder = machine?.folder ?? buildFolder('tests');
  return compileInto(folder, sourceOf(program), all, machine?.cc);
}

/** The library that such a program is when compiled with -DLIBRARY. */
export function caseLibrary(program: string, flags: string[] = [], machine?: Machine): string {
  return caseProgram(program, ['-DLIBRARY', '-shared', '-fPIC', ...flags], machine);
}

/** A path as short as it can be given from here. */
export function fromHere(path: string): string {
  const short = relative(process.cwd(), path);
  return short === '' || short.startsWith('..') ? path : short;
}

/** How a reader types our command: in a checkout, and once installed. */
export function ourCommand(): string[] {
  return existsSync(join(root, 'Makefile')) ? ['npx', 'libmalloc'] : ['libmalloc'];
}
