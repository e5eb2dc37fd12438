// Starts a program under any malloc, and reads back what proves that it ran on it.

import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa, type Options } from 'execa';
import { readElf } from './elf.ts';
import { Failure } from './errors.ts';
import { bearersOf, descendants, signalAll } from './family.ts';
import type { Malloc } from './mallocs.ts';
import { findNative } from './paths.ts';
import { type Proof, readReports } from './report.ts';
import { checkTarget, ourselves } from './target.ts';

export type { Proof } from './report.ts';
export { checkTarget } from './target.ts';

export type Env = Record<string, string | undefined>;

export interface LaunchOptions {
  /** Seconds after which the program and all that it started is ended (SIGTERM, a second later SIGKILL). */
  timeout?: number;
  /** The whole environment of the program; ours by default. */
  env?: Env;
  cwd?: string;
  /** Standard input when stdio is 'pipe'; nothing by default. */
  input?: string | Uint8Array;
  /** 'inherit' leaves the terminal to the program; 'pipe' (default) collects its output. */
  stdio?: 'inherit' | 'pipe';
  /** Preload the probe as well and return what it found. */
  report?: boolean;
  limits?: {
    /** Bytes of address space (ulimit -v). */
    addressSpace?: number;
    /** Seconds of CPU time (ulimit -t). */
    cpu?: number;
  };
  /** Told the pid as soon as there is one, for whoever forwards signals. */
  started?: (pid: number) => void;
}

export interface Launched {
  /** As a shell gives it: 128+n for signal n; 124 when the time ran out. */
  status: number;
  signal?: NodeJS.Signals;
  stdout: Buffer;
  stderr: Buffer;
  proofs: Proof[];
  timedOut: boolean;
  /** Wall-clock seconds from start to end. */
  seconds: number;
}

/** Status of a program whose time ran out, as timeout(1) has it. */
export const TIMED_OUT = 124;

const GRACE_MS = 1000;
const MAX_OUTPUT_BYTES = 2 ** 30;

/**
 * The value of LD_PRELOAD that puts `m` in front, then `extra`; empty for plain glibc.
 * Throws a Failure for a file that the dynamic linker would skip with a mere warning: one that is
 * missing, no library, of another machine, or whose path it would split at a blank or a colon.
 */
export function preloadValue(m: Malloc, extra: string[] = []): string {
  if (m.file !== undefined) checkLibrary(m.file);
  const files = m.file === undefined ? extra : [m.file, ...extra];
  const broken = files.find((file) => /[\s:]/.test(file));
  if (broken !== undefined) {
    throw new Failure(
      `cannot preload '${broken}': LD_PRELOAD splits its value at blanks and colons`,
      {
        hint: 'copy or link the library to a path without them',
      },
    );
  }
  return files.join(':');
}

function checkLibrary(file: string): void {
  if (!existsSync(file))
    throw new Failure(`there is no library ${file}`, { hint: 'run make, or correct the path' });
  const here = ourselves();
  const elf = elfOf(file);
  if (elf?.type !== 'shared' || !elf.dynamic || elf.pie) {
    throw new Failure(`${file} is not a shared library`, {
      hint: 'a malloc is given as NAME or FILE.so; build one with cc -shared -fPIC',
    });
  }
  if (elf.bits !== here.bits || elf.machine !== here.machine) {
    throw new Failure(
      `${file} is a ${elf.bits}-bit ${elf.machine} library; this system runs ${here.bits}-bit ${here.machine}`,
      {
        hint: 'build it for this machine',
      },
    );
  }
}

function elfOf(file: string): ReturnType<typeof readElf> {
  try {
    return readElf(file);
  } catch (cause) {
    throw new Failure(`${file} cannot be read as a library: ${(cause as Error).message}`, {
      hint: 'build it again, or correct the path',
      cause,
    });
  }
}

/**
 * Runs `argv` under `m` and waits for it. The user's own LD_PRELOAD stays, behind ours.
 * Throws a Failure (125, 126, 127) when the program cannot be started or could not be reached by a preload;
 * whatever the program does, a bad status included, is a result.
 */
export async function launch(
  m: Malloc,
  argv: string[],
  options: LaunchOptions = {},
): Promise<Launched> {
  const [command = '', ...args] = argv;
  const outer = options.env ?? process.env;
  const file = checkTarget(command, outer, options.cwd);
  const folder = options.report ? mkdtempSync(join(tmpdir(), 'libmalloc-run-')) : undefined;
  try {
    const prefix = folder && join(folder, 'report');
    const environment: Env = { ...outer, ...(prefix && { LIBMALLOC_REPORT: prefix }) };
    const preload = preloadList(m, options.report === true, outer);
    const plan = options.limits
      ? limited(file, args, preload, options.limits)
      : { file, args, preload };
    if (plan.preload) environment.LD_PRELOAD = plan.preload;
    else delete environment.LD_PRELOAD;
    const result = await execute(
      plan.file,
      plan.args,
      plan.file === file ? command : undefined,
      environment,
      prefix,
      options,
    );
    return { ...result, proofs: prefix ? readReports(prefix) : [] };
  } finally {
    if (folder) rmSync(folder, { recursive: true, force: true });
  }
}

