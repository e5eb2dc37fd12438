// What an editor gets: .vscode/launch.json, played through GDB's MI as the C/C++ extension does.

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { need } from '../lib/need.ts';
import { everyVariant } from '../lib/variants.ts';

interface Launch {
  type: string;
  request: string;
  MIMode: string;
  program: string;
  args: string[];
  cwd: string;
  setupCommands: { text: string }[];
}

const program = compileProgram('gdb-search.c');
const launch: Launch = JSON.parse(readFileSync(join(root, '.vscode', 'launch.json'), 'utf8'))
  .configurations[0];
beforeEach(() => void need('gdb'));

/** The extension's own order: the file's commands, folder and program, breakpoints, run. */
function dialogue(variant: string): string[] {
  const filled = (text: string): string =>
    text.replaceAll(/\$\{workspaceFolder\}/g, root).replaceAll('sharded', variant);
  const console = (text: string): string => `-interpreter-exec console ${JSON.stringify(text)}`;
  return [
    ...launch.setupCommands.map(({ text }) => console(filled(text))),
    console('set pagination off'),
    `-environment-cd ${filled(launch.cwd)}`,
    `-file-exec-and-symbols ${program}`,
    '-break-insert main',
    '-exec-run',
    '-break-insert stop_here',
    '-exec-continue',
    console('heap'),
    console('heap check'),
    console('info symbol $pc'),
    '-gdb-exit',
  ];
}

test('the example is one for GDB, and each path in it is there after `make`', () => {
  expect(launch).toMatchObject({ type: 'cppdbg', request: 'launch', MIMode: 'gdb' });
  expect(dirname(launch.program)).toBe(launch.cwd);
  expect(launch.setupCommands.map(({ text }) => text.split(' ')[0])).toEqual(['source', 'set']);
});

test.each(everyVariant.flatMap((variant) => ['mi2', 'mi3'].map((mi) => [variant, mi])))(
  'on %s through %s: heap commands answer in the console',
  async (variant, mi) => {
    const options = ['-nx', '-q', `--interpreter=${mi}`, '-ex', 'set debuginfod enabled off'];
    const input = `${dialogue(variant).join('\n')}\n`;
    const stdin = { stdin: 'pipe' as const, input, env: { SHELL: '/bin/sh' } };
    const { stdout } = await play([need('gdb'), '-iex', 'set mi-async off', ...options], stdin);
    expect(stdout).not.toContain('^error');
    expect(stdout.match(/reason="breakpoint-hit"/g)).toHaveLength(2);
    expect(stdout).toContain(`(${variant})  ${root}/build/release/libmalloc-${variant}.so`);
    expect(stdout).toMatch(/~"ok: /);
    expect(stdout).toMatch(/~"stop_here/);
  },
);
