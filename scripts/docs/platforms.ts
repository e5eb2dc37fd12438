// The tables of docs/platforms.md, from docs/platforms.json, which `make ports` writes.

import { markdownTable } from './blocks.ts';

/** The result of one job and its date: figures by variant, or by way of compiling. */
interface Row {
  name: string;
  day: string;
  cells: Record<string, string>;
}

export interface Platforms {
  platforms: Row[];
  compilers: Row[];
}

function tableOf(title: string, rows: Row[]): string {
  if (rows.length === 0) return 'None of these jobs has been run yet.';
  const columns = [...new Set(rows.flatMap(({ cells }) => Object.keys(cells)))];
  return markdownTable(
    [title, ...columns, 'run on'],
    rows.map(({ name, day, cells }) => [name, ...columns.map((each) => cells[each] ?? ''), day]),
  );
}

/** The generated blocks of docs/platforms.md. */
export const platformBlocks: Record<string, (data: Platforms) => string> = {
  platforms: ({ platforms }) => tableOf('platform', platforms),
  compilers: ({ compilers }) => tableOf('compiler', compilers),
};
