import { errorColor } from './table.ts';

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
