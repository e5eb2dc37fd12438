// What must not outlive us: children in groups of their own, temporary folders.

const cleanups = new Set<() => void>();
const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Calls `cleanup` (which must be quick and synchronous) should we end, by process.exit or by a
 * signal, before the returned function has been called.
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

function cleanUp(): void {
  for (const cleanup of cleanups) cleanup();
}

/**
 * By the signal itself, not by a status: whoever waits for us may want to stop as well. Who listens
 * to it, too, has something to say yet, and then ends us himself.
 */
function endBy(signal: NodeJS.Signals): void {
  cleanUp();
  cleanups.clear();
  letGo();
  if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
}

function letGo(): void {
  process.off('exit', cleanUp);
  for (const signal of signals) process.off(signal, endBy);
}
