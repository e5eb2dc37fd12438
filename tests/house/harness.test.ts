// Tests of the test harness: CI relies on its last line.

import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { compileProgram } from '../lib/compile.ts';
import { longest } from '../lib/longest.ts';

let folder: string;
beforeAll(() => {
  mkdirSync(join(root, 'build', 'tests'), { recursive: true });
  folder = mkdtempSync(join(root, 'build', 'tests', 'harness-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const config = `
import { defineConfig } from 'vitest/config';
import base from '${join(root, 'tests', 'vitest.config.ts')}';
export default defineConfig({
  root: import.meta.dirname,
  test: { ...base.test, include: ['*.test.ts'], exclude: [] },
});
`;

const preamble = `
import { expect, test } from 'vitest';
import { need, skip } from '${join(root, 'tests', 'lib', 'need.ts')}';
`;

interface Run {
  status: number | undefined;
  /** Standard output, and after it standard error. */
  said: string;
  lines: string[];
  last: string | undefined;
}

/** Runs one test file of this content with the real configuration. */
async function run(title: string, content: string, env: NodeJS.ProcessEnv = {}): Promise<Run> {
  const place = join(folder, title);
  mkdirSync(place);
  writeFileSync(join(place, 'vitest.config.ts'), config);
  writeFileSync(join(place, 'a.test.ts'), preamble + content);
  const vitest = join(root, 'node_modules', '.bin', 'vitest');
  const result = await execa(vitest, ['run', '--config', join(place, 'vitest.config.ts')], {
    cwd: place,
    env: { REQUIRE: '', NO_COLOR: '1', ...env },
    reject: false,
    timeout: 100_000,
  });
  const lines = result.stdout.split('\n');
  const said = `${result.stdout}\n${result.stderr}`;
  return { status: result.exitCode, said, lines, last: lines.at(-1) };
}

describe('the last line', () => {
  test('counts what passed', async () => {
    const { status, last } = await run('passes', `test('a', () => {}); test('b', () => {});`);
    expect(last).toBe('2 passed, 0 failed');
    expect(status).toBe(0);
  });

  test('counts what failed, and the status says so', async () => {
    const content = `test('a', () => {}); test('b', () => expect(1).toBe(2));`;
    const { status, lines, last } = await run('fails', content);
    expect(last).toBe('1 passed, 1 failed');
    const again = lines.slice(lines.indexOf('Failed:')).join('\n');
    expect(again).toMatch(/^Failed:\n {2}\S*a\.test\.ts > b: expected 1 to be 2/);
    expect(status).toBe(1);
  });

  test('follows a list of all skipped tests, with names and reasons', async () => {
    const { status, lines, last } = await run('skips', `test('a', () => skip('no sizes'));`);
    expect(last).toBe('0 passed, 0 failed, 1 skipped');
    expect(lines.some((line) => /a\.test\.ts > a: no sizes$/.test(line))).toBe(true);
    expect(status).toBe(0);
  });

  test('counts a worker that died as failures, its tests included', async () => {
    const content = `test('a', () => {}); test('b', () => { process.kill(process.pid, 'SIGSEGV'); });`;
    const { status, last } = await run('crashes', content);
    expect(last).toMatch(/^\d passed, [1-9]\d* failed/);
    expect(status).toBe(1);
  });

  test('counts a file that does not load as a failure', async () => {
    const { status, last } = await run('does-not-load', `throw new Error('no');`);
    expect(last).toBe('0 passed, 1 failed');
    expect(status).toBe(1);
  });

  test('does not call a run without tests a success', async () => {
    const { status, last } = await run('is-empty', '');
    expect(last).toMatch(/^0 passed, [1-9]\d* failed/);
    expect(status).toBe(1);
  });
});

describe('a program that is not installed', () => {
  // No program is found: PATH has only what starts vitest.
  const content = `test('a', () => { process.env.PATH = '/nowhere'; need('sqlite3'); });`;

  test('skips the test, naming the program and its package', async () => {
    const { status, lines, last } = await run('lacks', content);
    expect(last).toBe('0 passed, 0 failed, 1 skipped');
    const line = lines.find((each) => each.includes('a.test.ts > a: '));
    expect(line).toContain('sqlite3 is missing: apt-get install sqlite3');
    expect(status).toBe(0);
  });

  test('fails the test with REQUIRE=1', async () => {
    const { status, said, last } = await run('requires', content, { REQUIRE: '1' });
    expect(last).toBe('0 passed, 1 failed');
    expect(said).toContain('sqlite3 is missing: apt-get install sqlite3');
    expect(status).toBe(1);
  });

  test('fails the test if programs.json does not list it, with or without REQUIRE', async () => {
    const { last } = await run('unlisted', `test('a', () => { need('no-such-program'); });`);
    expect(last).toBe('0 passed, 1 failed');
  });
});

describe('compileProgram', () => {
  test('shows the compiler’s message', () => {
    const source = join(folder, 'broken.c');
    writeFileSync(source, 'int main(void) { return no_such_thing; }\n');
    expect(() => compileProgram(source)).toThrow(/broken\.c:1:.*error: .*no_such_thing/);
  });

  test('compiles once, and again when source or flags change', async () => {
    const source = join(folder, 'says.c');
    const main = (n: number): string => `int main(void) { return ${n} + EXTRA; }\n`;
    const status = async (extra: number): Promise<number | undefined> =>
      (await execa(compileProgram(source, { flags: [`-DEXTRA=${extra}`] }), { reject: false }))
        .exitCode;
    writeFileSync(source, main(1));
    expect(await status(0)).toBe(1);
    expect(compileProgram(source, { flags: ['-DEXTRA=0'] })).toBe(
      compileProgram(source, { flags: ['-DEXTRA=0'] }),
    );
    expect(await status(5)).toBe(6);
    writeFileSync(source, main(2));
    expect(await status(0)).toBe(2);
  });
});

test('the files that are run first exist', () => {
  const gone = longest.filter((name) => !existsSync(join(root, 'tests', `${name}.test.ts`)));
  expect(gone).toEqual([]);
});
