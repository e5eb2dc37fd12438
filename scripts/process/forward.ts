// Passes signals that we receive on to the program that we run, for which they are meant.

import { readFileSync } from 'node:fs';
import { signalAll } from './family.ts';

/** Signals from a terminal's keys and window, which go to every process of its foreground group. */
const fromTerminal: NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH', 'SIGTSTP'];
const fromOthers: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'];

/**
 * Passes signals on to `pid()` until the returned function is called. The program shares our
 * process group, so that it can use the terminal. While that group is in the foreground, the
 * terminal sends its signals to the program as well, and passing them on would turn one Ctrl-C into
 * two.
 */
export function forwardSignals(pid: () => number | undefined): () => void {
  const pass = (signal: NodeJS.Signals): void => {
    const child = pid();
    if (child === undefined) return;
    if (!(fromTerminal.includes(signal) && inForeground())) signalAll([child], signal);
    if (signal === 'SIGTSTP') stopOurselves(pass);
  };
  const signals = [...fromTerminal, ...fromOthers];
  for (const signal of signals) process.on(signal, pass);
  return () => {
    for (const signal of signals) process.off(signal, pass);
  };
}

/**
 * Stops this process, because a shell that waits for it takes the terminal back only then. The
 * default action of SIGTSTP does this, not SIGSTOP: it has no effect in an orphaned group, where no
 * shell could resume us.
 */
function stopOurselves(listener: (signal: NodeJS.Signals) => void): void {
  process.off('SIGTSTP', listener);
  process.kill(process.pid, 'SIGTSTP');
  setImmediate(() => process.on('SIGTSTP', listener));
}

function inForeground(): boolean {
  return isForeground(readFileSync('/proc/self/stat', 'latin1'));
}

/** From a line of /proc/PID/stat: is the process in its terminal's foreground group? */
export function isForeground(stat: string): boolean {
  // After `pid (name)`: state ppid pgrp session tty_nr tpgid; without a terminal tpgid is -1.
  const [, , group, , , foreground] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return group === foreground;
}
