// The heap commands on a malloc that no reader knows: what its own libmalloc_walk and libmalloc_check say.

import { execa } from 'execa';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { stateOf } from '../../scripts/layout/proc.ts';
import { type CliResult, libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { answer, atStop, batch, questions, row, shownChunks, told } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const program = compileProgram('gdb-heap.c');
// called like a variant of ours, as a student's may be
const unknown = scratch('libbuddy.so');
const core = scratch('unknown.core');
const needs = (): void => {
  need('gdb');
  need('strip');
};
beforeEach(needs);

describe('a library that no reader knows, and that exports libmalloc_walk', () => {
  let seen: CliResult;
  const said = (command: string): string => answer(seen.stderr, command);
  beforeAll(async () => {
    needs();
    await execa(need('strip'), ['-o', unknown, variantFile('list')]);
    const asked = ['heap', 'heap chunks', 'heap check', 'heap chunk block+5', 'heap leaks'];
    seen = await atStop(unknown, [...asked, 'info threads', `gcore ${core}`], [program]);
  });

  test('is shown as it describes itself, and the program goes on as before', () => {
    const { chunks, figures } = told(seen.stdout);
    const lines = said('heap chunks').split('\n  note')[0] ?? '';
    const shown = shownChunks(lines).filter(({ kind }) => kind !== 'region');
    expect(chunks.length).toBeGreaterThan(50);
    expect(shown).toMatchObject(
      chunks
        .filter(({ kind }) => kind !== 'region')
        .map(({ kind, start, extent }) => ({ kind, start, extent })),
    );
    expect(row(said('heap'), 'live')).toEqual(figures.live);
    expect(said('heap')).toMatch(
      /note: told by its own libmalloc_walk, which was called in the program/,
    );
    expect(said('heap check')).toMatch(
      /^ok: libmalloc_check of \/.*libbuddy\.so finds nothing wrong$/m,
    );
    expect(said('heap chunk block+5')).toMatch(/^0x\w+ is 5 bytes into the live block 0x\w+$/m);
    expect(said('heap leaks')).toMatch(/^nothing is lost: \d+ live blocks, all within reach$/m);
    expect(seen.status).toBe(3);
  });

  test('is told by one sentence in a core, and where a thread has stopped inside of it', async () => {
    const options = ['gdb', '-m', unknown, '--core', core, '--batch', '-x', questions('heap')];
    const { stdout } = await libmalloc([...options, '--', program]);
    expect(answer(stdout, 'heap')).toMatch(/^the heap of \S+ cannot be read in a core: .*$/);
    const inside = ['--break', 'malloc', '-x', questions('heap')];
    const { stderr } = await batch(unknown, inside, [program]);
    expect(answer(stderr, 'heap')).toMatch(/^thread 1 has stopped inside of \S+buddy\.so, .*$/);
  });
});

test('a process that was stopped before GDB attached can be asked, too', async () => {
  const child = execa('sh', ['-c', 'kill -STOP $$'], {
    env: { LD_PRELOAD: unknown },
    reject: false,
  });
  const { pid = 0 } = child;
  await vi.waitUntil(() => stateOf(pid) === 'T', 20_000);
  const asked = ['--pid', String(pid), '--batch', '-x', questions('heap', 'info signals SIGSTOP')];
  const { stdout } = await libmalloc(['gdb', '-m', unknown, ...asked]);
  child.kill('SIGKILL');
  expect(row(answer(stdout, 'heap'), 'live')).toBeDefined();
  expect(answer(stdout, 'info signals SIGSTOP')).toMatch(/^SIGSTOP\s+Yes\s+Yes\s+Yes/m);
});

test('what its libmalloc_check reports is the damage', async () => {
  const { stderr } = await atStop(unknown, ['heap check'], [program, 'overflow']);
  expect(answer(stderr, 'heap check')).toMatch(/^broken: .*0x\w+/m);
});
