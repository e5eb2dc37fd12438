// Reads the unpacked files of heaptrack; all numbers are hexadecimal. Raw recordings (--raw) have lines
// `+ SIZE STACK ADDRESS` and `- ADDRESS`. Interpreted ones, the default, define kinds of allocations by
// `a SIZE STACK`; `+ KIND` and `- KIND` make and free a block of that kind without saying which, so we
// free the newest. Sources: track/libheaptrack.cpp and interpret/heaptrack_interpret.cpp of heaptrack.

import { Op } from '../trace/format.ts';
import type { TraceEvent } from '../trace/trace.ts';
import { Calls } from './recorded-calls.ts';
import { linesOf } from './text-lines.ts';

export const looksLikeHeaptrack = (start: string): boolean =>
  /^v [0-9a-f]+ [0-9a-f]+\n/.test(start);

/** The events; sets `guessed` when the file does not say which of several equal blocks was freed. */
export function* eventsOfHeaptrack(
  file: string,
  how: { guessed: boolean },
): Generator<TraceEvent, void> {
  const calls = new Calls();
  const sizes: number[] = [];
  const live: number[][] = [];
  let made = 0;
  for (const text of linesOf(file)) {
    const [letter, ...words] = text.split(' ');
    const [first = 0, , third] = words.map((word) => Number.parseInt(word, 16));
    if (letter === 'a') sizes.push(first);
    else if (letter === '+' && third !== undefined) yield calls.made(Op.malloc, third, first);
    else if (letter === '-' && sizes.length === 0) yield calls.freed(first);
    else if (letter === '+') {
      how.guessed = true;
      live[first] ??= [];
      live[first].push(++made);
      yield calls.made(Op.malloc, made, sizes[first] ?? 0);
    } else if (letter === '-') yield calls.freed(live[first]?.pop() ?? -1);
  }
}
