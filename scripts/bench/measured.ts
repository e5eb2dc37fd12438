// One run of one command under one malloc, measured from outside by tests/workloads/measure.c.

import { constants } from 'node:os';
import { Failure } from '../lib/errors.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { preloadValue } from '../malloc/preload.ts';
import { execute } from '../process/execute.ts';
import { workloadProgram } from './workload.ts';

export interface Run {
  /** CPU seconds, user and system, of the command and all that it started. */
  cpu: number;
  /** Seconds by the clock. */
  wall: number;
  /** Bytes of the largest of its processes. */
  peak: number;
  /** Page faults, all of them. */
  faults: number;
  status: number;
  /** Of standard output: equal for equal outputs. */
  digest: string;
  /** The last line on standard error of a command that ended badly. */
  said?: string;
}

export interface RunOptions {
  /** Beside our own environment. */
  env?: Record<string, string>;
  /** Seconds by the clock. */
  timeout: number;
  /** How often it is run; figures are of all runs together. */
  times?: number;
}

/** dumb never reuses a block; this limit ends it before it uses up the machine. */
const DUMB_LIMIT_MIB = 2048;

interface Printed {
  status: number;
  signal: number;
  user: number;
  system: number;
  wall: number;
  peak: number;
  minor: number;
  major: number;
  bytes: number;
  digest: string;
}

function signalName(number: number): string {
  const known = Object.entries(constants.signals).find(([, value]) => value === number);
  return known?.[0] ?? `signal ${number}`;
}

function launcherArguments(malloc: Malloc, times: number): string[] {
  const preload = preloadValue(malloc);
  const dumb = malloc.kind === 'variant' && malloc.name === 'dumb';
  return [
    ...(preload ? ['-l', preload] : []),
    ...(dumb ? ['-v', String(DUMB_LIMIT_MIB)] : []),
    '-n',
    String(times),
  ];
}

/** Runs `argv` (its first word a path); a string says how it failed: "killed by SIGSEGV". */
export async function measureRun(
  malloc: Malloc,
  argv: readonly string[],
  { env = {}, timeout, times = 1 }: RunOptions,
): Promise<Run | string> {
  const launcher = workloadProgram('measure.c', ['-static']);
  const args = [...launcherArguments(malloc, times), ...argv];
  const ended = await execute(launcher, args, { env: { ...process.env, ...env }, timeout });
  const said = String(ended.stderr).trim().split('\n').at(-1) ?? '';
  if (ended.timedOut) return `no end within ${timeout} s`;
  if (ended.status !== 0) throw new Failure(`cannot measure ${argv[0]}: ${said}`);
  const found = JSON.parse(String(ended.stdout)) as Printed;
  if (found.signal !== 0) return `killed by ${signalName(found.signal)}${said && `: ${said}`}`;
  return {
    cpu: found.user + found.system,
    wall: found.wall,
    peak: found.peak * 1024,
    faults: found.minor + found.major,
    status: found.status,
    digest: `${found.digest}/${found.bytes}`,
    ...(found.status !== 0 && said && { said }),
  };
}
