// One child, from its start to its end, with all that it has started.

import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa, type Options } from 'execa';
import { Failure } from '../lib/errors.ts';
import { FAILED, NOT_EXECUTABLE, NOT_FOUND, TIMED_OUT } from '../lib/status.ts';
import { type Lost, type Patience, watchPatiently } from './cpu-limit.ts';
import { atOurEnd } from './ending.ts';
import { bearersOf, descendants, isRunning, signalAll } from './family.ts';
import { guard } from './guardian.ts';

export interface ExecuteOptions {
  env: Record<string, string | undefined>;
  cwd?: string | undefined;
  /** What the program sees as its own name; the file's path by default. */
  argv0?: string | undefined;
  input?: string | Uint8Array | undefined;
  /** 'beside': as 'inherit', with its standard output on our standard error. */
  stdio?: 'inherit' | 'beside' | 'pipe' | undefined;
  /** Seconds. */
  timeout?: number | undefined;
  /** Processor time as well: see cpu-limit.ts. */
  patience?: Patience | undefined;
  /**
   * A string that only this child's environment holds: it finds descendants that have left the
   * process group.
   */
  marker?: string | undefined;
  started?: ((pid: number) => void) | undefined;
}

export interface Ended {
  /** As a shell reports it: 128+n for signal n; 124 when the time ran out. */
  status: number;
  signal?: NodeJS.Signals;
  stdout: Buffer;
  stderr: Buffer;
  timedOut: boolean;
  /** The limit that it exceeded; undefined if that was wall-clock time. */
  lost?: Lost;
  /** Wall-clock seconds from start to end. */
  seconds: number;
}

const GRACE_MS = 1000;
const MAX_OUTPUT_BYTES = 2 ** 30;

/** Runs `file` and waits for it; a Failure (125, 126, 127) only when it cannot be started. */
export async function execute(
  file: string,
  args: string[],
  options: ExecuteOptions,
): Promise<Ended> {
  const owned = options.stdio === undefined || options.stdio === 'pipe';
  const start = performance.now();
  const child = execa(file, args, childOptions(options, owned));
  const { pid } = child;
  if (pid === undefined) throw unstartable(file, await child);
  options.started?.(pid);
  // A program in a group of its own does not receive Ctrl-C, so we end it when we end.
  const release = owned ? atOurEnd(() => signalAll([-pid], 'SIGKILL')) : () => {};
  const unguard = owned ? guard(pid) : () => {};
  const { timeout, patience, marker } = options;
  const clock =
    timeout === undefined && patience === undefined
      ? undefined
      : watch(pid, { owned, marker, seconds: timeout });
  let over = false;
  let lost: Lost | undefined;
  if (patience !== undefined)
    void watchPatiently(pid, patience, () => over).then((found) => {
      lost = found;
      if (found !== undefined) clock?.expire();
    });
  try {
    const { exitCode, signal, stdout, stderr } = await child;
    const seconds = (performance.now() - start) / 1000;
    const timedOut = clock?.expired() ?? false;
    const status = timedOut
      ? TIMED_OUT
      : signal
        ? 128 + constants.signals[signal]
        : (exitCode ?? FAILED);
    return {
      status,
      ...(signal && { signal }),
      stdout: bytes(stdout),
      stderr: bytes(stderr),
      timedOut,
      ...(timedOut && lost !== undefined && { lost }),
      seconds,
    };
  } finally {
    over = true;
    await clock?.stop();
    release();
    unguard();
  }
}

function childOptions(options: ExecuteOptions, owned: boolean) {
  const { argv0, cwd, env, input } = options;
  return {
    ...(argv0 !== undefined && { argv0 }),
    ...(cwd !== undefined && { cwd }),
    env,
    extendEnv: false,
    reject: false,
    encoding: 'buffer',
    stripFinalNewline: false,
    maxBuffer: MAX_OUTPUT_BYTES,
    // A program whose output we collect gets a group of its own, so that we can end it as one. A
    // program that has the terminal must stay in our group, because the terminal sends its signals
    // to that group.
    detached: owned,
    cleanup: false,
    ...(owned
      ? input === undefined
        ? { stdin: 'ignore' as const }
        : { input }
      : { stdio: options.stdio === 'beside' ? ([0, 2, 2] as const) : ('inherit' as const) }),
  } satisfies Options;
}

function bytes(output: unknown): Buffer {
  return output instanceof Uint8Array
    ? Buffer.from(output.buffer, output.byteOffset, output.byteLength)
    : Buffer.alloc(0);
}

function unstartable(file: string, result: { code?: string; shortMessage?: string }): Failure {
  const code =
    result.code === 'ENOENT'
      ? NOT_FOUND
      : ['EACCES', 'ENOEXEC', 'E2BIG', 'EPERM'].includes(result.code ?? '')
        ? NOT_EXECUTABLE
        : FAILED;
  return new Failure(
    `cannot start ${file}: ${result.code ?? result.shortMessage ?? 'unknown error'}`,
    { code },
  );
}

interface Watched {
  /** It has a group of its own. */
  owned: boolean;
  marker: string | undefined;
  seconds: number | undefined;
}

/**
 * After `seconds`, or when told, sends SIGTERM to the program and all its descendants, and a second later SIGKILL
 * to those that still run. `stop` waits for that second if necessary, because descendants may
 * outlive the program.
 */
function watch(pid: number, { owned, marker, seconds }: Watched) {
  const family = new Set<number>();
  let deadline: number | undefined;
  const send = (signal: NodeJS.Signals): void => {
    const bearers = marker === undefined ? [] : bearersOf(`LIBMALLOC_REPORT=${marker}`);
    for (const member of [...descendants(pid), ...bearers]) family.add(member);
    signalAll(family, signal);
    if (owned) signalAll([-pid], signal);
  };
  const expire = (): void => {
    if (deadline !== undefined) return;
    clearTimeout(timer);
    deadline = performance.now() + GRACE_MS;
    send('SIGTERM');
    signalAll(family, 'SIGCONT'); // a stopped process would never see SIGTERM
    timer = setTimeout(send, GRACE_MS, 'SIGKILL');
  };
  let timer = seconds === undefined ? undefined : setTimeout(expire, seconds * 1000);
  const stop = async (): Promise<void> => {
    clearTimeout(timer);
    if (deadline === undefined) return;
    while ([...family].some(isRunning) && performance.now() < deadline) await sleep(20);
    send('SIGKILL');
  };
  return { expired: () => deadline !== undefined, expire, stop };
}
