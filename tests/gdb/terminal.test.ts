import { root } from '../../scripts/lib/paths.ts';
// A session in a terminal of its own: what a person types, interrupts and completes, and colours.

import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { cli, play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { answer, batch, commands } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const search = compileProgram('gdb-search.c');
const million = compileProgram('gdb-million.c');
const prompt = ['expect', '(gdb) '];
const type = (line: string, ...expected: string[]): string[][] => [
  ['send', `${line}\n`],
  ...expected.map((text) => ['expect', text]),
];
beforeEach(() => {
  need('gdb');
  need('python3');
});

/** `libmalloc gdb` in a terminal; what appeared there. */
async function session(words: string[], steps: string[][], env = {}): Promise<string> {
  const tape = join(root, 'tests', 'programs', 'terminal.py');
  const player = ['python3', tape, JSON.stringify([prompt, ...steps, ...type('quit')])];
  const { status, stdout } = await play([...player, ...cli, 'gdb', ...words], {
    env: { TERM: 'xterm-256color', NO_COLOR: undefined, ...env },
  });
  expect(status, stdout).toBe(0);
  return stdout;
}

const plain = [...type('set confirm off'), ...type('set pagination off')];

test('Ctrl-C ends a long command, and leaves the session and the program as they were', async () => {
  const seen = await session(
    ['-m', 'sharded', '--break', 'stop_here', '--', million, '300000'],
    [
      ...plain,
      ...type('run', 'Breakpoint 1'),
      ...type('heap chunks', ' live '),
      ['send', '\x03'],
      ['expect', 'Quit'],
      prompt,
      ...type('heap check', 'ok: '),
      ...type('print blocks', '= 300000'),
    ],
  );
  // Less than the whole list: its last line is the fresh rest of the region.
  expect(seen.match(/ (live|free) /g)?.length ?? 0).toBeLessThan(300_000);
  expect(seen).not.toMatch(/Traceback|Python Exception/);
});

test('Tab completes commands and their arguments; `heap help` explains one', async () => {
  const seen = await session(
    ['-m', 'list', '--break', 'stop_here', '--', search],
    [
      ...plain,
      ...type('run', 'Breakpoint 1'),
      ['send', 'heap sa\tbefore\n'],
      ['expect', 'live blocks'],
      ['send', 'heap di\tbef\t\n'],
      ['expect', 'since before: 0 blocks'],
      ['send', 'heap lea\ta\t\n'],
      ['expect', 'lost'],
      ['send', 'heap chunk stop_he\t\n'],
      ['expect', 'lies outside of the heap'],
      ['send', 'heap help re\t\n'],
      ['expect', 'What points to a block'],
    ],
  );
  expect(seen).not.toMatch(/Undefined|Traceback/);
});

test('every command completes', async () => {
  const names = [
    'bins',
    'check',
    'chunk',
    'chunks',
    'diff',
    'find',
    'free',
    'help',
    'leaks',
    'map',
  ];
  names.push('refs', 'save', 'stats', 'telescope', 'try-free', 'vis', 'vmmap', 'watch');
  const asked = [
    'complete heap ',
    'complete heap help ',
    'complete heap leaks ',
    'complete heap check ',
  ];
  const places = ['chunk', 'chunks', 'find', 'free', 'map', 'refs', 'watch'];
  const symbols = places.map((name) => `complete heap ${name} stop_he`);
  // As typed: a command given to GDB's Python loses the blank at its end.
  const lines = [...asked, ...symbols].flatMap((line) => [`echo @@${line}\\n`, line]);
  const options = ['--break', 'stop_here', '-x', commands(...lines, 'echo @@\\n')];
  const { stderr } = await batch('list', options, [search]);
  expect(answer(stderr, 'complete heap ')).toBe(names.map((name) => `heap ${name}`).join('\n'));
  const helped = answer(stderr, 'complete heap help ').split('\n');
  expect(helped.sort()).toEqual(names.map((name) => `heap help ${name}`).sort());
  expect(answer(stderr, 'complete heap leaks ')).toBe('heap leaks all');
  expect(answer(stderr, 'complete heap check ')).toBe('');
  for (const name of places)
    expect(answer(stderr, `complete heap ${name} stop_he`)).toContain('stop_here');
});

test('arguments complete in a GDB that does not say which word, as 16 does', async () => {
  const script = commands(
    'python import libmalloc.commands, libmalloc.search, libmalloc.changes as changes',
    'python changes.saved["before"] = {}',
    'python print(libmalloc.commands.HeapHelp().complete("", None)[-1])',
    'python print(libmalloc.search.HeapLeaks().complete("", None))',
    'python print(changes.HeapDiff().complete("", None))',
  );
  const gdb = [need('gdb'), '-nx', '-batch', '-x', join(root, 'gdbinit'), '-x', script];
  expect((await play(gdb)).stdout.trim()).toBe("help\n['all']\n['before']");
});

test('the map is coloured on a terminal, unless that is not wanted', async () => {
  const map = [...plain, ...type('run', 'Breakpoint 1'), ...type('heap map', 'headers'), prompt];
  const words = ['-m', 'paged', '--break', 'stop_here', '--', search];
  const green = '\x1b[0m\x1b[32m#';
  const picture = (seen: string): string => seen.slice(seen.indexOf('region 0x'));
  expect(picture(await session(words, map))).toContain(green);
  const without = picture(await session(words, map, { NO_COLOR: '1' }));
  expect(without).toMatch(/ live, /);
  expect(without).not.toContain('\x1b[32m');
  const off = [...type('set style enabled off'), ...map];
  expect(picture(await session(words, off))).not.toContain('\x1b[32m');
});
