// The cases of each group, and the choice among them by --group.

import { Failure } from '../lib/errors.ts';
import { didYouMean } from '../lib/similar.ts';
import { type Case, type Group, groups, type ProgramCase } from './case.ts';
import { waves } from './cases/basics.ts';
import { exhaustion } from './cases/exhaustion.ts';
import { misuse } from './cases/misuse.ts';
import { processes } from './cases/process.ts';
import { type RandomOptions, random } from './cases/random.ts';
import { realProgramCases } from './cases/real-programs.ts';
import { semantics } from './cases/semantics.ts';
import { structure } from './cases/structure.ts';
import { threads } from './cases/threads.ts';
import { programCase } from './judge.ts';

/** The groups whose cases are C programs with one promise each. */
const tables: Partial<Record<Group, ProgramCase[]>> = {
  basics: waves.flat(),
  semantics,
  structure,
  threads,
  process: processes,
  exhaustion,
};

/** What runs by default: every group but `programs`, which takes long. */
export const usual: Group[] = groups.filter((group) => group !== 'programs');

/** True for the name of one case, which then runs without the preliminary cases. */
export const isOneCase = (name: string): boolean => name.includes('/');

/** The cases of one group, in their order. */
export function casesOf(group: Group, chance: RandomOptions = { seed: 1, seconds: 0 }): Case[] {
  if (group === 'misuse') return misuse();
  if (group === 'random') return random(chance);
  if (group === 'programs') return realProgramCases();
  return (tables[group] ?? []).map((each) => programCase(group, each));
}

function meant(given: string): string {
  const [group = '', name = ''] = given.split('/', 2);
  if (!(groups as readonly string[]).includes(group)) return didYouMean(group, groups);
  return didYouMean(
    name,
    casesOf(group as Group).map((each) => each.name),
  );
}

/**
 * The cases of the named groups. `GROUP/NAME` is one case or, if none has that exact name, all whose
 * names begin with it. Throws Failure for an unknown name.
 */
export function choose(names: readonly string[], chance?: RandomOptions): Case[] {
  return names.flatMap((given) => {
    const [group = '', name] = given.split('/', 2);
    const all = (groups as readonly string[]).includes(group)
      ? casesOf(group as Group, chance)
      : [];
    const exact = all.filter((each) => each.name === name);
    const begin = all.filter((each) => name === undefined || each.name.startsWith(name));
    const found = exact.length > 0 ? exact : begin;
    if (found.length > 0) return found;
    throw new Failure(`no such group of cases: ${given === '' ? '(empty)' : given}`, {
      hint: `${meant(given)}known: ${groups.join(', ')}; one case is GROUP/NAME`,
    });
  });
}
