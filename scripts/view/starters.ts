// The processes of a trace: who started whom, and what they are called.

import { basename } from 'node:path';
import type { TraceProcess } from '../trace/trace.ts';

/**
 * For each process the number of the one that started it; 0 where that is none of the trace. A
 * process that calls exec goes on as another one, which counts as started by what it was before.
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

/** As it was called: `g++`, whatever that is a link to. Login shells have a dash before it. */
export function nameOf({ command, executable }: Named): string {
  return basename((command[0] ?? '').replace(/^-/, '') || executable);
}

export function commandOf(process: Named): string {
  return [nameOf(process), ...process.command.slice(1)].join(' ').trim();
}
