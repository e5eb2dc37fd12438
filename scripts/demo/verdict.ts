// The outcome of a command, compared with a run on the system's malloc.

import { createHash } from 'node:crypto';
import type { Launched } from '../malloc/preload.ts';

/** 'failed' is an error status that the program chose, 'differs' a good status with a wrong output. */
export type Verdict = 'same' | 'differs' | 'failed' | 'crashed' | 'hung';

/** The summary of a run; outputs are not kept, because they may have hundreds of MB. */
export interface Outcome {
  status: number;
  signal: NodeJS.Signals | undefined;
  timedOut: boolean;
  seconds: number;
  digest: string;
  lines: number;
  lastLine: string;
  errors: string;
}

export function outcomeOf(run: Launched): Outcome {
  const { status, signal, timedOut, seconds, stdout, stderr } = run;
  return {
    status,
    signal,
    timedOut,
    seconds,
    digest: createHash('sha256').update(stdout).digest('hex'),
    lines: countLines(stdout),
    lastLine: lastLine(stdout),
    errors: stderr.toString(),
  };
}

export function verdictOf(system: Outcome, ours: Outcome): Verdict {
  if (ours.timedOut) return 'hung';
  if (crashed(ours) && ours.status !== system.status) return 'crashed';
  if (ours.status !== system.status) return 'failed';
  return ours.digest === system.digest && ours.errors === system.errors ? 'same' : 'differs';
}

/** True also if a shell in between has turned the signal into a status. */
function crashed({ signal, status }: Outcome): boolean {
  return signal !== undefined || status > 128;
}

function countLines(output: Buffer): number {
  let lines = 0;
  for (let at = output.indexOf(10); at >= 0; at = output.indexOf(10, at + 1)) lines++;
  return lines;
}

function lastLine(output: Buffer): string {
  const tail = output.subarray(-400).toString().trimEnd();
  return tail.slice(tail.lastIndexOf('\n') + 1).trim();
}
