// One program on every variant, release and debug, seen in three ways: started, attached to, and as a
// core; and what cannot run, cannot be run: reading is all that the commands do.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeEach, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { answer, batch, builds, questions } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

const program = compileProgram('gdb-search.c');
beforeEach(() => void need('gdb'));

const places = ['heap', 'heap chunks', 'heap free', 'heap check', 'heap map', 'heap stats'];
const blocks = ['heap chunk global', 'heap find "a needle in a block"', 'heap leaks all'];
const asked = [...places, ...blocks, 'heap save now', 'heap diff now'];
const matrix = everyVariant.flatMap((variant) => builds.map((build) => [variant, build]));

/** The process is stopped in another place, with other registers: refs and locks are its own. */
const comparable = (text: string): string => text.replaceAll(/^ {2}note: .*$\n?/gm, '').trimEnd();

describe.each(matrix)('%s, %s', (variant, build) => {
  const debug = build === 'debug' ? ['--debug'] : [];

  test('a process that is attached to, its core, and a started one answer alike', async () => {
    const core = scratch(`${variant}-${build}.core`);
    const file = variantFile(variant, { debug: build === 'debug' });
    const child = execa(program, ['wait'], {
      env: { LD_PRELOAD: file },
      stdin: 'pipe',
      reject: false,
    });
    await new Promise((done) => child.stdout.once('data', done));
    const script = questions(...asked, `generate-core-file ${core}`);
    const seen = await libmalloc(['gdb', '--pid', `${child.pid}`, '--batch', '-x', script]);
    child.stdin.end('go on\n');
    expect([seen.status, (await child).exitCode]).toEqual([0, 3]);
    const dead = await libmalloc(['gdb', '--core', core, '--batch', '-x', questions(...asked)]);
    const options = [...debug, '--break', 'read', '-x', questions('delete', ...asked)];
    const live = await batch(variant, options, [program, 'wait']);
    expect(answer(seen.stdout, 'heap')).toContain(`(${variant})  ${file}`);
    expect(answer(seen.stdout, 'heap check')).toMatch(/^ok: /m);
    for (const command of asked) {
      const said = answer(seen.stdout, command);
      expect(answer(dead.stdout, command), `${command}, on a core`).toBe(said);
      expect(said, command).not.toMatch(/Traceback|Python/);
    }
    // Elsewhere in memory, and otherwise the same: figures of a started one.
    const numbers = (text: string): string => comparable(text).replaceAll(/0x\w+/g, '0x…');
    for (const command of ['heap stats', 'heap diff now', 'heap save now'])
      expect(numbers(answer(live.stderr, command)), command).toBe(
        numbers(answer(seen.stdout, command)),
      );
  });
});

test('the commands read: a program is the same afterwards, byte for byte, and nothing is called', async () => {
  const [before, after] = [scratch('before.core'), scratch('after.core')];
  const all = [...asked, 'heap refs global', 'heap help', 'heap map global 64', 'print $_exitcode'];
  const options = ['--break', 'stop_here', '-x'];
  const script = questions(
    `generate-core-file ${before}`,
    // A call into the program would be an error; without this, GDB would make it.
    'set may-call-functions off',
    ...all,
    `generate-core-file ${after}`,
  );
  const { stderr } = await batch('sharded', [...options, script], [program]);
  expect(stderr).not.toMatch(/not allowed|may not|Cannot call/i);
  expect(answer(stderr, 'heap check')).toMatch(/^ok: /m);
  expect(readFileSync(after).equals(readFileSync(before))).toBe(true);
});

test("a session loads nothing of the user's, and leaves nothing there", async () => {
  const home = scratch('home');
  const { mkdirSync, readdirSync, writeFileSync } = await import('node:fs');
  mkdirSync(home);
  writeFileSync(join(home, '.gdbinit'), 'echo MINE\\n\n');
  const env = { HOME: home, XDG_CONFIG_HOME: home, XDG_CACHE_HOME: home };
  const session = ['gdb', '-q', '--batch', '--break', 'stop_here', '-x', questions('heap')];
  const { stderr } = await libmalloc([...session, '--', program], { env });
  expect(answer(stderr, 'heap')).toMatch(/fragmentation/);
  expect(stderr).not.toContain('MINE');
  expect(readdirSync(home)).toEqual(['.gdbinit']);
  expect(readFileSync(join(root, 'gdbinit'), 'utf8')).not.toMatch(/^(set )?(history|save) /m);
});

test('a foreign library without symbols, and a peer: GDB works, and the heap commands say why not', async () => {
  const own = compileProgram('own-malloc.c', { flags: ['-shared', '-fPIC', '-s'] });
  const options = ['--break', 'stop_here', '-x', questions('heap', 'bt 1')];
  const { stderr, status } = await batch(`mine=${own}`, options, [program]);
  expect(answer(stderr, 'heap')).toMatch(/^the malloc of this program is that of \/.*own-malloc/);
  expect(answer(stderr, 'bt 1')).toContain('stop_here');
  expect(status).toBe(3);
});
