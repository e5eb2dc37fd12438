// Starts a program under any malloc, and reads back what proves that it ran on it.

import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import type { Patience } from '../process/cpu-limit.ts';
import { atOurEnd } from '../process/ending.ts';
import { type Ended, execute } from '../process/execute.ts';
import { preloadable } from './aside.ts';
import { readElf } from './elf.ts';
import { type Finding, readFindings } from './findings.ts';
import { provideNative } from './from-source.ts';
import type { Malloc } from './mallocs.ts';
import { type Proof, readReports } from './proof.ts';
import { checkTarget, ourselves } from './target.ts';
import { readUnreached, type Unreached } from './unreached.ts';

export type { Proof } from './proof.ts';
export { checkTarget } from './target.ts';

export type Env = Record<string, string | undefined>;

export interface LaunchOptions {
  /** Seconds after which the program and all that it started is ended (SIGTERM, a second later SIGKILL). */
  timeout?: number;
  /** Processor time instead of the time on the clock: see process/cpu-limit.ts. */
  patience?: Patience;
  /** The whole environment of the program; ours by default. */
  env?: Env;
  cwd?: string;
  /** Standard input when stdio is 'pipe'; nothing by default. */
  input?: string | Uint8Array;
  /**
   * 'inherit' leaves the terminal to the program, 'beside' all but standard output, which becomes
   * our standard error; 'pipe' (default) collects its output.
   */
  stdio?: 'inherit' | 'beside' | 'pipe';
  /** Preload the probe as well and return what it found. */
  report?: boolean;
  /** Record its calls: the value of LIBMALLOC_TRACE. The trace library then stands before `m`. */
  trace?: string | undefined;
  /** Profile it: the value of LIBMALLOC_PROFILE. The profiler then stands before `m`. */
  profile?: string | undefined;
  /** Keep a table of its live blocks for a debugger. The library that does so then stands before `m`. */
  track?: boolean;
  limits?: {
    /** Bytes of address space (ulimit -v). */
    addressSpace?: number;
    /** Seconds of CPU time (ulimit -t). */
    cpu?: number;
    /** Bytes of a core file (ulimit -c); 0 is none. */
    core?: number;
  };
  /** Called with the pid as soon as there is one, so that signals can be forwarded. */
  started?: (pid: number) => void;
}

export interface Launched extends Ended {
  /** One per process; empty unless `report` was asked for. */
  proofs: Proof[];
  /** Programs that ran without the preload, if a preloaded process started them; likewise. */
  unreached: Unreached[];
  /** What debug builds found, likewise. */
  findings: Finding[];
}

/**
 * The value of LD_PRELOAD that puts `m` in front, then `extra`; empty for plain glibc.
 * Throws a Failure for a file that the dynamic linker would skip with a mere warning: one that is
 * missing, no library, or of another machine.
 */
export function preloadValue(m: Malloc, extra: string[] = []): string {
  if (m.file !== undefined) checkLibrary(m.file);
  return [...(m.file === undefined ? [] : [preloadable(m.file)]), ...extra].join(':');
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
 * anything that the program does, a bad status included, is a result.
 */
export async function launch(
  m: Malloc,
  argv: string[],
  options: LaunchOptions = {},
): Promise<Launched> {
  const [command = '', ...args] = argv;
  const outer = options.env ?? process.env;
  const file = checkTarget(command, outer, options.cwd);
  const folder = options.report ? temporaryFolder('run') : undefined;
  const remove = () => folder && rmSync(folder, { recursive: true, force: true });
  // A program in our terminal handles signals itself, so we do not end before it.
  const release = options.stdio === 'inherit' ? () => {} : atOurEnd(remove);
  try {
    const prefix = folder && join(folder, 'report');
    const environment: Env = { ...outer, ...(prefix && { LIBMALLOC_REPORT: prefix }) };
    if (options.trace !== undefined) environment.LIBMALLOC_TRACE = options.trace;
    if (options.profile !== undefined) environment.LIBMALLOC_PROFILE = options.profile;
    const front = [
      ...(options.profile === undefined ? [] : [helper('profile')]),
      ...(options.trace === undefined ? [] : [helper('trace')]),
      ...(options.track ? [tracker()] : []),
    ];
    const preload = preloadList(m, options.report === true, outer, front);
    const plan = options.limits
      ? limited(file, args, preload, options.limits)
      : { file, args, preload };
    if (plan.preload) environment.LD_PRELOAD = plan.preload;
    else delete environment.LD_PRELOAD;
    const argv0 = plan.file === file ? command : undefined;
    const result = await execute(plan.file, plan.args, {
      ...options,
      argv0,
      env: environment,
      marker: prefix,
    });
    return {
      ...result,
      proofs: prefix ? readReports(prefix) : [],
      unreached: prefix ? readUnreached(prefix) : [],
      findings: prefix ? readFindings(prefix) : [],
    };
  } finally {
    release();
    remove();
  }
}

/**
 * As preloadValue, with `front` before `m`, the probe behind it where a report is wanted, and the
 * user's own LD_PRELOAD last.
 */
export function preloadList(m: Malloc, report: boolean, outer: Env, front: string[] = []): string {
  const theirs = (outer.LD_PRELOAD ?? '').split(/[ :]+/).filter((file) => file !== '');
  const behind = preloadValue(m, [...(report ? [probe()] : []), ...theirs]);
  return [...front, ...(behind === '' ? [] : [behind])].join(':');
}

/** The absolute path of the probe library. */
export function probe(): string {
  return helper('probe');
}

/** The absolute path of the library that keeps a table of live blocks. */
export function tracker(): string {
  return helper('track');
}

/** The absolute path of the library that stops a program at its end. */
export function stopper(): string {
  return helper('layout');
}

function helper(name: string): string {
  return preloadable(provideNative(`libmalloc-${name}.so`));
}

/**
 * A shell on the C library's malloc sets the limits and then becomes the program by exec: the pid
 * stays the same, and the limits hold for the program only.
 */
function limited(
  file: string,
  args: string[],
  preload: string,
  limits: NonNullable<LaunchOptions['limits']>,
) {
  const steps = [];
  if (limits.addressSpace !== undefined)
    steps.push(`ulimit -v ${Math.floor(limits.addressSpace / 1024)}`);
  if (limits.cpu !== undefined) steps.push(`ulimit -t ${Math.ceil(limits.cpu)}`);
  if (limits.core !== undefined) steps.push(`ulimit -c ${Math.floor(limits.core / 512)}`);
  steps.push('[ -z "$0" ] || export LD_PRELOAD="$0"', 'exec "$@"');
  return { file: '/bin/sh', args: ['-c', steps.join('; '), preload, file, ...args], preload: '' };
}
