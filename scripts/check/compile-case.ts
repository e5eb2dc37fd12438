// Compiles the C programs of the kit, each when a case first needs it.

import { existsSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { compileInto } from '../lib/compile.ts';
import { buildFolder } from '../lib/native-files.ts';
import { root } from '../lib/paths.ts';
import type { Machine } from './case.ts';

const programsFolder = join(root, 'tests', 'programs');
const native = join(root, 'native');

// Without -fno-builtin the compiler deletes free(malloc(n)), so that the case would test nothing.
const programFlags = ['-std=gnu17', '-O1', '-g', '-Wall', '-Wextra', '-fno-builtin'];

/** The folders of the headers that programs may include. */
const include = ['-I', programsFolder, '-I', native];

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

/** The words of the command by which a reader compiles such a program into `./case`. */
export function caseCommand(program: string, flags: string[] = []): string[] {
  const source = sourceOf(program);
  const text = readFileSync(source, 'utf8');
  const quiet = programFlags.filter((flag) => !flag.startsWith('-W'));
  const header = /^#include "libmalloc\.h"/m.test(text) ? ['-I', fromHere(native)] : [];
  const linker = /^#include "(?:program|life)\.h"/m.test(text) ? ['-ldl'] : []; // before glibc 2.34
  const output = ['-o', 'case', fromHere(source)];
  return ['cc', ...quiet, '-pthread', ...header, ...flags, ...output, ...linker];
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
