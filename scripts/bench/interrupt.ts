/**
 * A signal that Ctrl-C aborts, so that what was measured is not lost. A second Ctrl-C ends the
 * process at once.
 */
export function untilInterrupted(): AbortSignal {
  const stop = new AbortController();
  process.on('SIGINT', () => (stop.signal.aborted ? process.exit(130) : stop.abort()));
  return stop.signal;
}

/** "12 of 56, some 9 min left": an estimate from the time taken so far. */
export function howFar(done: number, all: number, since: number): string {
  if (done === 0) return `1 of ${all}`;
  const minutes = ((performance.now() - since) / 60_000 / done) * (all - done);
  const left = minutes < 1 ? 'less than a minute' : `some ${Math.ceil(minutes)} min`;
  return `${done + 1} of ${all}, ${left} left`;
}
