import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { codeLines } from '../../scripts/docs/blocks.ts';
import { root } from '../../scripts/lib/paths.ts';
import { filesBelow, read } from '../lib/files.ts';

const bin = (name: string): string => join(root, 'node_modules', '.bin', name);

/** Runs a checker; fails with its message. */
async function clean(name: string, args: string[]): Promise<void> {
  const { exitCode, all } = await execa(bin(name), args, { cwd: root, reject: false, all: true });
  expect(exitCode, all).toBe(0);
}

const withoutComments = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');

describe('TypeScript', () => {
  test('has no type error, tests included', () => clean('tsc', ['-p', 'tests/tsconfig.json']));

  test('has no type error in the page of `view`', () =>
    clean('tsc', ['-p', 'scripts/view/page/tsconfig.json']));

  test('is formatted and linted', () => clean('biome', ['ci', '--colors=off']));

  test('exports nothing that no file imports, and depends on nothing that no file uses', () =>
    clean('knip', ['--no-progress']));
});

describe('C', () => {
  // What makes a C file hard to read is #if more than anything else.
  test('spends at most seven #if in all of native/ but for platform.h, whose subject they are', () => {
    const all = filesBelow('native', /\.[ch]$/).filter((file) => file !== 'native/base/platform.h');
    const conditions = all.flatMap((file) =>
      read(file)
        .split('\n')
        .filter((line) => /^\s*#\s*(if|ifdef|ifndef|elif)\b/.test(line))
        .map((line) => `${file}: ${line}`),
    );
    expect(conditions.length, conditions.join('\n')).toBeLessThanOrEqual(7);
  });

  test('guards every header with #pragma once', () => {
    const bare = filesBelow('native', /\.h$/).filter(
      (file) => !read(file).includes('#pragma once'),
    );
    expect(bare).toEqual([]);
  });

  const budgets = { dumb: 90, list: 300, buddy: 250, paged: 478 };
  test.each(Object.entries(budgets))(
    '%s can be read in one sitting: %i lines of code',
    (name, most) => {
      expect(codeLines(read(`native/${name}.c`))).toBeLessThanOrEqual(most);
    },
  );

  test('sharded can be read in one sitting: 2389 lines of code in all', () => {
    const parts = ['native/sharded.c', ...filesBelow('native/sharded', /\.h$/)];
    const sum = parts.reduce((all, part) => all + codeLines(read(part)), 0);
    expect(sum).toBeLessThanOrEqual(2389);
  });

  test('keeps system calls in os.h, probe, trace and replay', () => {
    const tracer = ['trace', 'profile', 'track'].flatMap((tool) => [
      `native/tools/${tool}.c`,
      ...filesBelow(`native/tools/${tool}`, /\.h$/),
    ]);
    const calls = /\b(mmap|munmap|mremap|sbrk|brk|madvise)\s*\(/;
    const bare = (text: string): string => withoutComments(text).replaceAll(/"[^"\n]*"/g, '');
    const users = filesBelow('native', /\.[ch]$/).filter((file) => calls.test(bare(read(file))));
    const allowed = [
      'native/base/os.h',
      'native/tools/probe.c',
      'native/tools/replay.c',
      ...tracer,
    ];
    expect(users.filter((file) => !allowed.includes(file))).toEqual([]);
  });
});
