// The catalogue of tests/workloads/workloads.json, and the names that a user may give.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { didYouMean } from '../lib/similar.ts';
import { readScenarios, type Scenario } from './scenarios.ts';

/** The amount of work: about a second of CPU with glibc, a sixth of that, next to nothing. */
export type Amount = 'full' | 'quick' | 'tiny';

/** A program of ours in tests/workloads. */
export interface Workload {
  name: string;
  source: string;
  args: string[];
  threads: number;
  scale: Record<Amount, number>;
  /** One sentence: what the program does. */
  about: string;
  /** The designs that it is hard on. */
  punishes: string;
}

/** A program of another project; `needs` are keys of tests/programs.json. */
export interface RealProgram {
  name: string;
  needs: string[];
  /** {n} is the amount, {here} tests/workloads, {input} what inputs.mjs makes of `input`. */
  command: string[];
  input?: string;
  env?: Record<string, string>;
  amount: Record<Amount, number | string>;
  about: string;
}

export interface Catalog {
  workloads: Workload[];
  programs: RealProgram[];
  /** The scenarios of `bench life`. */
  scenarios: Scenario[];
}

/** What else `bench` measures, by the names that a user gives. */
const measurements = ['start', 'pairs', 'curve'] as const;
type Measurement = (typeof measurements)[number];

export interface Choice extends Catalog {
  measurements: Measurement[];
}

export const workloadsFolder = join(root, 'tests', 'workloads');

export function readCatalog(): Catalog {
  const { workloads, programs } = JSON.parse(
    readFileSync(join(workloadsFolder, 'workloads.json'), 'utf8'),
  );
  return { workloads, programs, scenarios: readScenarios() };
}

/**
 * `tight-16` means that workload, `tight` every one whose name begins with `tight-`; likewise
 * `life`.
 */
const means = (given: string, name: string) => name === given || name.startsWith(`${given}-`);

/**
 * Returns what the names stand for: workloads, programs (`workloads` and `programs` name all of
 * them), scenarios and measurements. No names mean everything except the scenarios and the curve.
 * Throws Failure for an unknown name.
 */
export function choose(names: readonly string[], catalog: Catalog): Choice {
  if (names.length === 0) return { ...catalog, scenarios: [], measurements: ['start', 'pairs'] };
  const entries = [...catalog.workloads, ...catalog.programs, ...catalog.scenarios];
  const all = entries.map(({ name }) => name);
  const known = ['workloads', 'programs', 'life', ...measurements];
  const unknown = names.find(
    (given) => !known.includes(given) && !all.some((name) => means(given, name)),
  );
  if (unknown !== undefined) {
    const stems = all.flatMap((name) => name.match(/^[^-]+(?=-)/) ?? []);
    throw new Failure(`unknown workload: ${unknown === '' ? '(empty)' : unknown}`, {
      hint: `${didYouMean(unknown, [...known, ...stems, ...all])}known: ${[...known, ...all].join(', ')}; a program of your own: -- CMD…`,
    });
  }
  const wanted = (group: string) => (entry: { name: string }) =>
    names.some((given) => given === group || means(given, entry.name));
  return {
    workloads: catalog.workloads.filter(wanted('workloads')),
    programs: catalog.programs.filter(wanted('programs')),
    scenarios: catalog.scenarios.filter(wanted('life')),
    measurements: measurements.filter((name) => names.includes(name)),
  };
}
