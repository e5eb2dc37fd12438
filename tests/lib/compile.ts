import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, isAbsolute, join } from 'node:path';
import { execaSync } from 'execa';
import { compiler } from '../../scripts/lib/flags.ts';
import { root } from '../../scripts/lib/paths.ts';

export interface CompileOptions {
  /** More arguments for the compiler, after the source: `-lm`, `-O0`, `-shared`… */
  flags?: string[];
}

const output = join(root, 'build', 'tests');

// Without -fno-builtin the compiler deletes free(malloc(n)), and with it the test.
const common = ['-O1', '-g', '-Wall', '-Wextra', '-fno-builtin', '-pthread'];

function sourcePath(source: string): string {
  if (isAbsolute(source)) return source;
  return join(root, 'tests', source.includes('/') ? source : join('programs', source));
}

/** The files that a program was made from, as the compiler listed them (-MMD). */
function prerequisites(depfile: string): string[] {
  const text = readFileSync(depfile, 'utf8').replaceAll('\\\n', ' ');
  return text
    .slice(text.indexOf(':') + 1)
    .trim()
    .split(/\s+/);
}

function fresh(program: string): boolean {
  const depfile = `${program}.d`;
  if (!existsSync(program) || !existsSync(depfile)) return false;
  const built = statSync(program).mtimeMs;
  return prerequisites(depfile).every(
    (file) => existsSync(file) && statSync(file).mtimeMs <= built,
  );
}

/**
 * Compiles one C file, or C++ where it ends in .cc (a name in tests/programs, `crimes/x.c` in
 * another folder of tests, or an absolute path) and returns the executable's path in build/tests.
 * Compiled again only when the source, a header or the flags changed. Workers may ask for the same
 * program at once: each compiles under a name of its own, and the last rename wins. Throws with the
 * compiler's message.
 */
export function compileProgram(source: string, options: CompileOptions = {}): string {
  const path = sourcePath(source);
  const cpp = path.endsWith('.cc');
  const [command = 'cc', ...leading] = cpp ? ['c++'] : compiler();
  const standard = cpp ? '-std=gnu++17' : '-std=gnu17';
  const flags = [standard, ...common, '-I', join(root, 'native'), path, ...(options.flags ?? [])];
  const key = createHash('sha256')
    .update([command, ...leading, ...flags].join('\0'))
    .digest('hex');
  const program = join(output, `${basename(path, '.c')}-${key.slice(0, 10)}`);
  if (fresh(program)) return program;

  mkdirSync(output, { recursive: true });
  const draft = `${program}.${process.pid}`;
  const dependencies = ['-MMD', '-MF', `${draft}.d`];
  const result = execaSync(command, [...leading, ...dependencies, '-o', draft, ...flags], {
    reject: false,
  });
  if (result.failed) {
    rmSync(`${draft}.d`, { force: true });
    throw new Error(`cannot compile ${source}:\n${result.stderr || result.message}`);
  }
  renameSync(`${draft}.d`, `${program}.d`);
  renameSync(draft, program);
  return program;
}
