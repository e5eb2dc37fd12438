/** What cases need: a program that calls a function which a malloc may lack says so. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { ProgramCase } from '../../scripts/check/case.ts';
import { waves } from '../../scripts/check/cases/basics.ts';
import { exhaustion } from '../../scripts/check/cases/exhaustion.ts';
import { processes } from '../../scripts/check/cases/process.ts';
import { semantics } from '../../scripts/check/cases/semantics.ts';
import { structure } from '../../scripts/check/cases/structure.ts';
import { threads } from '../../scripts/check/cases/threads.ts';
import { sourceOf } from '../../scripts/check/compile-case.ts';
import { functions } from '../../scripts/check/needs.ts';

const cases = [
  ...waves.flat(),
  ...semantics,
  ...structure,
  ...threads,
  ...processes,
  ...exhaustion,
];

/** Without comments and strings, in which a name is no call. */
const code = (program: string): string =>
  readFileSync(sourceOf(program), 'utf8')
    .replaceAll(/\/\*.*?\*\//gs, '')
    .replaceAll(/lacks\("(\w+)"\)/g, 'lacks<$1>')
    .replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""');

/** What the cases of a program need: which of its parts run is said by their arguments. */
const needsOf = (program: string): string[] =>
  cases.filter((each) => each.program === program).flatMap(({ needs = [] }) => needs);

/** Calls that the malloc may have left to the C library, and that nothing speaks of. */
function unspoken({ program, behind, level }: ProgramCase): string[] {
  if (level === 'promise') return []; // asked of ours alone, which have all
  const source = [program, ...(behind ? [behind.program] : [])].map(code).join('\n');
  return functions
    .filter((name) => !['calloc', 'realloc', 'free', 'malloc_trim'].includes(name)) // stood in for; harmless
    .filter((name) => new RegExp(`\\b${name}\\(`).test(source))
    .filter((name) => !needsOf(program).includes(name) && !source.includes(`lacks<${name}>`))
    .filter((name) => name !== 'malloc_usable_size' || !source.includes('given.usable'))
    .filter((name) => !/valloc/.test(name) || !source.includes('provider('));
}

test.each(cases.map((each) => [each.name, each] as const))(
  '%s names what a malloc may lack, or goes on without it',
  (_name, each) => {
    expect(unspoken(each)).toEqual([]);
  },
);
