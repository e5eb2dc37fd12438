// The heap commands on glibc's own malloc: what they read is what the program knows of its heap.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hunt } from '../../scripts/docs/hunt.ts';
import { comparable } from '../../scripts/docs/transcript.ts';
import { root } from '../../scripts/lib/paths.ts';
import { type CliResult, libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { answer, atStop, batch, commands, questions, row, shownChunks } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const program = compileProgram('gdb-glibc.c');
beforeEach(() => void need('gdb'));

const asked = [
  ...['heap', 'heap check', 'heap chunks', 'heap free', 'heap stats', 'heap map', 'heap leaks'],
  ...['heap chunk victim', 'heap chunk victim+7', 'heap chunk cached', 'heap chunk fast'],
  ...['heap chunk binned', 'heap chunk mapped', 'heap chunk aligned+100000', 'heap refs victim'],
  ...['heap find "xxxxxxxx"', 'heap free 100', 'heap map victim 256', 'heap chunks victim 3'],
  ...[
    'heap bins',
    'heap bins tcache',
    'heap bins unsorted',
    'heap chunk victim-16',
    'heap chunk (char *)victim-9',
    'heap chunk &freed',
  ],
];

describe('the heap of glibc in GDB', () => {
  const core = scratch('glibc.core');
  let seen: CliResult;
  let chunks: ReturnType<typeof shownChunks>;
  const said = (command: string): string => answer(seen.stderr, command);
  const told = (word: string): number[][] =>
    [...seen.stdout.matchAll(new RegExp(`^${word} (.*)$`, 'gm'))].map(([, numbers = '']) =>
      numbers.split(' ').map(Number),
    );
  beforeAll(async () => {
    seen = await atStop('glibc', [...asked, `generate-core-file ${core}`], [program]);
    chunks = shownChunks(said('heap chunks'));
  });

  test('tells every block that the program has, with its size, and every one that it freed', () => {
    const at = new Map(chunks.map((chunk) => [chunk.user, chunk]));
    const live = told('live');
    expect(live.length).toBeGreaterThan(300);
    for (const [user = 0, usable] of live)
      expect(at.get(user), `0x${user.toString(16)}`).toMatchObject({ kind: 'live', usable });
    const gone = told('gone').map(([user]) => at.get(user ?? 0)?.kind);
    expect(gone.filter((kind) => kind === 'free').length).toBeGreaterThanOrEqual(gone.length - 3);
    expect(gone).toHaveLength(100); // of which pthread_create has taken one or two
  });

  test('the lists of free blocks: heap bins is heap free, and goes through one kind in its order', () => {
    expect(said('heap bins')).toBe(said('heap free'));
    const full = /^ +tcache of 40 bytes of thread 1 +(\d+) +(0x\w+) +40$/gm;
    const cached = [...said('heap bins tcache').matchAll(full)].map(([, n, at]) => [Number(n), at]);
    expect(cached.map(([n]) => n)).toEqual([1, 2, 3, 4, 5, 6, 7]);
    const gone = told('gone').map(([at = 0]) => `0x${at.toString(16)}`);
    expect(cached.map(([, at]) => at)).toEqual(gone.slice(0, 7).reverse()); // last in, first out
    expect(said('heap bins unsorted')).toMatch(/^\d+ free blocks?, \d+ bytes$/m);
    expect(said('heap bins unsorted')).not.toContain('tcache');
  });

  test('counts what mallinfo2 counts', () => {
    const [[hblks, hblkhd] = []] = told('mapped');
    const mapped = chunks.filter(({ kind, extent = 0 }) => kind === 'live' && extent > 128 * 1024);
    expect(mapped).toHaveLength(hblks ?? 0);
    expect(mapped.reduce((sum, { extent = 0 }) => sum + extent, 0)).toBe(hblkhd);
    const [[heaps] = []] = told('main');
    const regions = chunks.filter(({ kind }) => kind === 'region');
    expect(regions.slice(0, -2).reduce((sum, { extent = 0 }) => sum + extent, 0)).toBe(heaps);
  });

  test('the chunks of a heap tile it, and are added up alike', () => {
    const regions = chunks.filter(({ kind }) => kind === 'region');
    for (const { start: low = 0, extent: length = 0 } of regions) {
      let end = low;
      for (const { kind, start = 0, extent = 0 } of chunks)
        if (kind !== 'region' && start >= low && start < low + length) {
          expect(start).toBe(end);
          end = start + extent;
        }
      expect(end).toBe(low + length);
    }
    for (const kind of ['live', 'free']) {
      const all = chunks.filter((chunk) => chunk.kind === kind);
      const bytes = all.reduce((sum, { usable = 0 }) => sum + usable, 0);
      expect(row(said('heap'), kind)).toEqual([all.length, bytes]);
    }
    const rows = said('heap stats')
      .split('\n')
      .slice(1)
      .map((line) => line.trim().split(/ +/));
    const counted = rows.reduce((sum, [, n]) => sum + Number(n), 0);
    expect(counted).toBe(row(said('heap'), 'live')[0]);
  });

  test('finds it sound, and tells where an address lies', () => {
    expect(said('heap check')).toMatch(/^ok: \d+ chunks in 2 arenas, 2 mapped chunks, \d+ lists /m);
    expect(said('heap chunk victim')).toMatch(/is the start of a live block$/m);
    expect(said('heap chunk victim+7')).toMatch(/is 7 bytes into the live block 0x/);
    expect(said('heap chunk cached')).toMatch(
      /state +free, in the tcache of 40 bytes of thread 1$/m,
    );
    expect(said('heap chunk fast')).toMatch(
      /state +free, in the (fastbin|small bin) of 40 bytes of /m,
    );
    expect(said('heap chunk binned')).toMatch(
      /state +free, in the (large|unsorted) bin of main_arena/,
    );
    expect(said('heap chunk aligned+100000')).toMatch(
      /100000 bytes into the live block 0x\w+000[\s\S]*a mapping of its own[\s\S]*mapped {2}\(size/,
    );
    // The word in front of a size is the block's before it, as long as that is in use.
    expect(said('heap chunk victim-16')).not.toMatch(/header of the live block/);
    expect(said('heap chunk (char *)victim-9')).not.toMatch(/header of the live block/);
    expect(said('heap chunk &freed')).toMatch(/^0x\w+ lies outside of the heap of glibc/);
    expect(said('heap chunks victim 3').split('\n')).toHaveLength(5);
  });

  test('searches it: nothing is lost, and what points where is told', () => {
    expect(said('heap leaks')).toMatch(/^nothing is lost: \d+ live blocks, all within reach$/m);
    expect(said('heap refs victim')).toMatch(/ victim +0x\w+$/m);
    expect(said('heap find "xxxxxxxx"')).toMatch(/^300 places with these 8 bytes/m);
  });

  test('is the same on a core, and without debug information of libc', async () => {
    const options = ['gdb', '-m', 'glibc', '--core', core, '--batch', '-x', questions(...asked)];
    const { stdout } = await libmalloc([...options, '--', program]);
    for (const command of asked) expect(answer(stdout, command), command).toBe(said(command));
    const lines = ['set debug-file-directory /nonexistent', 'break stop_here', 'run'];
    const script = commands(...lines, `source ${questions(...asked)}`);
    const bare = await batch('glibc', ['-x', script], [program]);
    for (const command of asked) expect(answer(bare.stderr, command), command).toBe(said(command));
  });
});

test('heap watch stops at the reallocation of a block, and at its free', async () => {
  const search = compileProgram('gdb-search.c');
  const lines = ['set can-use-hw-watchpoints 0', 'heap watch global', 'continue', 'continue'];
  for (const [mode, n] of [['grow', 0] as const, ['', 1] as const]) {
    const words = [search, ...(mode ? [mode] : [])];
    const { stderr } = await atStop('glibc', lines, words);
    expect(answer(stderr, 'heap watch global')).toMatch(/^follows the live block 0x\w+ \(104 /m);
    const call = mode === 'grow' ? 'realloc' : 'free';
    expect(answer(stderr, 'continue', n)).toMatch(
      new RegExp(`^heap watch: ${call} of the block 0x\\w+ \\(104 bytes\\)$`, 'm'),
    );
  }
});

/** Asks about 60 blocks of gdb-million.c: with all lists, then with few links and from a chunk near by. */
const nearby = `python
import re
from libmalloc import command, glibc_arenas, glibc_lists
def told():
    command._forget()
    return [gdb.execute(f'heap chunk block[{i}]', to_string=True) for i in range(1500, 1560)]
whole = told()
glibc_lists.FEW, glibc_arenas.FAR = 20, 1 << 13
part = told()
judged = sum('their links look like it' in text for text in part)
part = [re.sub(r'  note: .*\\n', '', text) for text in part]
alike = [re.sub(', in the .*', '', a) == re.sub(', in the .*', '', b) for a, b in zip(whole, part)]
gdb.write(f'{sum(alike)} alike, {judged} judged, {sum("state     free" in text for text in part)} free\\n')
gdb.execute('heap check')
gdb.write(f'certain: {gdb.execute("heap chunk block[1500]", to_string=True) == whole[0]}\\n')
end`;

test('one place is told without following long lists, from a chunk near by, and says what is not certain', async () => {
  const script = commands(nearby);
  const words = [compileProgram('gdb-million.c'), '3000'];
  const { stderr } = await batch('glibc', ['--break', 'stop_here', '-x', script], words);
  expect(stderr).toMatch(/^60 alike, [1-9]\d judged, 20 free$/m);
  expect(stderr).toMatch(/^ok: 3\d\d\d chunks in 1 arena/m);
  expect(stderr).toMatch(/^certain: True$/m);
});

test('a core that is none is refused, with what to do', async () => {
  const text = commands('no core');
  const { status, stderr } = await libmalloc(['gdb', '--batch', '--core', text]);
  expect(stderr).toMatch(/is no core$/m);
  expect(stderr).toContain('zstd -d');
  expect(status).toBe(125);
});

test('the hunt of docs/debugging.md goes on glibc as it is told there', async () => {
  const told = JSON.parse(readFileSync(join(root, 'docs', 'debugging.json'), 'utf8'));
  expect(comparable(await hunt('glibc'))).toBe(comparable(told.glibc));
});

describe('damage on glibc', () => {
  const inspections = [
    ...['heap check', 'heap', 'heap chunks', 'heap free', 'heap chunk behind', 'heap map'],
    ...['heap stats', 'heap find behind', 'heap refs behind', 'heap leaks', 'heap save damaged'],
  ];
  const damages: [mode: string, check: RegExp, rows: RegExp, lost: number][] = [
    [
      'overflow',
      /^broken: chunk 0x\w+: its header was overwritten, its size word is 0x7420736920746168$/m,
      /size +0x7420736920746168 {2}"hat is t"\n +the one before +0x\w+ {2}live {2}968 bytes$/m,
      1,
    ],
    [
      'null',
      /^broken: chunk 0x\w+: its header was overwritten, its size word is 0x300$/m,
      /size +0x0+300\n +the one before +0x\w+ {2}live {2}968 bytes$/m,
      1,
    ],
    [
      'stale',
      /the link in the free block 0x\w+ leads to 0x\w+, which is no chunk of this heap: the block was written to after its free$/m,
      /link +0x\w+ {2}"stale te"\n +0x\w+ key +0x\w+7478\n +the one before +0x\w+ {2}live {2}40 bytes$/m,
      0,
    ],
  ];
  let sound = 0;
  beforeAll(async () => {
    const { stderr } = await atStop('glibc', ['heap'], [program, 'none']);
    sound = row(stderr, 'live')[0] ?? 0;
  });

  test.each(damages)('%s is named, and all that lies behind it is there', async (...damage) => {
    const [mode, sentence, rows, lost] = damage;
    const { stderr } = await atStop('glibc', inspections, [program, mode]);
    const said = (command: string): string => answer(stderr, command);
    expect(said('heap check')).toMatch(sentence);
    expect(said('heap check')).toMatch(rows);
    expect(row(said('heap'), 'live')[0]).toBe(sound - lost);
    for (const command of ['heap', 'heap chunks', 'heap map', 'heap leaks', 'heap stats'])
      expect(said(command), command).toMatch(sentence);
    if (mode !== 'stale')
      expect(said('heap')).toMatch(/^ {2}992 bytes from 0x\w+ on are skipped; /m);
    expect(shownChunks(said('heap chunks').split('\nbroken')[0] ?? '').length).toBeGreaterThan(450);
    expect(said('heap refs behind')).toMatch(/ behind +0x\w+$/m);
    expect(stderr).not.toMatch(/Python|Traceback/);
  });
});
