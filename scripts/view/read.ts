// Reads trace files into the data of the page and the pictures.

import { basename } from 'node:path';
import { openTrace, type Trace, type TraceProcess } from '../trace/trace.ts';
import type { HeapData, HeapFacts } from './data.ts';
import { type PackedProcess, packProcess } from './fill.ts';
import { chooseProcess, gather } from './gather.ts';
import { Keeper } from './keeper.ts';
import { startersOf } from './starters.ts';

/** A trace to show: the heap of the process that is opened first, and all its processes, packed. */
export interface ShownTrace {
  heap: HeapData;
  /** The processes that made calls, the opened one first; only that one unless `others` is set. */
  processes: PackedProcess[];
}

export interface ReadOptions {
  /** The number of the one process to show. */
  process?: number | undefined;
  /** Whether to read the other processes, too. */
  others?: boolean;
  /** The names to show if the trace is not the file that the user named. */
  called?: Pick<HeapFacts, 'command' | 'file'>;
}

/** Reads a trace; of a damaged one as much as possible, with messages on standard error. */
export async function readShown(file: string, options: ReadOptions): Promise<ShownTrace> {
  const trace = openTrace(file);
  try {
    const chosen = chooseProcess(trace, options.process);
    const progress = progressOf(file);
    const heap = await gather(trace, { process: chosen.number, progress });
    Object.assign(heap.facts, options.called);
    say(file, trace.damage);
    const starters = startersOf(trace.processes);
    const first = packProcess(heap, starters.get(chosen.number));
    const others = options.others && options.process === undefined;
    const remarks = new Set(heap.facts.remarks);
    const processes = others ? await readOthers(trace, chosen, starters, progress, remarks) : [];
    say(file, [...remarks]);
    return { heap, processes: [first, ...processes] };
  } finally {
    trace.close();
  }
}

/** At most five sentences, because one damaged trace may have thousands. */
function say(file: string, sentences: readonly string[]): void {
  const more = sentences.length > 5 ? [`and ${sentences.length - 5} more like these`] : [];
  for (const sentence of [...sentences.slice(0, 5), ...more])
    process.stderr.write(`libmalloc: ${file}: ${sentence}\n`);
}

/** Limits for all processes of a trace but the first together: about as much as for a large one. */
const STOPS = { all: 2 ** 16, least: 2 ** 8, most: 2 ** 14 };
const BLOCKS = { all: 2 ** 20, least: 2 ** 12, most: 2 ** 18 };

/**
 * Packs every other process that made calls; a process with fewer calls gets fewer stops. Adds to
 * `remarks` what is to be said about their files.
 */
async function readOthers(
  trace: Trace,
  chosen: TraceProcess,
  starters: ReadonlyMap<number, number>,
  progress: (share: number) => void,
  remarks: Set<string>,
): Promise<PackedProcess[]> {
  const others = trace.processes.filter((each) => each !== chosen && each.records > 0);
  const records = others.reduce((sum, each) => sum + each.records, 0);
  const packed: PackedProcess[] = [];
  const nothing = new Set<number>();
  for (const [i, process] of others.entries()) {
    const part = ({ all, least, most }: typeof STOPS): number =>
      Math.min(most, Math.max(least, Math.round((all * process.records) / records)));
    const keeper = new Keeper(process.records, part(STOPS), part(BLOCKS));
    const heap = await gather(trace, { process: process.number, keeper, silent: true });
    progress(0.5 + (0.5 * i) / others.length);
    for (const sentence of heap.facts.remarks) remarks.add(sentence);
    if (heap.facts.events === 0) nothing.add(process.number);
    else packed.push(packProcess(heap, starters.get(process.number)));
  }
  return packed.map(({ facts, data }) => {
    let starter = facts.starter;
    while (nothing.has(starter)) starter = starters.get(starter) ?? 0;
    return { facts: { ...facts, starter }, data };
  });
}

/** Writes a progress line, if standard error is a terminal. */
function progressOf(file: string): (share: number) => void {
  if (!process.stderr.isTTY) return () => {};
  return (share) => {
    const end = share >= 0.995 ? '\r\x1b[K' : '';
    process.stderr.write(`\r${basename(file)}: ${Math.floor(share * 100)} %${end}`);
  };
}
