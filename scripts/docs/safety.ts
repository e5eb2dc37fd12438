// The generated parts of docs/safety.md: what each installed malloc does about misuse; and the random
// calls: for how long, with which seeds, and what they found.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Provenance, provenance } from '../bench/provenance.ts';
import { selectMallocs } from '../bench/select.ts';
import type { Subject } from '../check/case.ts';
import { commit, crimes, summary } from '../check/cases/misuse.ts';
import { isSlow } from '../check/features.ts';
import { root } from '../lib/paths.ts';
import { progress } from '../lib/progress.ts';
import { type Malloc, resolveMalloc, variants } from '../malloc/mallocs.ts';
import { markdownTable } from './blocks.ts';
import { type Fuzzed, fuzz, fuzzText } from './fuzz.ts';

/** What docs/safety.json holds. */
export interface Safety {
  provenance: Provenance;
  mallocs: string[];
  /** Outcomes by crime, in the order of `mallocs`. */
  misuse: { crime: string; outcomes: string[] }[];
  /** Takes long, so it is measured on its own, and may be older than the rest. */
  random: { provenance: Provenance; runs: Fuzzed[] };
}

/** Our variants as released and as debug builds (if there is a guard); then the other mallocs. */
function columns(): { title: string; malloc: Malloc }[] {
  const { mallocs } = selectMallocs([]);
  const guarded = existsSync(join(root, 'native', 'guard', 'guard.h')) ? variants() : [];
  const debug = guarded.map((name) => resolveMalloc(name, { debug: true }));
  const [ours, others] = [
    mallocs.filter(({ kind }) => kind === 'variant'),
    mallocs.filter(({ kind }) => kind !== 'variant'),
  ];
  return [...ours, ...debug, ...others].map((malloc) => ({
    title: malloc.debug ? `${malloc.name}, debug` : malloc.name,
    malloc,
  }));
}

const subjectOf = (malloc: Malloc): Subject => ({ malloc, slow: isSlow(malloc.name) });

/** Commits every misuse under every malloc. */
export async function measureMisuse(): Promise<Omit<Safety, 'random'>> {
  const all = columns();
  const misuse: Safety['misuse'] = [];
  for (const crime of crimes) {
    progress(crime.name);
    const outcomes = all.map(async ({ malloc }) => {
      const committed = await commit(subjectOf(malloc), crime);
      return summary(committed.map(({ outcome }) => outcome));
    });
    misuse.push({ crime: crime.name, outcomes: await Promise.all(outcomes) });
  }
  progress('');
  const mallocs = all.filter(({ malloc }) => !malloc.debug).map(({ malloc }) => malloc);
  return { provenance: provenance(mallocs), mallocs: all.map(({ title }) => title), misuse };
}

/** Random calls on all our mallocs, for so many seconds in all. */
export async function measureRandom(seconds: number): Promise<Safety['random']> {
  const ours = provenance(variants().map((name) => resolveMalloc(name)));
  return { provenance: ours, runs: await fuzz(seconds, Date.now() % 1_000_000) };
}

/** Bold for misuse that is found at once. */
const cell = (outcome: string): string => (outcome === 'at once' ? '**at once**' : outcome);

/** The generated blocks of docs/safety.md. */
export const safetyBlocks: Record<string, (data: Safety) => string> = {
  misuse: ({ mallocs, misuse }) =>
    markdownTable(
      ['misuse', ...mallocs],
      misuse.map(({ crime, outcomes }) => [crime, ...outcomes.map(cell)]),
    ),
  fuzzing: ({ random: { provenance: at, runs } }) => fuzzText(at, runs),
};
