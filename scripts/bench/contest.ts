// Prepares an entry of the catalogue to be run: compiles it and makes its input.

import { createHash } from 'node:crypto';
import { existsSync, readFileSync, renameSync } from 'node:fs';
import { basename, join } from 'node:path';
import { execaSync } from 'execa';
import { makeFolder } from '../lib/folders.ts';
import { besideMalloc } from '../malloc/beside.ts';
import { findProgram, programs, which } from '../malloc/programs.ts';
import { checkTarget } from '../malloc/target.ts';
import { type Amount, type RealProgram, type Workload, workloadsFolder } from './catalog.ts';
import { programFolder, workloadProgram } from './workload.ts';

/** One thing that every malloc is made to do. */
export interface Contest {
  name: string;
  kind: 'workload' | 'program' | 'command';
  about?: string;
  threads?: number;
  /** The command, and its environment beside ours. */
  argv(amount: Amount): string[];
  env: Record<string, string>;
}

/** An entry that cannot be run here, and the reason: "needs z3: apt-get install z3". */
export interface Absent {
  name: string;
  reason: string;
}

export function prepareWorkload(entry: Workload): Contest | Absent {
  const { name, about, threads } = entry;
  if (entry.source.endsWith('.cc') && which('c++') === undefined)
    return { name, reason: 'needs a C++ compiler: apt-get install g++' };
  const program = workloadProgram(entry.source);
  const argv = (amount: Amount) => [program, ...entry.args, '--scale', String(entry.scale[amount])];
  return { name, kind: 'workload', about, threads, argv, env: {} };
}

/** The generated file or folder; made once for each amount and each version of the generator. */
function makeInput(kind: string, amount: string): string {
  const generator = join(workloadsFolder, 'inputs.mjs');
  const version = createHash('sha256').update(readFileSync(generator)).digest('hex').slice(0, 8);
  const folder = join(programFolder(), 'inputs');
  const path = join(folder, `${kind}-${amount}-${version}`);
  if (existsSync(path)) return path;
  makeFolder(folder);
  const draft = `${path}.${process.pid}`;
  execaSync(process.execPath, [generator, kind, amount, draft]);
  renameSync(draft, path);
  return path;
}

export function prepareProgram(entry: RealProgram): Contest | Absent {
  const { name, about, needs, command, input, env = {} } = entry;
  const known = programs();
  const paths = new Map(needs.map((need) => [need, known[need] && findProgram(need, known[need])]));
  const missing = needs.filter((need) => paths.get(need) === undefined);
  if (missing.length > 0) {
    const packages = new Set(missing.map((need) => known[need]?.package ?? need));
    const reason = `needs ${missing.join(', ')}: apt-get install ${[...packages].join(' ')}`;
    return { name, reason };
  }
  const reason = [...paths.values()].map((path) => besideMalloc(path as string)).find(Boolean);
  if (reason !== undefined) return { name, reason };
  const [first = '', ...rest] = command;
  const argv = (amount: Amount) => {
    const n = String(entry.amount[amount]);
    const made = input === undefined ? '' : makeInput(input, n);
    const fill = (word: string) =>
      word.replaceAll('{n}', n).replaceAll('{here}', workloadsFolder).replaceAll('{input}', made);
    return [paths.get(first) ?? first, ...rest.map(fill)];
  };
  return { name, kind: 'program', about, argv, env };
}

/** Prepares any command. Throws Failure (125, 126, 127) when a preload would not reach it. */
export function prepareCommand(command: string[]): Contest {
  const [first = '', ...rest] = command;
  const argv = [checkTarget(first), ...rest];
  const name = [basename(first), ...rest].join(' ');
  return { name, kind: 'command', argv: () => argv, env: {} };
}

/**
 * Prepares all entries; those that cannot run here are returned with the reason, never left out
 * silently.
 */
export function prepare(
  workloads: readonly Workload[],
  realPrograms: readonly RealProgram[],
): { contests: Contest[]; absent: Absent[] } {
  const all = [...workloads.map(prepareWorkload), ...realPrograms.map(prepareProgram)];
  return {
    contests: all.filter((each): each is Contest => 'argv' in each),
    absent: all.filter((each): each is Absent => 'reason' in each),
  };
}
