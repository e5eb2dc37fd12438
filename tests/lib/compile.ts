import { isAbsolute, join } from 'node:path';
import { compileInto } from '../../scripts/lib/compile.ts';
import { root } from '../../scripts/lib/paths.ts';

export interface CompileOptions {
  /** More arguments for the compiler, after the source: `-lm`, `-O0`, `-shared`… */
  flags?: string[];
}

// Without -fno-builtin the compiler deletes free(malloc(n)), and with it the test.
const common = ['-O1', '-g', '-Wall', '-Wextra', '-fno-builtin', '-pthread'];

function sourcePath(source: string): string {
  if (isAbsolute(source)) return source;
  return join(root, 'tests', source.includes('/') ? source : join('programs', source));
}

/**
 * Compiles one C file, or C++ where it ends in .cc (a name in tests/programs, `crimes/x.c` in
 * another folder of tests, or an absolute path), into build/tests and returns the executable's
 * path. Workers may ask for the same program at once. Throws with the compiler's message.
 */
export function compileProgram(source: string, options: CompileOptions = {}): string {
  const path = sourcePath(source);
  const standard = path.endsWith('.cc') ? '-std=gnu++17' : '-std=gnu17';
  const flags = [standard, ...common, '-I', join(root, 'native'), ...(options.flags ?? [])];
  return compileInto(join(root, 'build', 'tests'), path, flags);
}
