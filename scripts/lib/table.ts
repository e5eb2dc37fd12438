import Table from 'cli-table3';
import { color } from './color.ts';

type Align = 'left' | 'right' | 'center';

const blank = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/**
 * Columns without ruling, a bold head, no trailing blanks: reads well in a terminal and in a pipe.
 * `align` is per column; what it leaves out is left-aligned.
 */
export function table(head: string[], rows: (string | number)[][], align: Align[] = []): string {
  const grid = new Table({
    head: head.map((title) => color.bold(title)),
    chars: blank,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [], compact: true },
    colAligns: head.map((_, column) => align[column] ?? 'left'),
  });
  grid.push(...rows.map((row) => row.map(String)));
  return grid
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n');
}