function preloadList(m: Malloc, report: boolean, outer: Env): string {
  const theirs = (outer.LD_PRELOAD ?? '').split(/[ :]+/).filter((file) => file !== '');
  return preloadValue(m, [...(report ? [probe()] : []), ...theirs]);
}

/** The absolute path of the probe library. */
export function probe(): string {
  const file = findNative('libmalloc-probe.so');
  if (!file)
    throw new Failure('the probe (libmalloc-probe.so) has not been built', { hint: 'run make' });
  return file;
}

/**
 * Limits are set by a shell that itself runs on the C library's malloc and becomes the program by exec:
 * same pid, and nobody but the program has to live within them.
 */
function limited(
  file: string,
  args: string[],
  preload: string,
  limits: { addressSpace?: number; cpu?: number },
) {
  const steps = [];
  if (limits.addressSpace !== undefined)
    steps.push(`ulimit -v ${Math.floor(limits.addressSpace / 1024)}`);
  if (limits.cpu !== undefined) steps.push(`ulimit -t ${Math.ceil(limits.cpu)}`);
  steps.push('[ -z "$0" ] || export LD_PRELOAD="$0"', 'exec "$@"');
  return { file: '/bin/sh', args: ['-c', steps.join('; '), preload, file, ...args], preload: '' };
}

async function execute(
  file: string,
  args: string[],
  argv0: string | undefined,
  env: Env,
  marker: string | undefined,
  options: LaunchOptions,
): Promise<Omit<Launched, 'proofs'>> {
  const owned = options.stdio !== 'inherit';
  const started = performance.now();
  const child = execa(file, args, {
    ...(argv0 !== undefined && { argv0 }),
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env,
    extendEnv: false,
    reject: false,
    encoding: 'buffer',
    stripFinalNewline: false,
    maxBuffer: MAX_OUTPUT_BYTES,
    // A program that we only watch gets a group of its own, to be ended as one. One that has the
    // terminal must stay in ours: that is the group to which the terminal's keys are sent.
    detached: owned,
    cleanup: false,
    ...(owned
      ? options.input === undefined
        ? { stdin: 'ignore' }
        : { input: options.input }
      : { stdio: 'inherit' }),
  } satisfies Options);
  const { pid } = child;
  if (pid === undefined) throw unstartable(file, await child);
  options.started?.(pid);
  const release = owned ? endWithUs(pid) : () => {};
  const clock =
    options.timeout === undefined ? undefined : watch(pid, owned, marker, options.timeout);
  try {
    const result = await child;
    const seconds = (performance.now() - started) / 1000;
    const timedOut = clock?.expired() ?? false;
    const signal = result.signal;
    const status = timedOut
      ? TIMED_OUT
      : signal
        ? 128 + constants.signals[signal]
        : (result.exitCode ?? 125);
    return {
      status,
      ...(signal && { signal }),
      stdout: bytes(result.stdout),
      stderr: bytes(result.stderr),
      timedOut,
      seconds,
    };
  } finally {
    clock?.stop();
    release();
  }
}

function bytes(output: unknown): Buffer {
  return output instanceof Uint8Array
    ? Buffer.from(output.buffer, output.byteOffset, output.byteLength)
    : Buffer.alloc(0);
}

function unstartable(file: string, result: { code?: string; shortMessage?: string }): Failure {
  const code =
    result.code === 'ENOENT'
      ? 127
      : ['EACCES', 'ENOEXEC', 'E2BIG', 'EPERM'].includes(result.code ?? '')
        ? 126
        : 125;
  return new Failure(
    `cannot start ${file}: ${result.code ?? result.shortMessage ?? 'unknown error'}`,
    { code },
  );
}

/** After `seconds`, SIGTERM to the whole family; SIGKILL to what is left of it a second later. */
function watch(pid: number, group: boolean, marker: string | undefined, seconds: number) {
  let expired = false;
  let timer: NodeJS.Timeout;
  const end = (signal: NodeJS.Signals): void => {
    const family = new Set([
      ...descendants(pid),
      ...(marker ? bearersOf(`LIBMALLOC_REPORT=${marker}`) : []),
    ]);
    signalAll(family, signal);
    if (group) signalAll([-pid], signal);
    if (signal === 'SIGTERM') signalAll(family, 'SIGCONT'); // a stopped process would never see it
  };
  const expire = (): void => {
    expired = true;
    end('SIGTERM');
    timer = setTimeout(end, GRACE_MS, 'SIGKILL');
  };
  timer = setTimeout(expire, seconds * 1000);
  return { expired: () => expired, stop: () => clearTimeout(timer) };
}

const ours = new Set<number>();
const endings: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** A program in a group of its own does not hear Ctrl-C: while it runs, our end is its end. */
function endWithUs(pid: number): () => void {
  if (ours.size === 0) {
    process.on('exit', endAll);
    for (const signal of endings) process.on(signal, endAllAndUs);
  }
  ours.add(pid);
  return () => {
    ours.delete(pid);
    if (ours.size > 0) return;
    process.off('exit', endAll);
    for (const signal of endings) process.off(signal, endAllAndUs);
  };
}

function endAll(): void {
  signalAll(
    [...ours].map((pid) => -pid),
    'SIGKILL',
  );
}

function endAllAndUs(signal: NodeJS.Signals): void {
  endAll();
  for (const each of endings) process.off(each, endAllAndUs);
  process.kill(process.pid, signal);
}
