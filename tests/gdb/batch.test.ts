// `libmalloc gdb --batch`: a program under GDB behaves as it does without.

import { readFileSync, writeFileSync } from 'node:fs';
import { beforeEach, expect, test } from 'vitest';
import { defaultVariant } from '../../scripts/malloc/mallocs.ts';
import { type CliResult, libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { batch, commands } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const variant = defaultVariant();
const program = compileProgram('gdb-heap.c');
const sh = (script: string, ...options: string[]): Promise<CliResult> =>
  batch(variant, options, ['sh', '-c', script]);
beforeEach(() => void need('gdb'));

test('standard output is the program’s alone, its status is ours, and the malloc in use is proven', async () => {
  const words = ['sh', '-c', 'echo out; echo err >&2; exit 7'];
  const { status, stdout, stderr } = await libmalloc(['gdb', '--batch', '--', ...words]);
  expect([status, stdout]).toEqual([7, 'out']);
  expect(stderr).toMatch(/^err$/m);
  expect(stderr).toMatch(new RegExp(`^libmalloc: ${variant} in 1 process \\(\\w+\\): `, 'm'));
});

test.each([
  ['SEGV', 139],
  ['INT', 130],
  ['TRAP', 133],
])('the end by SIG%s is passed on, after a look at the heap', async (signal, expected) => {
  const { status, stderr } = await sh(`kill -${signal} $$; exit 1`);
  expect(status).toBe(expected);
  expect(stderr).toMatch(/^#0 /m);
  expect(stderr).toContain(`(${variant})`);
});

test('a signal that the program catches does not end it', async () => {
  const { status, stdout } = await sh("trap 'echo caught' USR1; kill -USR1 $$; exit 4");
  expect([status, stdout]).toEqual([4, 'caught']);
});

test('arguments arrive as they were given', async () => {
  const words = ['two words', '', "it's", '"x"', '$HOME', '*', '>file', 'a\nb', '\\', 'a;b', '!'];
  const { status, stdout } = await batch(variant, [], [program, ...words]);
  expect(stdout).toBe(words.map((word) => `[${word}]`).join('\n'));
  expect(status).toBe(3);
});

test('standard input reaches the program', async () => {
  const input = 'one\ntwo';
  const { stdout } = await libmalloc(['gdb', '-q', '--batch', '--', 'cat'], {
    stdin: 'pipe',
    input,
  });
  expect(stdout).toBe(input);
});

test('the environment is that of a run without GDB', async () => {
  const env = { SHELL: '/bin/fish', COLUMNS: '77', WORDS: 'a b', BASH_ENV: '/nowhere' };
  const seen = async (...verb: string[]): Promise<string[]> => {
    const { stdout } = await libmalloc([...verb, '--', 'env'], { env });
    const lines = stdout.split('\n').filter((line) => !/^(LIBMALLOC_REPORT|_)=/.test(line));
    return lines.sort();
  };
  const plain = await seen('run', '-q');
  expect(plain).toContain('COLUMNS=77');
  expect(await seen('gdb', '-q', '--batch')).toEqual(plain);
});

test('with -x and no breakpoint, the end of the program is a stop', async () => {
  const { status, stderr } = await batch(variant, ['-x', commands('heap check')], ['true']);
  expect(stderr).toMatch(/^ok: /m);
  expect(status).toBe(0);
});

test('a file of commands may start the program itself', async () => {
  const file = commands('break main', 'run', 'info symbol $pc', 'continue');
  const { status, stderr } = await batch(variant, ['-x', file], [program, 'a']);
  expect(stderr).toMatch(/^main .*in section \.text/m);
  expect(status).toBe(3);
});

test('breakpoints with commands go on to the end', async () => {
  const lines = [
    `break ${variant}.c:free`,
    'commands',
    'silent',
    'echo freed\\n',
    'continue',
    'end',
  ];
  const { status, stderr } = await batch(variant, ['-x', commands(...lines)], [program, 'a']);
  expect(stderr.match(/^freed$/gm)).toHaveLength(20);
  expect(status).toBe(3);
});

test('a failing command is 125, unless the program failed itself; --json tells it', async () => {
  const json = scratch('gdb.json');
  const file = commands('no-such-command');
  expect((await sh('exit 0', '-x', file)).status).toBe(125);
  expect((await sh('exit 9', '-x', file, '--json', json)).status).toBe(9);
  const record = JSON.parse(readFileSync(json, 'utf8'));
  expect(Object.keys(record)[0]).toBe('schema');
  expect(record).toMatchObject({
    schema: 'libmalloc/gdb/1',
    malloc: { name: variant, file: variantFile(variant) },
    command: ['sh', '-c', 'exit 9'],
    status: 9,
  });
});

test('a script is debugged in its interpreter', async () => {
  const file = scratch('a script');
  writeFileSync(file, '#!/bin/sh -e\necho "$0" "$@"\nexit 5\n', { mode: 0o755 });
  const { status, stdout } = await batch(variant, [], [file, 'b c']);
  expect([status, stdout]).toEqual([5, `${file} b c`]);
});

test("the user's own preload stays, behind ours", async () => {
  const extra = variantFile(variant).replace(variant, 'probe');
  const env = { LD_PRELOAD: extra };
  const words = ['sh', '-c', 'echo $LD_PRELOAD'];
  const options = ['gdb', '-q', '-m', variant, '--batch', '--', ...words];
  const { stdout } = await libmalloc(options, { env });
  expect(stdout).toBe([variantFile(variant), extra, extra].join(':'));
});
