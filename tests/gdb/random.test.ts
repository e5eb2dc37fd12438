// Random damage to a heap: every command ends, with a sentence and not with an exception of Python, and
// most blocks are still seen.

import { beforeEach, expect, test } from 'vitest';
import { compileProgram } from '../lib/compile.ts';
import { randomDamage } from '../lib/damage.ts';
import { batch, commands, long, needMimalloc } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

beforeEach(() => void need('gdb'));

const rounds = long ? 100 : 12;
const foreign = ['glibc', 'mimalloc'];
const peers = [...foreign, 'jemalloc'];
const readers: [m: string, options: string[]][] = [
  ...['dumb', 'list', 'buddy', 'paged', 'sharded', ...foreign].map(
    (m) => [m, []] as [string, string[]],
  ),
  ['jemalloc', ['--track']],
  ['glibc', ['--track']],
  ...(long
    ? ['list', 'buddy', 'paged', 'sharded'].map((m) => [m, ['--debug']] as [string, string[]])
    : []),
];

test.each(readers)('%s %j: no loop, no exception', async (m, build) => {
  if (m === 'mimalloc') needMimalloc();
  else if (peers.includes(m) && m !== 'glibc') need(m);
  const program = compileProgram(peers.includes(m) ? 'gdb-glibc.c' : 'gdb-heap.c');
  const script = commands('set pagination off', randomDamage(rounds), 'heap check');
  const options = [...build, '--break', 'stop_here', '-x', script];
  const { status, stderr } = await batch(m, options, [program, 'x']);
  expect(stderr).not.toMatch(/^round .*$|Python|Traceback/m);
  const told = /^damage: \d+ rounds, (\d+) found by heap check, (\d+) % of the blocks seen$/m;
  const [, found, seen] = told.exec(stderr) ?? [];
  // dumb has three words that could be broken; of jemalloc, what is its own is not known.
  expect(Number(found)).toBeGreaterThan(['dumb', 'jemalloc'].includes(m) ? -1 : rounds / 4);
  expect(Number(seen)).toBeGreaterThan(70); // a smashed header costs what it must
  expect(stderr).toMatch(/^ok: /m); // all of it was put back
  expect(status).toBe(3);
});
