// `libmalloc gdb --track`: the blocks of any malloc, and who allocated them, by a table in the program's memory.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeEach, describe, expect, test } from 'vitest';
import { huntTracked } from '../../scripts/docs/hunt.ts';
import { comparable } from '../../scripts/docs/transcript.ts';
import { root } from '../../scripts/lib/paths.ts';
import { cli, libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { answer, batch, questions, row, shownChunks } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const program = compileProgram('gdb-tracked.c');
const unknown = compileProgram('gdb-unknown.c', { flags: ['-shared', '-fPIC', '-s'] });
beforeEach(() => void need('gdb'));

/** Asks at the stop in stop_here, in the frame of its caller. */
const track = (m: string, asked: string[], words: string[] = [], options: string[] = []) =>
  batch(
    m,
    ['--track', '--break', 'stop_here', ...options, '-x', questions('up', ...asked)],
    [program, ...words],
  );

const asked = [
  ...[
    'heap',
    'heap check',
    'heap free',
    'heap stats',
    'heap chunks',
    'heap leaks',
    'heap leaks all',
  ],
  ...['heap chunk grown', 'heap chunk given+700', 'heap chunk kept+3', 'heap chunk freed'],
  ...['heap chunk &freed', 'heap try-free grown', 'heap try-free kept+1', 'heap try-free freed'],
  ...[
    'heap refs grown',
    'heap find "llllllll"',
    'heap vis kept 1',
    'heap map',
    'heap chunks kept 2',
  ],
  ...['heap save before', 'heap diff before', 'heap telescope &grown 1'],
];

describe.each(['jemalloc', 'tcmalloc', 'unknown'])('%s, which no reader knows', (m) => {
  const core = scratch(`tracked-${m}.core`);

  test('has its blocks told live and in a core, and who allocated them', async () => {
    if (m !== 'unknown') need(m);
    const seen = await track(m === 'unknown' ? unknown : m, [...asked, `gcore ${core}`]);
    const said = (command: string): string => answer(seen.stderr, command);
    expect(seen.status).toBe(3);
    const places = Object.fromEntries(
      [...seen.stdout.matchAll(/^(\w+) (0x\w+)$/gm)].map(([, name, at]) => [name, Number(at)]),
    );

    const blocks = shownChunks(said('heap chunks')).filter(({ kind }) => kind === 'live');
    const at = new Map(blocks.map(({ user, usable }) => [user, usable]));
    expect(at.get(places.grown)).toBe(5000);
    expect(at.get(places.given)).toBe(777);
    expect(at.get(places.kept)).toBe(640);
    expect(at.get(places.lost)).toBe(40);
    expect([...at.values()]).not.toContain(333); // freed in its thread
    const bytes = [...at.values()].reduce((sum = 0, size = 0) => sum + size, 0);
    expect(row(said('heap'), 'live')).toEqual([at.size, bytes]);
    expect(said('heap')).toMatch(/note: by the table of --track: .* what is free is not known$/m);
    expect(said('heap')).not.toMatch(/^ +(free|fresh|headers) /m);
    expect(said('heap free')).toMatch(/^what is free is not known: /);
    expect(said('heap check')).toMatch(/^ok: \d+ live blocks, none of which overlaps another/m);

    expect(said('heap leaks')).toMatch(/^ +30 +1200 +40 +nothing +lose < (fill < )?main$/m);
    expect(said('heap leaks')).toMatch(/^30 blocks, 1200 bytes, lost: /m);
    expect(said('heap chunk grown')).toMatch(
      /is the start of a live block\n[\s\S]* asked for +5000 bytes, by thread \d+\n +allocated +grow \(gdb-tracked\.c:\d+\)\n[\s\S]* main /,
    );
    expect(said('heap chunk given+700')).toMatch(
      /is 700 bytes into the live block 0x[\s\S]* allocated +give \(gdb-tracked\.c:\d+\)\n +start_thread/,
    );
    expect(said('heap chunk freed')).toMatch(/lies in no live block/);
    expect(said('heap chunk &freed')).toMatch(/lies outside of the heap of /);
    expect(said('heap try-free grown')).toMatch(/would succeed/);
    expect(said('heap try-free kept+1')).toMatch(/would fail: .* it lies 1 bytes into 0x/);
    expect(said('heap try-free freed')).toMatch(/would fail: .* is no live block/);
    expect(said('heap refs grown')).toMatch(/^ +0x\w+ +grown +0x\w+$/m);
    expect(said('heap find "llllllll"')).toMatch(/^990 places with these 8 bytes/m);
    expect(said('heap vis kept 1')).toMatch(/^live 640 bytes at 0x\w+, allocated by /);
    expect(said('heap diff before')).toMatch(/^since before: 0 blocks allocated /m);
    expect(said('heap telescope &grown 1')).toMatch(/\(live block 0x/);

    const options = ['gdb', '--core', core, '--batch', '-x', questions('up', ...asked)];
    const { stdout } = await libmalloc([...options, '--', program]);
    for (const command of asked) expect(answer(stdout, command), command).toBe(said(command));
  });
});

test('a place is told before the table is sorted as after that', async () => {
  const places = [
    'heap chunk given+700',
    'heap chunks kept 3',
    'heap chunk freed',
    'heap vis kept+9 1',
  ];
  const { stderr } = await track(unknown, [...places, 'heap leaks', ...places]);
  for (const place of places) expect(answer(stderr, place), place).toBe(answer(stderr, place, 1));
  expect(answer(stderr, 'heap chunks kept 3').match(/ live /g)).toHaveLength(3);
});

test('memory that a malloc hands out twice is named, with both who have it', async () => {
  const { stderr } = await track(unknown, ['heap check'], ['in-use']);
  expect(answer(stderr, 'heap check')).toMatch(
    /^broken: the live blocks 0x\w+ and 0x\w+ overlap: .*\n[\s\S]* give \([\s\S]* 4242 bytes\n[\s\S]* main \(/m,
  );
});

test('damage to the table itself is named', async () => {
  const damaged = ["set var 'track.c'::blocks.used = 3", 'heap check'];
  const pointed = ["set var 'track.c'::blocks.slots = 4096", 'heap leaks', 'heap chunk grown'];
  const { stderr } = await track(unknown, [...damaged, ...pointed, 'heap try-free grown']);
  expect(answer(stderr, 'heap check')).toMatch(
    /^broken: the table of --track .* counts 3 blocks of /m,
  );
  expect(answer(stderr, 'heap leaks')).toMatch(/^broken: the table of --track cannot be read$/m);
  expect(answer(stderr, 'heap chunk grown')).toMatch(
    /^broken: the table of --track cannot be read$/m,
  );
  expect(answer(stderr, 'heap try-free grown')).toMatch(/ is no live block|^broken: /m);
});

test('a forked child goes on with the table of its parent, and a program by exec begins one', async () => {
  const child = await track(unknown, ['heap leaks'], ['fork'], ['--follow', 'child']);
  expect(answer(child.stderr, 'heap leaks')).toMatch(/^ +1 +4444 +4444 +nothing +lose < /m);
  expect(answer(child.stderr, 'heap leaks')).toMatch(/^31 blocks, 5644 bytes, lost: /m);
  const next = await track(unknown, ['heap leaks'], ['exec']);
  expect(answer(next.stderr, 'heap leaks')).toMatch(/^30 blocks, 1200 bytes, lost: /m);
});

test.each(['glibc', 'list', 'sharded'])('%s keeps its reader, and gets the stacks', async (m) => {
  const { stderr } = await track(m, ['heap leaks', 'heap chunk grown', 'heap free', 'heap check']);
  expect(answer(stderr, 'heap leaks')).toMatch(/ nothing +lose < (fill < )?main$/m);
  expect(answer(stderr, 'heap leaks')).toMatch(/^30 blocks, \d+ bytes, lost: /m);
  expect(answer(stderr, 'heap chunk grown')).toMatch(
    / (chunk|page) .*\n[\s\S]* allocated +grow \(/,
  );
  expect(answer(stderr, 'heap free')).not.toMatch(/is not known/);
  expect(answer(stderr, 'heap check')).toMatch(/^ok: /m);
});

test('a process that `run --track` has started is attached to, with all its blocks', async () => {
  const words = ['run', '--track', '-m', unknown, '--', program, 'wait'];
  const [file = '', ...rest] = [...cli, ...words];
  const child = execa(file, rest, { stdin: 'pipe', reject: false });
  const pid = String(await new Promise((done) => child.stdout.once('data', done))).trim();
  const seen = await libmalloc(['gdb', '--pid', pid, '--batch', '-x', questions('heap leaks')]);
  child.stdin.end('go on\n');
  const { exitCode, stderr } = await child;
  expect(answer(seen.stdout, 'heap leaks')).toMatch(/^30 blocks, 1200 bytes, lost: /m);
  expect(stderr).toMatch(/^libmalloc: \S+ in 1 process \(gdb-tracked\S*\): \S*gdb-unknown/m);
  expect([seen.status, exitCode]).toEqual([0, 3]);
});

test('without --track, and where it comes too late, a sentence says so', async () => {
  const without = ['--break', 'stop_here', '-x', questions('heap')];
  const { stderr } = await batch(unknown, without, [program]);
  expect(answer(stderr, 'heap')).toMatch(
    /no reader knows it, .* `libmalloc gdb --track` keeps a table/,
  );
  const late = await libmalloc(['gdb', '--track', '--pid', `${process.pid}`]);
  expect(late.status).toBe(125);
  expect(late.stderr).toMatch(/--track begins with the program/);
});

test('jemalloc answers as docs/debugging.md tells', async () => {
  need('jemalloc');
  const told = JSON.parse(readFileSync(join(root, 'docs', 'debugging.json'), 'utf8'));
  expect(comparable(await huntTracked('jemalloc'))).toBe(comparable(told.track));
});
