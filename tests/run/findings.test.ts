/** What a debug build reports, with functions and lines: `libmalloc run` reads what a dying process cannot. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { parseFindings } from '../../scripts/malloc/findings.ts';
import { nameFindings } from '../../scripts/run/named.ts';
import { buildIdOf } from '../../scripts/symbols/module.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { variantFile } from '../lib/variants.ts';

const folder = testFolder();

const malloc = variantFile('list', { debug: true });
const cart = compileProgram('freed-by-two.cc', { flags: ['-O2', '-Wl,--build-id'] });

/** Line N of a source of tests, by what stands in it. */
function lineOf(source: string, text: string): number {
  const lines = readFileSync(join(root, 'tests', source), 'utf8').split('\n');
  return 1 + lines.findIndex((line) => line.includes(text));
}

/** The lines of a named report, by label, without those of libc. */
function stacksIn(stderr: string): string[] {
  const [, named = ''] = stderr.split('libmalloc: with source lines');
  return named.split('\n').filter((line) => /^ {4}/.test(line) && !/libc|_start/.test(line));
}

const run = (program: string[], options: string[] = [], env = {}) =>
  libmalloc(['run', '-m', malloc, ...options, '--', ...program], { env });

describe('libmalloc run on a debug build', () => {
  test('names C++ as it was written, with lines and inlined calls', async () => {
    const { stdout, stderr, status } = await run([cart]);
    const at = (text: string): string =>
      `(freed-by-two.cc:${lineOf('programs/freed-by-two.cc', text)})`;
    const [first, second] = [at('cart.drop(0)'), /\d+/.exec(at('cart.drop(0)'))?.[0]];
    expect(stacksIn(stderr)).toEqual([
      `    allocated  shop::Cart::fill(unsigned long) ${at('new int')}, inlined`,
      `               main ${at('cart.fill')}`,
      `    freed      void shop::Cart::drop<int>(int) ${at('delete[]')}`,
      `               main ${first}`,
      `    found in   void shop::Cart::drop<int>(int) ${at('delete[]')}`,
      `               main (freed-by-two.cc:${Number(second) + 1})`,
    ]);
    expect(stderr).toMatch(/with source lines: operator delete\[\]\(\): use after free of 0x\w+ /);
    expect({ stdout, status }).toEqual({ stdout: '', status: 134 });
  });

  test('leaves the report of the library as it is, and adds nothing with -q', async () => {
    const { stderr } = await run([compileProgram('crimes/double-free.c')], ['-q']);
    expect(stderr).toMatch(/^libmalloc: free\(\): double free/);
    expect(stderr).toMatch(/^ {4}freed {6}main\+0x\w+ \(.*\+0x\w+\)$/m);
    expect(stderr).not.toContain('with source lines');
  });

  test('a stripped program has offsets, and that is said once', async () => {
    const stripped = join(folder, 'stripped');
    copyFileSync(cart, stripped);
    spawnSync('strip', ['-s', stripped]);
    const { stderr } = await run([stripped]);
    const lines = stacksIn(stderr).filter((line) => line.includes('stripped'));
    expect(lines.length).toBeGreaterThanOrEqual(5);
    for (const line of lines) expect(line).toMatch(/ stripped\+0x[0-9a-f]+$/);
    expect(stderr.match(/has neither debug information nor symbols/g)).toHaveLength(1);
  });

  test('each leak, and which process has it', async () => {
    const leak = compileProgram('crimes/leak.c');
    const json = join(folder, 'leaks.json');
    const script = [`${leak}; ${leak}; exit 3`];
    const { stderr, status } = await run(['sh', '-c', ...script], ['--json', json], {
      LIBMALLOC_DEBUG: 'leaks=1',
    });
    const told = /^libmalloc: with source lines in leak-\w+ \(pid \d+\): exit\(\): leak of/gm;
    expect(stderr.match(told)).toHaveLength(6);
    expect(stderr.match(/ {4}allocated {2}lose \(leak\.c:\d+\)/g)).toHaveLength(6);
    expect(status).toBe(3);
    const { findings } = JSON.parse(readFileSync(json, 'utf8'));
    const inLeak = findings.filter(({ stacks }: { stacks: { frames: { function: string }[] }[] }) =>
      stacks.some(({ frames }) => frames[0]?.function === 'lose'),
    );
    expect(inLeak).toHaveLength(6);
    expect(inLeak[0].stacks[0].frames[0]).toMatchObject({ line: expect.any(Number), named: true });
  });
});

describe('what a process left behind', () => {
  const address = (0x400000).toString(16);
  const said = (id: string) => `libmalloc: free(): double free of 0x10 (8 bytes)
allocated ${address}
3f0000-500000 r-xp 00000000 00:00 ${0} ${cart}
build-id ${id} ${cart}
end
`;

  test('has no names of a program that was rebuilt since', async () => {
    const naming = async (id: string) => nameFindings(parseFindings(said(id), 1));
    const same = await naming(buildIdOf(cart) ?? '');
    expect(same.remarks).toEqual([]);
    const { findings, remarks } = await naming('0123456789abcdef');
    expect(findings[0]?.stacks[0]?.frames).toMatchObject([{ named: false }]);
    expect(remarks).toEqual([expect.stringContaining('was rebuilt since')]);
  });

  test('is left out where it was cut short, and keeps to its own maps', () => {
    const [whole = '', second = ''] = [said('aa'), said('bb').replace('double free', 'leak')];
    expect(parseFindings(whole.slice(0, -4), 1)).toEqual([]);
    const found = parseFindings(whole + second, 1);
    expect(found.map(({ sentence }) => sentence)).toEqual([
      'free(): double free of 0x10 (8 bytes)',
      'free(): leak of 0x10 (8 bytes)',
    ]);
    expect(found.map(({ buildIds }) => buildIds.get(cart))).toEqual(['aa', 'bb']);
  });
});
