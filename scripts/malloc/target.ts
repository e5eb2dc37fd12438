// Will LD_PRELOAD reach this program? If not, the dynamic linker says nothing: the program runs on
// the C library's malloc, with status 0. So we check before we start it.

import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, resolve } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { libcFile } from '../lib/platform.ts';
import { FAILED, NOT_EXECUTABLE, NOT_FOUND } from '../lib/status.ts';
import { type Elf, readElf } from './elf.ts';

/** The kernel reads this much of a script's first line, and follows this many interpreters. */
const SCRIPT_LINE_BYTES = 256;
const SCRIPT_DEPTH = 5;

type Env = Record<string, string | undefined>;

/**
 * Finds `command` as execvp would (PATH of `env`, relative paths from `cwd`) and returns its absolute path.
 * Throws a Failure when it cannot be run (126, 127) or when a preloaded malloc would not reach it (125):
 * static, setuid, another machine, another C library; for a script, its interpreters are followed.
 */
export function checkTarget(
  command: string,
  env: Env = process.env,
  cwd: string = process.cwd(),
): string {
  const file = find(command, env, cwd);
  checkFile(file, env, cwd, [file]);
  return file;
}

function find(command: string, env: Env, cwd: string): string {
  if (command === '') throw new Failure('no program given: its name is empty', { code: NOT_FOUND });
  if (command.includes('/')) {
    const file = resolve(cwd, command);
    const problem = whyNotRunnable(file);
    if (problem === 'missing') throw new Failure(`${command} does not exist`, { code: NOT_FOUND });
    if (problem) throw notRunnable(command, problem);
    return file;
  }
  const path = env.PATH ?? '/bin:/usr/bin';
  let unusable: { file: string; problem: string } | undefined;
  for (const folder of path.split(':')) {
    const file = resolve(cwd, folder || '.', command);
    const problem = whyNotRunnable(file);
    if (!problem) return file;
    if (problem !== 'missing' && problem !== 'is a directory') unusable ??= { file, problem };
  }
  if (unusable) throw notRunnable(unusable.file, unusable.problem);
  throw new Failure(`${command}: no such program in PATH`, {
    hint: 'give its path if it lives elsewhere: ./name or /path/to/name',
    code: NOT_FOUND,
  });
}

function notRunnable(file: string, problem: string): Failure {
  const hint =
    problem === 'is not executable'
      ? `chmod +x ${file}, or name its interpreter: … -- sh ${file}`
      : undefined;
  return new Failure(`${file} ${problem}`, { ...(hint && { hint }), code: NOT_EXECUTABLE });
}

