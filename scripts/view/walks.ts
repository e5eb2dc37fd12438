// The malloc's own walks of its heap: chooses those snapshots of a trace that fit into a page.

import { chunkKinds } from '../malloc/chunk-kinds.ts';
import type { Trace, TraceProcess } from '../trace/trace.ts';
import type { HeapColumns, HeapFacts } from './data.ts';

/** The most chunks to keep, of all walks together. */
const MOST_CHUNKS = 400_000;

/** A walk of the heap; `at` counts the calls before it. */
export interface Walk {
  number: number;
  at: number;
  chunks: number;
}

/**
 * The walks that a page shows: always the last one and the one nearest to the peak. Of the rest,
 * omits every other one until few enough chunks remain.
 */
export function chooseWalks(found: readonly Walk[], peakAt: number, most = MOST_CHUNKS): Walk[] {
  const distance = ({ at }: Walk): number => Math.abs(at - peakAt);
  const nearest = [...found].sort((a, b) => distance(a) - distance(b))[0];
  const needed = new Set([nearest, found.at(-1)]);
  let chosen = [...found];
  let rest = found.filter((walk) => !needed.has(walk));
  const total = (): number => chosen.reduce((sum, { chunks }) => sum + chunks, 0);
  while (rest.length > 0 && total() > most) {
    rest = rest.filter((_, i) => i % 2 === 1);
    const kept = new Set(rest);
    chosen = chosen.filter((walk) => needed.has(walk) || kept.has(walk));
  }
  return chosen;
}

/** `found`: the walks that the trace lists; `peakAt`: the position with most live bytes. */
export function readWalks(
  trace: Trace,
  process: TraceProcess,
  found: readonly { number: number; at: number }[],
  peakAt: number,
): { walks: HeapFacts['walks']; chunks: HeapColumns['chunks'] } {
  const count = (number: number): number => {
    let n = 0;
    for (const _ of trace.chunks(process, number)) n++;
    return n;
  };
  const all = found.map(({ number, at }) => ({ number, at, chunks: count(number) }));
  const chosen = chooseWalks(all, peakAt);
  const length = chosen.reduce((sum, walk) => sum + walk.chunks, 0);
  const chunks: HeapColumns['chunks'] = {
    start: new Float64Array(length),
    extent: new Float64Array(length),
    kind: new Float64Array(length),
    sizeClass: new Float64Array(length),
    owner: new Float64Array(length),
  };
  let i = 0;
  for (const { number } of chosen) {
    for (const { start, extent, kind, sizeClass, owner } of trace.chunks(process, number)) {
      chunks.start[i] = start;
      chunks.extent[i] = extent;
      chunks.kind[i] = chunkKinds.indexOf(kind);
      chunks.sizeClass[i] = sizeClass;
      chunks.owner[i++] = owner;
    }
  }
  return { walks: chosen.map((walk) => ({ at: walk.at, chunks: walk.chunks })), chunks };
}
