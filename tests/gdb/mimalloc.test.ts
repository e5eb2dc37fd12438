// The heap commands on Debian's mimalloc, which has no symbols: what they read is what the program knows.

import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { which } from '../../scripts/malloc/programs.ts';
import { type CliResult, libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import {
  answer,
  atStop,
  isMimallocRead,
  needMimalloc,
  questions,
  row,
  shownChunks,
} from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const program = compileProgram('gdb-mimalloc.c');
const needs = (): void => {
  need('gdb');
  needMimalloc();
};
beforeEach(needs);

const asked = [
  ...['heap', 'heap check', 'heap chunks', 'heap free', 'heap stats', 'heap leaks', 'heap map'],
  ...['heap chunk victim', 'heap chunk victim+7', 'heap chunk dropped', 'heap chunk remote'],
  ...['heap chunk delayed', 'heap chunk huge+1000000', 'heap chunk orphan', 'heap chunk &freed'],
  ...['heap refs victim', 'heap find "xxxxxxxx"', 'heap try-free victim', 'heap try-free dropped'],
  ...['heap try-free aligned', 'heap vis dropped 1', 'heap chunks victim 2'],
];

describe('the heap of mimalloc in GDB', () => {
  const core = scratch('mimalloc.core');
  let seen: CliResult;
  let chunks: ReturnType<typeof shownChunks>;
  const said = (command: string): string => answer(seen.stderr, command);
  const told = (word: string): number[][] =>
    [...seen.stdout.matchAll(new RegExp(`^${word} (.*)$`, 'gm'))].map(([, numbers = '']) =>
      numbers.split(' ').map(Number),
    );
  beforeAll(async () => {
    if (!isMimallocRead() || !which('gdb')) return; // a hook cannot skip; each test does
    seen = await atStop('mimalloc', [...asked, `generate-core-file ${core}`], [program]);
    chunks = shownChunks(said('heap chunks'));
  });

  test('tells every block that the program has, and by whom the others were freed', () => {
    const at = new Map(chunks.map((chunk) => [chunk.user, chunk]));
    const live = told('live');
    expect(live.length).toBeGreaterThan(2000);
    for (const [user = 0, usable] of live)
      expect(at.get(user), `0x${user.toString(16)}`).toMatchObject({ kind: 'live', usable });
    expect(row(said('heap'), 'live')[0]).toBeLessThanOrEqual(live.length + 4); // of pthread_create
    const kinds = (word: string) => new Set(told(word).map(([user]) => at.get(user ?? 0)?.kind));
    expect(kinds('gone')).toEqual(new Set(['free']));
    expect(told('crossed')).toHaveLength(35);
    expect(kinds('crossed')).toEqual(new Set(['remote']));
  });

  test('the chunks of a segment tile it, and are added up alike', () => {
    const regions = chunks.filter(({ kind }) => kind === 'region');
    expect(regions.length).toBeGreaterThanOrEqual(3);
    for (const { start: low = 0, extent: length = 0 } of regions) {
      let end = low;
      for (const { kind, start = 0, extent = 0 } of chunks)
        if (kind !== 'region' && kind !== 'span' && start >= low && start < low + length) {
          expect(start).toBe(end);
          end = start + extent;
        }
      expect(end).toBe(low + length);
    }
    const live = chunks.filter(({ kind }) => kind === 'live');
    const bytes = live.reduce((sum, { usable = 0 }) => sum + usable, 0);
    expect(row(said('heap'), 'live')).toEqual([live.length, bytes]);
    const rows = said('heap stats').split('\n').slice(1);
    const counted = rows.reduce((sum, line) => sum + Number(line.trim().split(/ +/)[1]), 0);
    expect(counted).toBe(live.length);
  });

  test('finds it sound, and tells where an address lies and whose it is', () => {
    expect(said('heap')).toMatch(/^mimalloc 2\.0\.9 {2}\//);
    expect(said('heap')).toMatch(/ thread 1\n[\s\S]* thread 2\n[\s\S]* nobody: abandoned/);
    expect(said('heap check')).toMatch(/^ok: \d segments, \d+ pages, \d+ blocks: /);
    expect(said('heap chunk victim')).toMatch(
      /is the start of a live block\n[\s\S]*owner +thread 1 /,
    );
    expect(said('heap chunk victim+7')).toMatch(/is 7 bytes into the live block 0x/);
    expect(said('heap chunk dropped')).toMatch(/^0x\w+ is the start of a free block$/m);
    for (const name of ['remote', 'delayed'])
      expect(said(`heap chunk ${name}`)).toMatch(/state +remote: freed by another thread/);
    expect(said('heap chunk huge+1000000')).toMatch(/ 1000000 bytes into the live block 0x/);
    expect(said('heap chunk orphan')).toMatch(/owner +nobody: abandoned, for the next thread/);
    expect(said('heap chunk &freed')).toMatch(/^0x\w+ lies outside of the heap of mimalloc$/);
  });

  test('searches it, and says what free would do', () => {
    expect(said('heap leaks')).toMatch(/^nothing is lost: \d+ live blocks, all within reach$/m);
    expect(said('heap refs victim')).toMatch(/ victim +0x\w+$/m);
    expect(said('heap find "xxxxxxxx"')).toMatch(/^\d+ places with these 8 bytes/m);
    expect(said('heap try-free victim')).toMatch(/would succeed/);
    expect(said('heap try-free dropped')).toMatch(/would fail: double free of 0x/);
    expect(said('heap try-free aligned')).toMatch(
      / lies \d+ bytes into a live block .* frees the block/,
    );
  });

  test('is the same on a core', async () => {
    const options = ['gdb', '-m', 'mimalloc', '--core', core, '--batch', '-x', questions(...asked)];
    const { stdout } = await libmalloc([...options, '--', program]);
    for (const command of asked) expect(answer(stdout, command), command).toBe(said(command));
  });
});

test.each([
  [
    'stale',
    /^broken: the link in the free block 0x\w+ leads to 0x\w+, which is no block of its page: the block was written to after its free\n.* link +0x657420656c617473 {2}"stale te"\n +the one before +0x\w+ {2}48 bytes$/m,
  ],
  [
    'twice',
    /^broken: the link in the free block 0x\w+ leads to 0x\w+, a block that is on a free list already: a block was freed twice$/m,
  ],
  [
    'header',
    /^broken: the header of the segment 0x\w+ is overwritten\n.* cookie +0x6868686868686868\n.* used +0x6868686868686868$/m,
  ],
])('%s is named, and what lies behind it is there', async (mode, sentence) => {
  const { stderr } = await atStop('mimalloc', ['heap check', 'heap chunks'], [program, mode]);
  expect(answer(stderr, 'heap check')).toMatch(sentence);
  expect(answer(stderr, 'heap chunks')).toMatch(sentence);
  expect(answer(stderr, 'heap chunks').match(/ live /g)?.length).toBeGreaterThan(2200);
});
