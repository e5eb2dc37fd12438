// All cases there are, and those that a reader asks for.

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

/** Of the groups that are C programs with one promise each. */
const tables: Partial<Record<Group, ProgramCase[]>> = {
  basics: waves.flat(),
  semantics,
  structure,
  threads,
  process: processes,
  exhaustion,
};

/** What runs by default: every group but the one that takes long. */
export const usual: Group[] = groups.filter((group) => group !== 'programs');

/** Is it the name of one case, which then runs without any preliminary question? */
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
 * The cases of the groups that were named; `GROUP/NAME` is one case, or all whose names begin so
 * where none has that very name.
 * Throws Failure for a name that means nothing.
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
