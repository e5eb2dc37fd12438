// Runs a program in this terminal, and describes how it ended.

import { basename } from 'node:path';
import { forwardSignals } from '../process/forward.ts';
import type { Malloc } from './mallocs.ts';
import { type Launched, type LaunchOptions, launch } from './preload.ts';

/** As launch, with our terminal and the signals that are sent to us. */
export async function launchInForeground(
  m: Malloc,
  argv: string[],
  options: LaunchOptions,
): Promise<Launched> {
  let child: number | undefined;
  const release = forwardSignals(() => child);
  try {
    const started = (pid: number): void => {
      child = pid;
    };
    return await launch(m, argv, { ...options, stdio: 'inherit', started });
  } finally {
    release();
  }
}

/** Ends that need no message: the reader pressed Ctrl-C, or closed the pipe. */
const silentEnds: (NodeJS.Signals | undefined)[] = ['SIGINT', 'SIGPIPE', undefined];

/** A line when the end was unusual, else none. */
export function howItEnded(argv: string[], result: Launched): string[] {
  const program = basename(argv[0] ?? '');
  if (result.timedOut)
    return [`${program} was ended after ${result.seconds.toFixed(1)} s: its time was up`];
  if (silentEnds.includes(result.signal)) return [];
  return [`${program} was ended by ${result.signal}`];
}
