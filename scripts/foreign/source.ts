// The sources of steps: a trace of ours, a .rep file, or a recording of another tool.

import { basename } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { count } from '../lib/units.ts';
import { type LeftOut, type Step, stepsOfEvents } from '../trace/steps.ts';
import { openTrace, type TraceEvent, type TraceProcess } from '../trace/trace.ts';
import { eventsOfHeaptrack, looksLikeHeaptrack } from './heaptrack.ts';
import { eventsOfLtrace, looksLikeLtrace } from './ltrace.ts';
import { eventsOfMtrace, looksLikeMtrace } from './mtrace.ts';
import { looksLikeRep, Rep, type Weight } from './rep.ts';
import { beginning, isPacked, unpacked } from './text-lines.ts';

export interface Source {
  /** The name shown to users: `ls.trace: ls`. */
  name: string;
  /** The steps that the last steps() left out. */
  left: LeftOut;
  /** Its weight in the lab's score, known after steps(). */
  readonly weight: Weight;
  /** All steps, from the beginning at each call. */
  steps(): Iterable<Step>;
  /** Facts for the JSON document. */
  about(): object;
  /** Parts that are left out or damaged, as far as the last steps() read. */
  remarks(): string[];
  close(): void;
}

type Format = 'rep' | 'mtrace' | 'ltrace' | 'heaptrack';

/** Throws Failure if the file is no trace, or has no such process. */
export function openSource(file: string, process: number | undefined): Source {
  const plain = unpacked(file);
  const format = formatOf(plain?.file ?? file);
  if (plain !== undefined && format === undefined) {
    plain.remove();
    throw new Failure(`${file} is not a trace, nor a recording of heaptrack`, {
      hint: 'record one: libmalloc record -o FILE -- CMD',
    });
  }
  if (format === undefined) return ourSource(file, process);
  if (process !== undefined)
    throw new Failure(`${file} does not tell processes apart`, { hint: 'leave --process away' });
  const source =
    format === 'rep' ? repSource(file) : foreignSource(file, plain?.file ?? file, format);
  source.close = () => plain?.remove();
  return source;
}

/** A file of another tool, compressed or not: no trace of ours, and not what is none at all. */
export const isForeign = (file: string): boolean => isPacked(file) || formatOf(file) !== undefined;

/** Undefined for a trace of ours, and for what is none at all. */
function formatOf(file: string): Format | undefined {
  const start = beginning(file).toString('latin1');
  if (looksLikeHeaptrack(start)) return 'heaptrack';
  if (looksLikeMtrace(start)) return 'mtrace';
  if (looksLikeRep(start)) return 'rep';
  return looksLikeLtrace(start) ? 'ltrace' : undefined;
}

function repSource(file: string): Source {
  const rep = new Rep(file);
  return {
    name: basename(file),
    left: { failed: 0, strays: 0 },
    get weight() {
      return rep.weight;
    },
    steps: () => rep.steps(),
    about: () => ({ trace: file, damage: [] }),
    remarks: () => rep.remarks(),
    close: () => {},
  };
}

function foreignSource(
  file: string,
  plain: string,
  format: 'mtrace' | 'ltrace' | 'heaptrack',
): Source {
  const skipped = { lines: 0, hidden: 0, guessed: false };
  const events = (): Iterable<TraceEvent> =>
    format === 'mtrace'
      ? eventsOfMtrace(plain, skipped)
      : format === 'ltrace'
        ? eventsOfLtrace(plain, skipped)
        : eventsOfHeaptrack(plain, skipped);
  const source: Source = {
    name: `${basename(file)}: ${format}`,
    left: { failed: 0, strays: 0 },
    weight: 'all',
    steps: () => {
      source.left.failed = source.left.strays = 0;
      return stepsOfEvents(events(), source.left);
    },
    about: () => ({ trace: file, format, damage: [] }),
    remarks: () => [...leftOut(source.left, undefined), ...foreignRemarks(skipped)],
    close: () => {},
  };
  return source;
}

function foreignRemarks(skipped: { lines: number; hidden: number; guessed: boolean }): string[] {
  const lines: string[] = [];
  if (skipped.lines > 0) lines.push(`${count(skipped.lines)} lines make no sense and are left out`);
  if (skipped.hidden > 0)
    lines.push(
      `${count(skipped.hidden)} calls of posix_memalign are left out: ltrace does not say which block they gave`,
    );
  if (skipped.guessed)
    lines.push(
      'which of several equal blocks was freed is not in it: the last is taken (heaptrack --raw says it)',
    );
  return lines;
}

function ourSource(file: string, process: number | undefined): Source {
  const trace = openTrace(file);
  const chosen = choose(file, trace.processes, trace.busiest, process);
  const source: Source = {
    name: `${basename(file)}: ${basename(chosen?.executable ?? '?')}`,
    left: { failed: 0, strays: 0 },
    weight: 'all',
    steps: () => {
      source.left = { failed: 0, strays: 0 };
      return stepsOfEvents(trace.events(chosen), source.left);
    },
    about: () => ({ trace: file, process: chosen ?? null, damage: trace.damage }),
    remarks: () => [...leftOut(source.left, chosen), ...trace.damage, ...others(trace.processes)],
    close: () => trace.close(),
  };
  return source;
}

function choose(
  file: string,
  processes: readonly TraceProcess[],
  busiest: TraceProcess | undefined,
  wanted: number | undefined,
): TraceProcess | undefined {
  if (wanted === undefined) return busiest;
  const found = processes.find(({ number }) => number === wanted);
  if (found) return found;
  const there = processes.map(({ number, executable }) => `${number} ${basename(executable)}`);
  throw new Failure(`${file} has no process ${wanted}`, {
    hint: there.length > 0 ? `it has: ${there.slice(0, 20).join(', ')}` : 'it has none at all',
  });
}

function leftOut(left: LeftOut, process: TraceProcess | undefined): string[] {
  const lines: string[] = [];
  if (left.failed > 0) lines.push(`${count(left.failed)} calls that failed are left out`);
  if (left.strays === 0) return lines;
  const why = process?.parent ? 'the process had them from its parent' : 'never handed out';
  return [...lines, `${count(left.strays)} frees of unknown blocks are left out: ${why}`];
}

function others(processes: readonly TraceProcess[]): string[] {
  const n = processes.length - 1;
  return n > 0 ? [`${n} other ${n === 1 ? 'process' : 'processes'}: --process N plays one`] : [];
}
