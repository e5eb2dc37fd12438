// Random calls on all our mallocs, release and debug, for a long time, and the part of docs/safety.md
// about them.

import type { Provenance } from '../bench/provenance.ts';
import { excuse, type Mix, mixes, play } from '../check/cases/random.ts';
import { progress } from '../lib/progress.ts';
import { type Malloc, resolveMalloc, variants } from '../malloc/mallocs.ts';
import { markdownTable } from './blocks.ts';

/** The outcome of one mix of calls on one library, for all seeds from `first` to `last`. */
export interface Fuzzed {
  malloc: string;
  debug: boolean;
  mix: string;
  first: number;
  last: number;
  seconds: number;
  finding?: string;
}

/** Distance between first seeds: more than any run tries in its time. */
const APART = 1_000_000;

/** Each of our libraries with each mix that applies to it. */
function pairs(): { malloc: Malloc; mix: Mix }[] {
  const both = variants().flatMap((name) => [false, true].map((debug) => ({ name, debug })));
  const all = both.flatMap(({ name, debug }) =>
    mixes.map((mix) => ({ malloc: resolveMalloc(name, { debug }), mix })),
  );
  return all.filter(({ malloc, mix }) => excuse({ malloc, slow: false }, mix) === undefined);
}

/**
 * Random calls for so many seconds in all, on one library after the other; a failure ends the run of
 * its library only. `seed` is the first seed of the first library; each next one begins APART later.
 */
export async function fuzz(seconds: number, seed: number): Promise<Fuzzed[]> {
  const all = pairs();
  const found: Fuzzed[] = [];
  for (const { malloc, mix } of all) {
    const debug = malloc.debug ?? false;
    progress(`${malloc.name}${debug ? ', debug' : ''}: random/${mix.name}`);
    const options = { seed: seed + found.length * APART, seconds: seconds / all.length };
    const {
      because,
      result: _,
      args: __,
      ...played
    } = await play({ malloc, slow: false }, mix, options);
    const finding = because === undefined ? {} : { finding: because };
    found.push({ malloc: malloc.name, debug, mix: mix.name, ...played, ...finding });
  }
  progress('');
  return found;
}

/** The seeds of a mix, `532856257–532856340`; empty if the mix was not run. */
function seeds(runs: readonly Fuzzed[], mix: string): string {
  const run = runs.find((each) => each.mix === mix);
  return run === undefined ? '' : `${run.first}–${run.last}`;
}

const rounds = ({ first, last }: Fuzzed): number => last - first + 1;

const sum = (numbers: readonly number[]): number => numbers.reduce((all, n) => all + n, 0);

const minutes = (runs: readonly Fuzzed[]): string =>
  `${(sum(runs.map(({ seconds }) => seconds)) / 60).toFixed(1)} min`;

function row(runs: readonly Fuzzed[]): string[] {
  const [{ malloc, debug } = { malloc: '', debug: false }] = runs;
  const found = runs.flatMap(({ mix, last, finding }) =>
    finding === undefined ? [] : [`${mix}, ${last}: ${finding}`],
  );
  return [
    debug ? `${malloc}, debug` : malloc,
    ...mixes.map(({ name }) => seeds(runs, name)),
    sum(runs.map(rounds)).toLocaleString('en'),
    minutes(runs),
    found.length === 0 ? 'none' : found.join('; '),
  ];
}

/** One row for each library, and a sentence with the totals. */
export function fuzzText({ date, mallocs }: Provenance, runs: readonly Fuzzed[]): string {
  const found = runs.filter(({ finding }) => finding !== undefined).length;
  const libraries = variants()
    .flatMap((name) => [false, true].map((debug) => ({ name, debug })))
    .map(({ name, debug }) => runs.filter((run) => run.malloc === name && run.debug === debug))
    .filter((all) => all.length > 0);
  const head = [
    'malloc',
    ...mixes.map(({ name }) => `seeds, ${name}`),
    'rounds',
    'time',
    'findings',
  ];
  const version = [...new Set(Object.values(mallocs))].join(', ');
  return [
    markdownTable(head, libraries.map(row)),
    '',
    `In all ${minutes(runs)}, ${sum(runs.map(rounds)).toLocaleString('en')} rounds, ${
      found === 0 ? 'no finding' : `${found} findings`
    } (${date}, libmalloc ${version}).`,
  ].join('\n');
}