function whyNotRunnable(file: string): string | undefined {
  try {
    const stat = statSync(file);
    if (stat.isDirectory()) return 'is a directory';
    if (!stat.isFile()) return 'is not a regular file';
    accessSync(file, constants.X_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'missing';
    return code === 'EACCES' ? 'is not executable' : `cannot be looked at (${code})`;
  }
}

/** Why a program cannot be run under us, to be read after "PROGRAM is" or "PROGRAM is run by X, which". */
interface Verdict {
  reason: string;
  hint: string;
  code: number;
}

/** `chain` is how we came here: the script, its interpreter, that one's interpreter, … */
function checkFile(file: string, env: Env, cwd: string, chain: string[]): void {
  const start = firstBytes(file);
  if (start === undefined) return; // executable but unreadable: the probe's report will tell
  if (start.toString('latin1', 0, 2) === '#!') {
    checkScript(start, env, cwd, chain);
    return;
  }
  const verdict = judge(file, start);
  if (verdict === 'text') checkFile('/bin/sh', env, cwd, [...chain, '/bin/sh']);
  else if (verdict) throw refusal(chain, verdict);
}

function refusal(chain: string[], { reason, hint, code }: Verdict): Failure {
  const [script, ...interpreters] = chain;
  const who =
    interpreters.length > 0
      ? `${script} is run by ${interpreters.join(', run by ')}, which`
      : script;
  return new Failure(`${who} ${reason}`, { hint, code });
}

/** 'text' is what execvp hands to the shell: no ELF file, no #! line, but nothing binary either. */
function judge(file: string, start: Buffer): Verdict | 'text' | undefined {
  const elf = tryElf(file);
  if (elf === 'broken')
    return {
      reason: 'is a damaged ELF file',
      hint: 'build or install it again',
      code: NOT_EXECUTABLE,
    };
  if (elf) return judgeElf(file, elf);
  if (!start.includes(0)) return 'text';
  return {
    reason: 'is not a program that Linux can start',
    hint: 'it is neither an ELF file nor a script',
    code: NOT_EXECUTABLE,
  };
}

function firstBytes(file: string): Buffer | undefined {
  try {
    const fd = openSync(file, 'r');
    const bytes = Buffer.alloc(SCRIPT_LINE_BYTES);
    const length = readSync(fd, bytes, 0, bytes.length, 0);
    closeSync(fd);
    return bytes.subarray(0, length);
  } catch {
    return undefined;
  }
}

function tryElf(file: string): Elf | undefined | 'broken' {
  try {
    return readElf(file);
  } catch (error) {
    if (error instanceof RangeError) return 'broken';
    throw error;
  }
}

function checkScript(start: Buffer, env: Env, cwd: string, chain: string[]): void {
  if (chain.length > SCRIPT_DEPTH) {
    throw refusal(chain, {
      reason: 'is one script too many: the kernel follows five',
      hint: 'name the real interpreter in the first line',
      code: NOT_EXECUTABLE,
    });
  }
  const { interpreter, program } = parseShebang(start.toString('latin1'));
  const problem = interpreter === '' ? 'missing' : whyNotRunnable(resolve(cwd, interpreter));
  if (problem) {
    const what = problem === 'missing' ? 'does not exist' : problem;
    const hint = interpreter.endsWith('\r')
      ? 'its lines end as on Windows (CR LF): save it with Unix line ends'
      : 'correct its first line, or install that interpreter';
    throw new Failure(
      `${chain.at(-1)} asks for the interpreter ${JSON.stringify(interpreter)}, which ${what}`,
      { hint, code: problem === 'missing' ? NOT_FOUND : NOT_EXECUTABLE },
    );
  }
  checkFile(resolve(cwd, interpreter), env, cwd, [...chain, interpreter]);
  const file = program === undefined ? undefined : findOrNothing(program, env, cwd);
  if (file) checkFile(file, env, cwd, [...chain, interpreter, file]);
}

/**
 * Errors that `env` itself reports are left to it, because we may have misread one of its options.
 */
function findOrNothing(program: string, env: Env, cwd: string): string | undefined {
  try {
    return find(program, env, cwd);
  } catch {
    return undefined;
  }
}

/** The interpreter of a `#!` line and, where that is `env`, the program which env will look for. */
export function parseShebang(line: string): { interpreter: string; program: string | undefined } {
  const [first = ''] = line.slice(2).split('\n');
  const [interpreter = '', ...words] = first.replace(/^[ \t]+|[ \t]+$/g, '').split(/[ \t]+/);
  if (basename(interpreter) !== 'env') return { interpreter, program: undefined };
  const program = words.find((word) => !word.startsWith('-') && !word.includes('='));
  return { interpreter, program };
}

function judgeElf(file: string, elf: Elf): Verdict | undefined {
  const here = ourselves();
  if (elf.bits !== here.bits || elf.machine !== here.machine) {
    return {
      reason: `is a ${elf.bits}-bit ${elf.machine} program; our libraries are ${here.bits}-bit ${here.machine}`,
      hint: 'the dynamic linker would ignore a library of another architecture',
      code: FAILED,
    };
  }
  if (elf.interpreter === undefined) return isDynamicLinker(file) ? undefined : judgeStatic(elf);
  if (here.interpreter !== undefined && basename(elf.interpreter) !== basename(here.interpreter)) {
    return {
      reason: `uses another C library, whose dynamic linker is ${elf.interpreter}`,
      hint: `our libraries are built for programs that use ${basename(here.interpreter)}`,
      code: FAILED,
    };
  }
  const privilege = gainsPrivilege(file);
  if (!privilege) return undefined;
  return {
    reason: `${privilege}, so the dynamic linker would ignore the preload`,
    hint: 'run it as a user for whom it changes nothing, such as root: sudo libmalloc run -- …',
    code: FAILED,
  };
}

function judgeStatic(elf: Elf): Verdict {
  if (elf.type === 'executable' || elf.pie) {
    const how = elf.type === 'executable' ? 'statically linked' : 'statically linked (static-PIE)';
    return {
      reason: `is ${how}, so nothing can be preloaded into it`,
      hint: 'its malloc was fixed when it was linked: link it dynamically',
      code: FAILED,
    };
  }
  const what = elf.type === 'shared' ? 'a shared library' : 'an ELF object';
  return {
    reason: `is ${what}, not a program`,
    hint: 'run a program that uses it',
    code: NOT_EXECUTABLE,
  };
}

/** `ld-linux-x86-64.so.2 PROGRAM` is a way of starting programs, and honours LD_PRELOAD. */
function isDynamicLinker(file: string): boolean {
  return /^ld(64|-linux.*|-\d.*)?\.so/.test(basename(realpathSync(file)));
}

let cached: Elf | undefined;

/** The running Node's own ELF facts: our libraries are built for the same machine and C library. */
export function ourselves(): Elf {
  cached ??= readElf(process.execPath);
  if (!cached)
    throw new Failure(`${process.execPath} is not an ELF file`, {
      hint: 'libmalloc works on Linux only',
    });
  return cached;
}

/**
 * Why the kernel would start `file` in secure mode (AT_SECURE) for this user, or undefined.
 * Setuid bits count only where they change the user: root may run sudo, and its preload works.
 */
function gainsPrivilege(file: string): string | undefined {
  if (/^NoNewPrivs:\s*1/m.test(readFileSync('/proc/self/status', 'utf8'))) return undefined;
  const { mode, uid, gid } = statSync(file);
  if (mode & 0o4000 && uid !== process.getuid?.()) return `is setuid (it runs as user ${uid})`;
  if (mode & 0o2000 && mode & 0o010 && gid !== process.getgid?.())
    return `is setgid (it runs as group ${gid})`;
  if (process.getuid?.() !== 0 && hasCapabilities(file)) return 'carries file capabilities';
  return undefined;
}

/** Node cannot read extended attributes, so this calls the C library through koffi, loaded on demand. */
function hasCapabilities(file: string): boolean {
  const koffi: typeof import('koffi') = createRequire(import.meta.url)('koffi');
  const getxattr = koffi
    .load(libcFile())
    .func('long getxattr(const char *path, const char *name, void *value, size_t size)');
  return getxattr(file, 'security.capability', null, 0) > 0;
}
