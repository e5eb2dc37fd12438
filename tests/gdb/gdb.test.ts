import { root } from '../../scripts/lib/paths.ts';
// `libmalloc gdb`: the session file, the session in a terminal, and what is refused.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { debuggee, scriptLine } from '../../scripts/gdb/debuggee.ts';
import { planSession } from '../../scripts/gdb/index.ts';
import { breakCommand } from '../../scripts/gdb/session.ts';
import { Failure } from '../../scripts/lib/errors.ts';
import { shellWord } from '../../scripts/lib/words.ts';
import { defaultVariant, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { findCore } from '../../scripts/run/core.ts';
import { nextSteps } from '../../scripts/run/index.ts';
import { cli, libmalloc, play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { commands, row } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const variant = defaultVariant();
const program = compileProgram('gdb-heap.c');

const [first, second] = (process.arch === 'x64' ? ['$rdi', '$rsi'] : ['$x0', '$x1']).map(
  (register) => `(unsigned long)${register}`,
);

describe('the session file', () => {
  test('is shown with its command line, and works by hand', async () => {
    const args = ['gdb', '-m', variant, '--print', '--break', 'free', '--', program, 'two words'];
    const { status, stdout, stderr } = await libmalloc(args);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).toContain(`gdb -q -x SESSION --args ${program} 'two words'`);
    expect(stdout).toContain(`set exec-wrapper env LD_PRELOAD=${variantFile(variant)}\n`);
    expect(stdout).toContain(`break ${variant}.c:free`);
    const session = commands(stdout, 'run', 'heap check');
    const gdb = [need('gdb'), '-nx', '-q', '-batch', '-x', session, '--args', program];
    const byHand = await play(gdb);
    expect(byHand.stdout).toContain('Breakpoint 1, free');
    expect(byHand.stdout).toMatch(/^ok: /m);
  });

  test('--print --json - shows the record alone', async () => {
    const { stdout } = await libmalloc(['gdb', '--print', '--json', '-', '--', 'true']);
    expect(JSON.parse(stdout)).toMatchObject({ schema: 'libmalloc/gdb/1', status: null });
  });

  test('a bare name means our function, whether the variant is named or given as a file', () => {
    const ours = resolveMalloc(variant);
    expect(breakCommand('malloc', ours)).toBe(`break ${variant}.c:malloc`);
    expect(breakCommand(' free  if p == 0', ours)).toBe(
      `break ${variant}.c:free -force-condition if ${first} == 0`,
    );
    const file = { name: 'copy', kind: 'file' as const, file: '/x/libmalloc-list.so' };
    expect(breakCommand('malloc', file)).toBe('break list.c:malloc');
  });

  test('what stands after a colon is a condition on bytes and blocks, in our words or the ABI’s', () => {
    const [ours, glibc] = [resolveMalloc('list'), resolveMalloc('glibc')];
    expect(breakCommand('malloc:n>4096', ours)).toBe(
      `break list.c:malloc -force-condition if ${first}>4096`,
    );
    expect(breakCommand('calloc:n==8', ours)).toBe(
      `break list.c:calloc -force-condition if (${first} * ${second})==8`,
    );
    expect(breakCommand('free:ptr==0x10 && tag.n', ours)).toBe(
      `break list.c:free -force-condition if ${first}==0x10 && tag.n`,
    );
    expect(breakCommand('realloc:n>1', glibc)).toBe(
      `break __libc_realloc -force-condition if ${second}>1`,
    );
    expect(() => breakCommand('free:n>1', ours)).toThrow('free has no n');
    expect(breakCommand('list.c:33', ours)).toBe('break list.c:33');
  });

  test('other locations stay as they are', () => {
    const ours = resolveMalloc(variant);
    expect(breakCommand('main', ours)).toBe('break main');
    expect(breakCommand('notify if x', ours)).toBe('break notify -force-condition if x');
    expect(breakCommand('list.c:chunk_merge', ours)).toBe('break list.c:chunk_merge');
    expect(breakCommand('malloc', resolveMalloc('glibc'))).toBe('break __libc_malloc');
  });

  test('quotes as a shell reads', () => {
    const words = ['plain', 'a b', "it's", ''];
    expect(words.map(shellWord)).toEqual(['plain', "'a b'", `'it'\\''s'`, "''"]);
  });

  test('reads a script line as the kernel does', () => {
    expect(scriptLine('#!/bin/sh\nx')).toEqual({ interpreter: '/bin/sh', argument: '' });
    expect(scriptLine('#! /usr/bin/awk  -f -v \nx')).toEqual({
      interpreter: '/usr/bin/awk',
      argument: '-f -v',
    });
    const file = scratch('env-script');
    writeFileSync(file, '#!/usr/bin/env sh\n');
    const found = debuggee(file, ['x']);
    expect(found.args).toEqual([file, 'x']);
    expect(found.file).toMatch(/\/sh$/);
  });
});

describe('an interactive session', () => {
  test('answers on a terminal: a breakpoint in our malloc, Ctrl-C, heap typed, completion', async () => {
    need('gdb');
    const loop = scratch('loop.c');
    const body = 'for (;;) {\n    void *p = malloc(100);\n    usleep(1000);\n    free(p);\n  }';
    writeFileSync(
      loop,
      `#include <stdlib.h>\n#include <unistd.h>\nint main(void) {\n  ${body}\n}\n`,
    );
    const prompt = ['expect', '(gdb) '];
    const steps = [
      ...[prompt, ['send', 'heap\n'], ['expect', 'not running yet']],
      ...[
        ['send', '\x03'],
        ['expect', 'Quit'],
      ],
      ...[['send', 'run\n'], ['expect', 'Breakpoint 1'], prompt],
      ...[
        ['send', 'delete 1\n'],
        ['send', 'continue\n'],
        ['expect', 'Continuing'],
        ['wait', '1'],
      ],
      ...[['send', '\x03'], ['expect', 'SIGINT'], prompt],
      ...[
        ['send', 'heap che\t\n'],
        ['expect', 'ok: '],
      ],
      ...[
        ['send', 'heap\n'],
        ['expect', 'fragmentation'],
      ],
      ...[
        ['send', 'kill\n'],
        ['expect', '(y or n)'],
        ['send', 'y\n'],
        ['expect', 'killed'],
      ],
      ...[['send', 'quit\n']],
    ];
    const session = [...cli, 'gdb', '-m', 'list', '--', compileProgram(loop)];
    const tape = join(root, 'tests', 'programs', 'terminal.py');
    const player = [need('python3'), tape, JSON.stringify(steps)];
    const { status, stdout } = await play([...player, ...session]);
    expect(status, stdout).toBe(0);
    expect(stdout).toContain('list.c:malloc');
  });

  test('reads commands from standard input', async () => {
    need('gdb');
    const input = 'run\nfinish\nheap\ncontinue 100\nquit\n';
    const options = { stdin: 'pipe' as const, input };
    const { status, stdout } = await libmalloc(['gdb', '-m', 'list', '--', program, 'x'], options);
    expect(stdout).toContain('Breakpoint 1, malloc');
    expect(row(stdout, 'live')).toEqual([1, 32]);
    expect(status).toBe(0);
  });
});

describe('after a crash', () => {
  const rule = { pattern: 'core', usesPid: true, limit: 'unlimited' };

  test('the core is found where the kernel leaves it, or the reason is told', () => {
    const folder = scratch('cores');
    mkdirSync(folder);
    writeFileSync(join(folder, 'core.77'), '');
    const file = join(folder, 'core.77');
    expect(findCore(0, folder, rule)).toEqual({ file });
    expect(findCore(0, folder, { ...rule, pattern: `${folder}/c%e.%p`, usesPid: false })).toEqual({
      file,
    });
    const reasonOf = (core: object) => ('reason' in core ? core.reason : core);
    expect(reasonOf(findCore(Date.now() + 1e6, folder, rule))).toMatch(/^no core appeared at /);
    expect(reasonOf(findCore(0, folder, { ...rule, limit: '0' }))).toMatch(/ulimit -c unlimited/);
    expect(reasonOf(findCore(0, folder, { ...rule, pattern: '|/x/catch %p' }))).toMatch(
      /to catch /,
    );
  });

  test('run names the commands that debug it', () => {
    expect(nextSteps('list', ['./a b', 'c'], { file: '/x/core' })).toEqual([
      "debug it: libmalloc gdb -m list -- './a b' c",
      'its core: libmalloc gdb --core /x/core',
    ]);
    expect(nextSteps(undefined, ['a'], { reason: 'why' })).toEqual([
      'debug it: libmalloc gdb -- a',
      'why',
    ]);
  });
});

describe('a refusal', () => {
  const refused = (argv: string[], options: object = {}): Failure => {
    try {
      planSession(argv, { break: [], ...options });
    } catch (error) {
      if (error instanceof Failure) return error;
      throw error;
    }
    throw new Error('not refused');
  };

  test('names what is wrong', () => {
    expect(refused(['true'], { malloc: 'nonsense' }).message).toBe('unknown malloc: nonsense');
    expect(refused([], { batch: true }).message).toBe('a batch needs a program');
    expect(refused([], { core: '/nowhere' }).message).toBe('there is no core /nowhere');
    expect(refused([], { core: root }).message).toBe(`${root} is a folder, and no core`);
    const script = refused(['true'], { command: '/nowhere' });
    expect(script.message).toBe('there is no file of commands /nowhere');
    expect(refused(['no-such-program'])).toMatchObject({ code: 127 });
    expect(refused([], { pid: 2 ** 22 + 1 }).message).toBe(`there is no process ${2 ** 22 + 1}`);
    expect(refused(['true'], { pid: 1 }).message).toBe(
      '--pid looks at a process that runs already',
    );
    expect(refused(['true'], { malloc: 'glibc', on: ['oom'] }).message).toContain('glibc is none');
    const newline = (): string => breakCommand('a\nb', resolveMalloc('glibc'));
    expect(newline).toThrow('--break "a\\nb" is no location');
  });

  test('of a static program says that nothing can be preloaded, with status 125', async () => {
    const file = scratch('static.c');
    writeFileSync(file, 'int main(void) { return 0; }\n');
    const program = compileProgram(file, { flags: ['-static'] });
    const { status, stderr } = await libmalloc(['gdb', '--', program]);
    expect(stderr).toMatch(/statically linked, so nothing can be preloaded/);
    expect(status).toBe(125);
    const pie = compileProgram(file, { flags: ['-static-pie'] });
    expect(refused([pie]).message).toContain('statically linked (static-PIE)');
    const dynamic = compileProgram(file, { flags: ['-no-pie'] });
    expect(planSession([dynamic], { break: [] }).program?.file).toBe(dynamic);
  });

  test('without gdb names the package', async () => {
    const env = { PATH: scratch('') };
    const { status, stderr } = await libmalloc(['gdb', '--', process.execPath], { env });
    expect(stderr).toContain('libmalloc: gdb is not installed\n  apt-get install gdb');
    expect(status).toBe(125);
  });
});
