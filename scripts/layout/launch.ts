// Runs a program and holds it at its end, so that its memory can be read from outside.

import { setTimeout as sleep } from 'node:timers/promises';
import type { Malloc } from '../malloc/mallocs.ts';
import { type Launched, launch, stopper } from '../malloc/preload.ts';
import { atOurEnd } from '../process/ending.ts';
import { signalAll } from '../process/family.ts';
import { stateOf } from './proc.ts';

/** When the program is looked at: at its end, or after so many seconds. */
export type Moment = { after: number | undefined };

const POLL_MS = 5;

/**
 * Runs `argv` on `m` (its standard output goes to our standard error), calls `look` once while it
 * stands still, and waits for it. The result of `look` is undefined when the program ended before.
 */
export async function holdAndLook<T>(
  m: Malloc,
  argv: string[],
  { after }: Moment,
  look: (pid: number) => Promise<T>,
): Promise<{ ended: Launched; seen: T | undefined }> {
  const env = { ...process.env, ...(after === undefined && atEnd()) };
  let pid: number | undefined;
  // It may be stopped, and then no signal but this one ends it.
  const release = atOurEnd(() => pid !== undefined && signalAll([pid], 'SIGKILL'));
  const ended = launch(m, argv, {
    env,
    stdio: 'beside',
    report: true,
    started: (child) => {
      pid = child;
    },
  });
  const over = ended.then(
    () => true,
    () => true,
  );
  try {
    const seen = await lookWhenStopped(() => pid, over, after, look);
    return { ended: await ended, seen };
  } finally {
    if (pid !== undefined) signalAll([pid], 'SIGCONT');
    void over.then(release);
  }
}

/** The hook that stops the program at its end, in front of the user's own preloads. */
function atEnd(): Record<string, string> {
  const hook = stopper();
  const theirs = process.env.LD_PRELOAD;
  return {
    LD_PRELOAD: theirs ? `${hook}:${theirs}` : hook,
    LIBMALLOC_LAYOUT: String(process.pid),
  };
}

async function lookWhenStopped<T>(
  child: () => number | undefined,
  over: Promise<boolean>,
  after: number | undefined,
  look: (pid: number) => Promise<T>,
): Promise<T | undefined> {
  const soon = (ms: number) => Promise.race([over, sleep(ms, false)]);
  if (after !== undefined && (await soon(after * 1000))) return undefined;
  for (let sent = after === undefined; ; ) {
    const pid = child();
    if (pid !== undefined && !sent) {
      signalAll([pid], 'SIGSTOP');
      sent = true;
    }
    if (pid !== undefined && stateOf(pid) === 'T') {
      try {
        return await look(pid);
      } finally {
        signalAll([pid], 'SIGCONT');
      }
    }
    if (await soon(POLL_MS)) return undefined;
  }
}
