import { errorColor } from './table.ts';

/** One line on a terminal's standard error that says what is being done; nothing elsewhere. */
export function progress(text: string): void {
  if (!process.stderr.isTTY) return;
  process.stderr.write(`\r\x1b[K${text === '' ? '' : errorColor.dim(text)}`);
}
