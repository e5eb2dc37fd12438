// The generated parts of docs/safety.md: what becomes of misuse, under every malloc that is there,
// and how long random calls have gone on without a finding.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Provenance, provenance } from '../bench/provenance.ts';
import { selectMallocs } from '../bench/select.ts';
import { markdownTable } from '../docs.ts';
import { type Malloc, resolveMalloc, variants } from '../mallocs.ts';
import { root } from '../paths.ts';
import { progress } from '../progress.ts';
import type { Subject } from './case.ts';
import { isSlow } from './features.ts';
import { commit, crimes, summary } from './misuse.ts';
import { random } from './random.ts';

/** What docs/safety.json holds. */
export interface Safety {
  provenance: Provenance;
  mallocs: string[];
  /** Outcomes by crime, in the order of `mallocs`. */
  misuse: { crime: string; outcomes: string[] }[];
  random: { malloc: string; seed: number; seconds: number; rounds: number; findings: string[] }[];
}

/** Our variants as released and, where guards are built in, as debug builds; then everybody else. */
function columns(): { title: string; malloc: Malloc }[] {
  const { mallocs } = selectMallocs([]);
  const guarded = existsSync(join(root, 'native', 'guard.h')) ? variants() : [];
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

async function fuzz(malloc: Malloc, seed: number, seconds: number): Promise<Safety['random'][0]> {
  const found = { malloc: malloc.name, seed, seconds: 0, rounds: 0, findings: [] as string[] };
  for (const each of random({ seed, seconds })) {
    progress(`${malloc.name}: ${each.group}/${each.name}`);
    const { state, because = '', seconds: took } = await each.run(subjectOf(malloc), 1);
    found.seconds += took;
    if (state === 'passed') found.rounds += Number.parseInt(because, 10);
    if (state === 'failed') found.findings.push(`${each.name}: ${because}`);
  }
  return found;
}

/** Commits every misuse under every malloc, and runs random calls on ours: `seconds` for each mix. */
export async function measureSafety(seconds: number): Promise<Safety> {
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
  const fuzzed: Safety['random'] = [];
  const seed = Date.now() % 1_000_000_000;
  for (const { malloc } of all)
    if (malloc.kind === 'variant' && !malloc.debug && malloc.name !== 'dumb')
      fuzzed.push(await fuzz(malloc, seed, seconds));
  progress('');
  const mallocs = all.filter(({ malloc }) => !malloc.debug).map(({ malloc }) => malloc);
  return {
    provenance: provenance(mallocs, {}),
    mallocs: all.map(({ title }) => title),
    misuse,
    random: fuzzed,
  };
}

/** What is found out at once stands out. */
const cell = (outcome: string): string => (outcome === 'at once' ? '**at once**' : outcome);

const minutes = (seconds: number): string => `${(seconds / 60).toFixed(1)} min`;

/** The generated blocks of docs/safety.md. */
export const safetyBlocks: Record<string, (data: Safety) => string> = {
  misuse: ({ mallocs, misuse }) =>
    markdownTable(
      ['misuse', ...mallocs],
      misuse.map(({ crime, outcomes }) => [crime, ...outcomes.map(cell)]),
    ),
  fuzzing: ({ random: runs }) =>
    markdownTable(
      ['malloc', 'first seed', 'time', 'rounds', 'findings'],
      runs.map(({ malloc, seed, seconds, rounds, findings }) => [
        malloc,
        String(seed),
        minutes(seconds),
        rounds.toLocaleString('en'),
        findings.length === 0 ? 'none' : findings.join('; '),
      ]),
    ),
};
