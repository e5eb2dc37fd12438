// On Ctrl-C, SIGTERM or a lost terminal: report the finished cases, then end.

const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * When a signal ends us, calls `tell`, which must be synchronous; then ends all that we started
 * (process/ending.ts), and us by that signal. Applies until the returned function is called.
 */
export function whenInterrupted(tell: (signal: NodeJS.Signals) => void): () => void {
  const release = (): void => {
    for (const signal of signals) process.off(signal, end);
  };
  const end = (signal: NodeJS.Signals): void => {
    release();
    process.stdout.on('error', () => {}); // its reader may be gone
    process.stderr.on('error', () => {});
    try {
      tell(signal);
    } finally {
      // The handlers that clean up run after this one, and may end the process first.
      setImmediate(() => process.kill(process.pid, signal));
    }
  };
  for (const signal of signals) process.on(signal, end);
  return release;
}
