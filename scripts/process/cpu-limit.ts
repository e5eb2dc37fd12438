// How long a program may take: by the processor time that it and its children use, because the time
// on the clock says more about the load of the machine than about the program.

import { readdirSync, readFileSync } from 'node:fs';
import { setImmediate as pending, setTimeout as sleep } from 'node:timers/promises';
import { descendants } from './family.ts';

/** In seconds. */
export interface Patience {
  /** Processor time of the program and all its children. */
  cpu: number;
  /** How long all its threads may sleep: time in which it uses no processor. */
  idle: number;
  /** Called with all its processes when a limit is exceeded, before they are ended. */
  ask?: (pids: number[]) => Promise<string | undefined>;
}

/** The limit that a program exceeded, and the answer of `ask`. */
export interface Lost {
  because: 'busy' | 'idle';
  seconds: number;
  answer?: string | undefined;
}

const INTERVAL_MS = 500;
const TICKS = 100; // of /proc/PID/stat, a second: USER_HZ, the same on all Linux systems that Node runs on

/** Fields of a stat file from the state on; the name before it may hold blanks and parentheses. */
function fields(file: string): string[] {
  try {
    const text = readFileSync(file, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return []; // it has ended
  }
}

/** Seconds of processor time that a process, and children that it has waited for, have used. */
function used(pid: number): number {
  const all = fields(`/proc/${pid}/stat`);
  return all.slice(11, 15).reduce((sum, text) => sum + Number(text), 0) / TICKS;
}

/** Whether one of its threads runs, or waits for a processor or a disk; otherwise it is idle. */
function isActive(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).some((thread) =>
      ['R', 'D'].includes(fields(`/proc/${pid}/task/${thread}/stat`)[0] ?? ''),
    );
  } catch {
    return false;
  }
}

/** Watches a program until `over`, or until it exceeds a limit. */
export async function watchPatiently(
  pid: number,
  patience: Patience,
  over: () => boolean,
): Promise<Lost | undefined> {
  let [before, idle, last] = [-1, 0, performance.now()];
  for (;;) {
    await sleep(INTERVAL_MS, undefined, { ref: false });
    await pending(); // under load a timer may fire before we have handled that the program ended
    if (over()) return undefined;
    const family = descendants(pid);
    const cpu = family.reduce((sum, member) => sum + used(member), 0);
    const now = performance.now();
    // While we had no processor ourselves, we did not see whether it slept.
    idle += Math.min(now - last, 2 * INTERVAL_MS) / 1000;
    last = now;
    if (cpu !== before || family.some(isActive)) [before, idle] = [cpu, 0];
    const lost: Lost | undefined =
      cpu > patience.cpu
        ? { because: 'busy', seconds: cpu }
        : idle > patience.idle
          ? { because: 'idle', seconds: idle }
          : undefined;
    if (lost === undefined) continue;
    const answer = await patience.ask?.(family);
    return over() ? undefined : { ...lost, answer };
  }
}
