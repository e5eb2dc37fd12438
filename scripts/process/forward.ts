// Signals that are sent to us are meant for the program that we run.

import { readFileSync } from 'node:fs';
import { signalAll } from './family.ts';

/** What a terminal's keys and window produce; it sends these to every process of its foreground group. */
const fromTerminal: NodeJS.Signals[] = ['SIGINT', 'SIGQUIT', 'SIGWINCH', 'SIGTSTP'];
const fromOthers: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGCONT'];

/**
 * Passes signals on to `pid()` until the returned function is called. Our program shares our process
 * group, so that the terminal is its own; while that group is in the foreground, what comes from the
 * terminal has already reached it, and passing it on would make one Ctrl-C two.
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
 * The shell that waits for us must see us stop, else it would not take its terminal back. By the
 * signal's own default, and not by SIGSTOP: where nobody could resume us, that does nothing.
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
