/**
 * What the programs of cases need: of a malloc, the functions that it may lack; of the command by
 * which a report offers to compile them, the folders of their headers.
 */
import { readFileSync } from 'node:fs';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import type { ProgramCase } from '../../scripts/check/case.ts';
import { waves } from '../../scripts/check/cases/basics.ts';
import { exhaustion } from '../../scripts/check/cases/exhaustion.ts';
import { processes } from '../../scripts/check/cases/process.ts';
import { semantics } from '../../scripts/check/cases/semantics.ts';
import { structure } from '../../scripts/check/cases/structure.ts';
import { threads } from '../../scripts/check/cases/threads.ts';
import { caseCommand, sourceOf } from '../../scripts/check/compile-case.ts';
import { functions } from '../../scripts/check/needs.ts';

const cases = [
  ...waves.flat(),
  ...semantics,
  ...structure,
  ...threads,
  ...processes,
  ...exhaustion,
];

/** The source without comments and strings, where a name is not a call. */
const code = (program: string): string =>
  readFileSync(sourceOf(program), 'utf8')
    .replaceAll(/\/\*.*?\*\//gs, '')
    .replaceAll(/lacks\("(\w+)"\)/g, 'lacks<$1>')
    .replaceAll(/"(?:[^"\\\n]|\\.)*"/g, '""');

/** All needs of a program's cases; their arguments choose which of its parts run. */
const needsOf = (program: string): string[] =>
  cases.filter((each) => each.program === program).flatMap(({ needs = [] }) => needs);

/** Functions that the program calls and a malloc may lack, but that no case names as a need. */
function unspoken({ program, behind, level }: ProgramCase): string[] {
  if (level === 'promise') return []; // runs on our variants only, which have all functions
  const source = [program, ...(behind ? [behind.program] : [])].map(code).join('\n');
  return (
    functions
      // The first three have stand-ins; the C library's malloc_trim does no harm.
      .filter((name) => !['calloc', 'realloc', 'free', 'malloc_trim'].includes(name))
      .filter((name) => new RegExp(`\\b${name}\\(`).test(source))
      .filter((name) => !needsOf(program).includes(name) && !source.includes(`lacks<${name}>`))
      .filter((name) => name !== 'malloc_usable_size' || !source.includes('given.usable'))
      .filter((name) => !/valloc/.test(name) || !source.includes('provider('))
  );
}

test.each(cases.map((each) => [each.name, each] as const))(
  '%s names what a malloc may lack, or goes on without it',
  (_name, each) => {
    expect(unspoken(each)).toEqual([]);
  },
);

test('the command that a report offers finds the headers of each program', async () => {
  const more = /^#include "(?!program\.h)/m; // the others need no folder but their own
  const ours = cases.filter(({ program }) => more.test(readFileSync(sourceOf(program), 'utf8')));
  const commands = new Map(
    ours.map(({ program, flags }) => [program, caseCommand(program, flags)]),
  );
  expect(commands.size).toBeGreaterThan(10);
  for (const [cc = '', ...words] of commands.values()) {
    const { stderr } = await execa(cc, [...words, '-fsyntax-only'], { reject: false });
    expect(stderr, words.join(' ')).toBe('');
  }
});
