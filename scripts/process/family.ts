// Finds a child and all it has started, and signals them; execute.ts ends them when the time is up. A
// process group is not enough: an interactive program moves its jobs to groups of their own, and we
// cannot give the program a group of its own without taking the terminal from it.

import { readdirSync, readFileSync } from 'node:fs';

/** `pid` and all its living descendants, `pid` first. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const candidate of allProcesses()) {
    const parent = parentOf(candidate);
    if (parent !== undefined) children.set(parent, [...(children.get(parent) ?? []), candidate]);
  }
  const family = [pid];
  for (const member of family) family.push(...(children.get(member) ?? []));
  return family;
}

/**
 * Every process whose environment held `marker` when it was started, including those that have left
 * the session and whose parent is init. We cannot see the environment of other users' processes.
 */
export function bearersOf(marker: string): number[] {
  return allProcesses().filter(
    (pid) => pid !== process.pid && read(`/proc/${pid}/environ`).includes(marker),
  );
}

/** Sends `signal` to each; a process that has ended meanwhile is no error. */
export function signalAll(pids: Iterable<number>, signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if (!['ESRCH', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
    }
  }
}

/** Whether it exists and is no zombie. */
export function isRunning(pid: number): boolean {
  const stat = read(`/proc/${pid}/stat`);
  return stat !== '' && stat[stat.lastIndexOf(')') + 2] !== 'Z';
}

function allProcesses(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function parentOf(pid: number): number | undefined {
  // `pid (name) state ppid …`, and the name may itself hold blanks and parentheses.
  const stat = read(`/proc/${pid}/stat`);
  const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
  return parent === undefined ? undefined : Number(parent);
}

/** Empty when the process has gone or is somebody else's. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
