// Where the steps come from: a trace of ours, or a .rep file.

import { basename } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { count } from '../lib/units.ts';
import { type LeftOut, type Step, stepsOfTrace } from '../trace/steps.ts';
import { openTrace, type TraceProcess } from '../trace/trace.ts';
import { looksLikeRep, stepsOfRep } from './rep.ts';

export interface Source {
  /** For people: `ls.trace: ls`. */
  name: string;
  /** What the last steps() left out. */
  left: LeftOut;
  /** From the beginning, each time. */
  steps(): Iterable<Step>;
  /** For the JSON document. */
  about(): object;
  /** What was left out or is damaged, as far as the last steps() came. */
  remarks(): string[];
  close(): void;
}

/** Throws Failure for what is no trace, and for a process that it does not have. */
export function openSource(file: string, process: number | undefined): Source {
  if (isRep(file)) {
    const left = { failed: 0, strays: 0 };
    return {
      name: basename(file),
      left,
      steps: () => stepsOfRep(file),
      about: () => ({ trace: file, damage: [] }),
      remarks: () => [],
      close: () => {},
    };
  }
  const trace = openTrace(file);
  const chosen = choose(file, trace.processes, trace.busiest, process);
  const source: Source = {
    name: `${basename(file)}: ${basename(chosen?.executable ?? '?')}`,
    left: { failed: 0, strays: 0 },
    steps: () => {
      source.left = { failed: 0, strays: 0 };
      return stepsOfTrace(trace, chosen, source.left);
    },
    about: () => ({ trace: file, process: chosen ?? null, damage: trace.damage }),
    remarks: () => [...leftOut(source.left, chosen), ...trace.damage, ...others(trace.processes)],
    close: () => trace.close(),
  };
  return source;
}

function isRep(file: string): boolean {
  try {
    return looksLikeRep(file);
  } catch {
    return false; // openTrace reports what is wrong with it
  }
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
