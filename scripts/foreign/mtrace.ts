// Reads the file of MALLOC_TRACE that glibc's mtrace() writes. A line is `@ WHO + ADDRESS SIZE` for
// malloc and its relatives, `- ADDRESS` for free, `<` and `>` for the two halves of realloc, and `!` for a
// realloc that failed. Source: malloc/mtrace-impl.c of glibc.

import { Op } from '../trace/format.ts';
import type { TraceEvent } from '../trace/trace.ts';
import { Calls } from './recorded-calls.ts';
import { linesOf } from './text-lines.ts';

const line = /^(?:@ .*\s)?([-+<>!]) (0x[0-9a-f]+|\(nil\))(?: (0x[0-9a-f]+|0))?\s*$/;

export const looksLikeMtrace = (start: string): boolean => /^(= Start|@ \S.* [-+<] 0x)/.test(start);

const number = (text: string): number => (text.startsWith('0x') ? Number(text) : 0);

/** The events; counts in `skipped` the lines that are none. */
export function* eventsOfMtrace(
  file: string,
  skipped: { lines: number },
): Generator<TraceEvent, void> {
  const calls = new Calls();
  let old = 0;
  skipped.lines = 0;
  for (const text of linesOf(file)) {
    const [, sign, address = '', bytes = ''] = line.exec(text) ?? [];
    const [at, size] = [number(address), number(bytes)];
    if (sign === '+') yield calls.made(Op.malloc, at, size);
    else if (sign === '-') yield calls.freed(at);
    else if (sign === '<') old = at;
    else if (sign === '>') yield* calls.resized(old, at, size);
    else if (sign === undefined && text.trim() !== '' && !text.startsWith('=')) skipped.lines++;
  }
}
