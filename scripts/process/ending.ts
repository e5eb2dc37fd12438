// Cleans up what must not outlive this process: children in groups of their own, temporary folders.

const cleanups = new Set<() => void>();
const last: (() => void)[] = [];
const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
let listening = false;

/**
 * Calls `cleanup` (which must be quick and synchronous) if this process ends, by process.exit or by
 * a signal, before the returned function has been called.
 */
export function atOurEnd(cleanup: () => void): () => void {
  listen();
  cleanups.add(cleanup);
  return () => cleanups.delete(cleanup);
}

/** As atOurEnd, but never undone: for files that a program in our terminal needs as long as it runs. */
export function atTheVeryEnd(cleanup: () => void): void {
  listen();
  last.push(cleanup);
}

/**
 * Listeners are never removed: a signal that has arrived but is not yet delivered would be lost with
 * its listener, and Ctrl-C would do nothing at all.
 */
function listen(): void {
  if (listening) return;
  listening = true;
  process.on('exit', cleanUpAll);
  for (const signal of signals) process.on(signal, endBy);
}

function cleanUp(): void {
  for (const cleanup of cleanups) cleanup();
  cleanups.clear();
}

function cleanUpAll(): void {
  cleanUp();
  for (const cleanup of last.splice(0)) cleanup();
}

/**
 * Ends this process by the signal itself, not by a status, because a shell that waits for us may
 * want to stop as well. If another listener is installed, it runs and ends the process.
 */
function endBy(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) {
    cleanUp();
    return;
  }
  cleanUpAll();
  process.off(signal, endBy);
  process.kill(process.pid, signal);
}
