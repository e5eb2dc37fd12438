// Checks of the machine: Node, a compiler, GDB and the right to trace.

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { compiler } from '../lib/flags.ts';
import { isCheckout } from '../lib/native-files.ts';
import { root } from '../lib/paths.ts';
import {
  glibcVersion,
  newEnough,
  oldestNode,
  platformFault,
  platformName,
} from '../lib/platform.ts';
import { execute } from '../process/execute.ts';
import { type Check, ok, optional, patience, wrong } from './check.ts';

/** Whether libmalloc can run on this kind of machine at all. */
export function checkPlatform(fault: string | undefined = platformFault()): Check {
  if (fault !== undefined) return wrong('platform', fault, 'use one of those');
  const version = glibcVersion();
  return ok('platform', `${platformName()}${version === undefined ? '' : ` ${version}`}`);
}

export function checkNode(version: string = process.versions.node): Check {
  if (newEnough(version)) return ok('node', version);
  const oldest = oldestNode().join('.');
  return wrong('node', version, `install Node ${oldest} or newer: https://nodejs.org`);
}

interface Said {
  failed: boolean;
  text: string;
}

/** Runs a tool and returns what it said, or that it could not. */
async function ask(file: string, args: string[], input = ''): Promise<Said> {
  try {
    const said = await execute(file, args, { env: process.env, input, patience });
    return { failed: said.status !== 0, text: `${said.stdout}${said.stderr}` };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return { failed: true, text: '' };
  }
}

function firstLine(text: string): string {
  return text.split('\n')[0]?.trim() ?? '';
}

/** A C compiler with its headers. Needed where we compile: in a checkout. */
export async function checkCompiler(): Promise<Check> {
  const lacks = isCheckout ? wrong : optional;
  const [command = 'cc', ...words] = compiler();
  const version = await ask(command, [...words, '--version']);
  if (version.failed)
    return lacks('compiler', `no ${command}`, 'apt-get install gcc libc6-dev, or set CC');
  const source = '#include <stdlib.h>\n#include <pthread.h>\n';
  const headers = await ask(command, [...words, '-fsyntax-only', '-x', 'c', '-'], source);
  if (headers.failed) return lacks('compiler', 'no C headers', 'apt-get install libc6-dev');
  return ok('compiler', firstLine(version.text));
}

export async function checkMake(): Promise<Check> {
  const lacks = isCheckout ? wrong : optional;
  const version = await ask('make', ['--version']);
  if (version.failed) return lacks('make', 'no make', 'apt-get install make');
  return ok('make', firstLine(version.text));
}

/** GDB, with the Python that the heap commands are written in. */
export async function checkGdb(): Promise<Check> {
  const version = await ask('gdb', ['--version']);
  if (version.failed) return wrong('gdb', 'no gdb', 'apt-get install gdb');
  const python = await ask('gdb', ['-nx', '-batch', '-ex', 'python print(1 + 1)']);
  if (python.failed || !python.text.includes('2'))
    return wrong('gdb', 'a gdb without Python', 'apt-get install gdb (not gdb-minimal)');
  return ok('gdb', firstLine(version.text));
}

const refused =
  'allow it: in a container start with --cap-add=SYS_PTRACE --security-opt seccomp=unconfined';

/** Whether a debugger may trace its child; attaching to others (--pid) may need more rights. */
export async function checkPtrace(): Promise<Check> {
  const session = ['-nx', '-batch', '-ex', 'set startup-with-shell off', '-ex', 'run'];
  const traced = await ask('gdb', [...session, '/bin/true']);
  if (traced.failed && traced.text === '')
    return wrong('ptrace', 'cannot be tried without gdb', 'apt-get install gdb');
  if (!traced.text.includes('exited normally'))
    return wrong('ptrace', 'a debugger may not trace its child', refused);
  const scope = ptraceScope();
  if (scope === 0 || process.getuid?.() === 0) return ok('ptrace', 'children and others');
  return optional(
    'ptrace',
    'children only',
    'to attach by --pid: sysctl kernel.yama.ptrace_scope=0',
  );
}

/** 0 when a user may trace all processes of their own (also where the kernel has no such limit). */
function ptraceScope(): number {
  const file = '/proc/sys/kernel/yama/ptrace_scope';
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
}

/** Whether the processor's debug registers work; on some virtual machines they have no effect. */
export async function checkWatchpoints(): Promise<Check> {
  const script = join(root, 'native', 'gdb', 'watchpoints.gdb');
  const asked = await ask('gdb', ['-nx', '-q', '-batch', '-x', script, '/bin/true']);
  if (!asked.text.includes('Hardware watchpoint'))
    return optional('watchpoints', 'cannot be tried', 'see what is said of gdb and ptrace');
  if (asked.text.includes('Old value')) return ok('watchpoints', 'in hardware');
  return optional(
    'watchpoints',
    'hardware ones never fire here',
    'in sessions of your own: set can-use-hw-watchpoints 0 (`heap watch` does it by itself)',
  );
}
