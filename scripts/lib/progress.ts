import { errorColor } from './color.ts';

/** Seconds between two lines where there is no terminal, and before the first. */
const PACE = 15;
let last = performance.now();

/** As `progress`; without a terminal it prints a line now and then, so that logs show that work goes on. */
export function steadyProgress(text: string): void {
  if (process.stderr.isTTY) {
    progress(text);
    return;
  }
  if (text === '' || performance.now() - last < PACE * 1000) return;
  last = performance.now();
  process.stderr.write(`${text}\n`);
}

/**
 * One line of progress on standard error, if that is a terminal. It is cut to the terminal's width,
 * because a line that wraps could not be cleared.
 */
export function progress(text: string): void {
  if (!process.stderr.isTTY) return;
  const columns = process.stderr.columns || 80;
  const line = text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
  process.stderr.write(`\r\x1b[K${line === '' ? '' : errorColor.dim(line)}`);
}
