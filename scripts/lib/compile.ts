import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { execaSync } from 'execa';
import { Failure } from './errors.ts';
import { compiler } from './flags.ts';

/** The files that a program was made from, as the compiler listed them (-MMD). */
function prerequisites(depfile: string): string[] {
  const text = readFileSync(depfile, 'utf8').replaceAll('\\\n', ' ');
  const list = text.slice(text.indexOf(':') + 1).trim();
  return list.split(/\s+/);
}

function fresh(program: string): boolean {
  const depfile = `${program}.d`;
  if (!existsSync(program) || !existsSync(depfile)) return false;
  const built = statSync(program).mtimeMs;
  const older = (file: string) => existsSync(file) && statSync(file).mtimeMs <= built;
  return prerequisites(depfile).every(older);
}

/**
 * Compiles one C file with `flags` into `folder` and returns the program's path; again only when the
 * source, a header or the flags changed. Several may ask for one program at once: each compiles
 * under a name of its own, and the last rename wins. Throws Failure with the compiler's message.
 */
export function compileInto(folder: string, source: string, flags: string[]): string {
  const [command = 'cc', ...leading] = compiler();
  const line = [command, ...leading, ...flags, source];
  const key = createHash('sha256').update(line.join('\0')).digest('hex').slice(0, 10);
  const program = join(folder, `${basename(source, '.c')}-${key}`);
  if (fresh(program)) return program;

  mkdirSync(folder, { recursive: true });
  const draft = `${program}.${process.pid}`;
  const outputs = ['-MMD', '-MF', `${draft}.d`, '-o', draft];
  const result = execaSync(command, [...leading, ...flags, ...outputs, source], { reject: false });
  if (result.failed) {
    rmSync(`${draft}.d`, { force: true });
    const missing = result.code === 'ENOENT';
    throw new Failure(
      missing ? `no C compiler: ${command}` : `cannot compile ${source}:\n${result.stderr}`,
      missing ? { hint: 'apt-get install gcc, or set CC' } : {},
    );
  }
  renameSync(`${draft}.d`, `${program}.d`);
  renameSync(draft, program);
  return program;
}
