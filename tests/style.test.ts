import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { root } from '../scripts/lib/paths.ts';

const bin = (name: string): string => join(root, 'node_modules', '.bin', name);

/** Runs a checker; fails with what it said. */
async function clean(name: string, args: string[]): Promise<void> {
  const { exitCode, all } = await execa(bin(name), args, { cwd: root, reject: false, all: true });
  expect(exitCode, all).toBe(0);
}

/** Every file below a folder with one of these endings, as paths from the root. */
function files(folder: string, ending: RegExp): string[] {
  const all = readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' });
  return all
    .filter((file) => ending.test(file) && !file.startsWith('build/'))
    .map((file) => join(folder, file));
}

const read = (file: string): string => readFileSync(join(root, file), 'utf8');

const withoutComments = (text: string): string => text.replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '');

/** Lines of C that say something: no blanks, comments, includes, nor braces on their own. */
function lines(source: string): number {
  const all = withoutComments(source).split('\n');
  return all.filter((line) => !/^\s*([{}();,]*|#include.*)\s*$/.test(line)).length;
}

describe('TypeScript', () => {
  test('has no type error, tests included', () => clean('tsc', ['-p', 'tests/tsconfig.json']));

  test('has no type error in the page of `view`', () =>
    clean('tsc', ['-p', 'scripts/viewer/tsconfig.json']));

  test('is formatted and linted', () => clean('biome', ['ci', '--colors=off']));

  test('has no file of scripts/ over 400 lines', () => {
    const long = files('scripts', /\.ts$/).filter((file) => read(file).split('\n').length > 400);
    expect(long).toEqual([]);
  });
});

describe('C', () => {
  // What makes a C file hard to read is #if more than anything else.
  test('spends at most five #if in all of native/', () => {
    const conditions = files('native', /\.[ch]$/).flatMap((file) =>
      read(file)
        .split('\n')
        .filter((line) => /^\s*#\s*(if|ifdef|ifndef|elif)\b/.test(line))
        .map((line) => `${file}: ${line}`),
    );
    expect(conditions.length, conditions.join('\n')).toBeLessThanOrEqual(5);
  });

  test('guards every header with #pragma once', () => {
    const bare = files('native', /\.h$/).filter((file) => !read(file).includes('#pragma once'));
    expect(bare).toEqual([]);
  });

  const budgets = { dumb: 80, list: 255, buddy: 250, paged: 405 };
  test.each(Object.entries(budgets))(
    '%s can be read in one sitting: %i lines of code',
    (name, most) => {
      expect(lines(read(`native/${name}.c`))).toBeLessThanOrEqual(most);
    },
  );

  test('sharded can be read in one sitting: 1930 lines of code in all', () => {
    const parts = ['native/sharded.c', ...files('native/sharded', /\.h$/)];
    const sum = parts.reduce((all, part) => all + lines(read(part)), 0);
    expect(sum).toBeLessThanOrEqual(1930);
  });

  test('keeps system calls in os.h, probe, trace and replay', () => {
    const tracer = files('native/trace', /\.h$/).concat('native/trace.c');
    const calls = /\b(mmap|munmap|mremap|sbrk|brk|madvise)\s*\(/;
    const bare = (text: string): string => withoutComments(text).replaceAll(/"[^"\n]*"/g, '');
    const users = files('native', /\.[ch]$/).filter((file) => calls.test(bare(read(file))));
    const allowed = ['native/os.h', 'native/probe.c', 'native/replay.c', ...tracer];
    expect(users.filter((file) => !allowed.includes(file))).toEqual([]);
  });
});
