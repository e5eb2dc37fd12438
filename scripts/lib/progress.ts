import { errorColor } from './table.ts';

/**
 * One line on a terminal's standard error that says what is being done; nothing elsewhere. It is
 * cut to the terminal's width: what wraps around could not be cleared again.
 */
export function progress(text: string): void {
  if (!process.stderr.isTTY) return;
  const columns = process.stderr.columns || 80;
  const line = text.length < columns ? text : `${text.slice(0, columns - 2)}…`;
  process.stderr.write(`\r\x1b[K${line === '' ? '' : errorColor.dim(line)}`);
}
