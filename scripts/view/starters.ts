// The processes of a trace: which one started which, and their names.

import { basename } from 'node:path';
import type { TraceProcess } from '../trace/trace.ts';

/**
 * For each process, the number of the one that started it; 0 if that one is not in the trace. After
 * exec a process counts as a new one, started by the old.
 */
export function startersOf(
  processes: readonly Pick<TraceProcess, 'number' | 'pid' | 'parentPid' | 'parent'>[],
): Map<number, number> {
  const starters = new Map<number, number>();
  /** The latest process with each pid. */
  const latest = new Map<number, number>();
  for (const { number, pid, parentPid, parent } of processes) {
    starters.set(number, parent || latest.get(pid) || latest.get(parentPid) || 0);
    latest.set(pid, number);
  }
  return starters;
}

type Named = Pick<TraceProcess, 'command' | 'executable'>;

/** The name it was started by: `g++`, even if that is a link. Login shells begin theirs with a dash. */
export function nameOf({ command, executable }: Named): string {
  return basename((command[0] ?? '').replace(/^-/, '') || executable);
}

export function commandOf(process: Named): string {
  return [nameOf(process), ...process.command.slice(1)].join(' ').trim();
}
