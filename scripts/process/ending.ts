// Cleans up what must not outlive this process: children in groups of their own, temporary folders.

const cleanups = new Set<() => void>();
const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Calls `cleanup` (which must be quick and synchronous) if this process ends, by process.exit or by
 * a signal, before the returned function has been called.
 */
export function atOurEnd(cleanup: () => void): () => void {
  if (cleanups.size === 0) {
    process.on('exit', cleanUp);
    for (const signal of signals) process.on(signal, endBy);
  }
  cleanups.add(cleanup);
  return () => {
    cleanups.delete(cleanup);
    if (cleanups.size === 0) letGo();
  };
}

const last: (() => void)[] = [];

/** As atOurEnd, for what every child needs until then, and never undone; a signal that ends us calls it, too. */
export function atTheVeryEnd(cleanup: () => void): void {
  if (last.length === 0) process.on('exit', finish);
  last.push(cleanup);
}

function finish(): void {
  for (const cleanup of last.splice(0)) cleanup();
}

function cleanUp(): void {
  for (const cleanup of cleanups) cleanup();
}

/**
 * Ends this process by the signal itself, not by a status, because a shell that waits for us may
 * want to stop as well. If another listener is installed, it runs and ends the process.
 */
function endBy(signal: NodeJS.Signals): void {
  cleanUp();
  cleanups.clear();
  letGo();
  if (process.listenerCount(signal) > 0) return;
  finish();
  process.kill(process.pid, signal);
}

function letGo(): void {
  process.off('exit', cleanUp);
  for (const signal of signals) process.off(signal, endBy);
}
