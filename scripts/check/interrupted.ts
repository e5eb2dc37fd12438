// Ctrl-C, SIGTERM and a terminal that has gone: what is finished is told before we end.

const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Calls `tell`, which must be synchronous, when a signal ends us; then we end by that signal, after
 * all that we started (process/ending.ts). Until the returned function is called.
 */
export function whenInterrupted(tell: (signal: NodeJS.Signals) => void): () => void {
  const release = (): void => {
    for (const signal of signals) process.off(signal, end);
  };
  const end = (signal: NodeJS.Signals): void => {
    release();
    process.stdout.on('error', () => {}); // nobody may be there to read it
    process.stderr.on('error', () => {});
    try {
      tell(signal);
    } finally {
      // Those that clean up hear of the signal after us, and may end us before this does.
      setImmediate(() => process.kill(process.pid, signal));
    }
  };
  for (const signal of signals) process.on(signal, end);
  return release;
}
