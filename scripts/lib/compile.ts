import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { execaSync } from 'execa';
import { Failure } from './errors.ts';
import { compiler } from './flags.ts';
import { makeFolder } from './folders.ts';

/** The files named by a make rule such as gcc writes: `a.so: a.c a.h \`. */
export function prerequisites(rule: string): string[] {
  const list = rule.replaceAll('\\\n', ' ').replace(/^.*?:\s/s, '');
  return list.split(/\s+/).filter((file) => file !== '');
}

function fresh(program: string): boolean {
  const depfile = `${program}.d`;
  if (!existsSync(program) || !existsSync(depfile)) return false;
  const built = statSync(program).mtimeMs;
  const older = (file: string) => existsSync(file) && statSync(file).mtimeMs <= built;
  return prerequisites(readFileSync(depfile, 'utf8')).every(older);
}

/**
 * Compiles one C file, or C++ where it ends in .cc, with `flags` (they come after the source) into
 * `folder` and returns the program's path; again only when the source, a header or the flags
 * changed. Several may ask for one program at once: each compiles under a name of its own, and the
 * last rename wins. Throws Failure with the compiler's message.
 */
export function compileInto(
  folder: string,
  source: string,
  flags: string[],
  cc: string[] = compiler(),
): string {
  const cpp = source.endsWith('.cc');
  const [command = 'cc', ...leading] = cpp ? ['c++'] : cc;
  const line = [command, ...leading, source, ...flags];
  const key = createHash('sha256').update(line.join('\0')).digest('hex').slice(0, 10);
  const program = join(folder, `${basename(source, extname(source))}-${key}`);
  if (fresh(program)) return program;

  makeFolder(folder);
  const draft = `${program}.${process.pid}`;
  const outputs = ['-MMD', '-MF', `${draft}.d`, '-o', draft];
  const result = execaSync(command, [...leading, ...outputs, source, ...flags], { reject: false });
  if (result.failed) {
    rmSync(`${draft}.d`, { force: true });
    if (result.code === 'ENOENT')
      throw new Failure(`no compiler: ${command}`, {
        hint: `apt-get install ${cpp ? 'g++' : 'gcc, or set CC'}`,
      });
    if (result.signal !== undefined)
      // Ctrl-C reaches it, too
      throw new Failure(`the compiler was ended by ${result.signal}`);
    const homeless = /Cannot create temporary file/.test(result.stderr);
    throw new Failure(
      `cannot compile ${source}:\n${result.stderr}`,
      homeless ? { hint: 'set TMPDIR to a folder that can be written to' } : {},
    );
  }
  renameSync(`${draft}.d`, `${program}.d`);
  renameSync(draft, program);
  return program;
}
