// The heap commands on heaps that a program has damaged: each says what is broken, and ends.

import { beforeEach, describe, expect, test } from 'vitest';
import { compileProgram } from '../lib/compile.ts';
import { answer, atStop, batch, commands, long, questions, row } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const program = compileProgram('gdb-heap.c');
beforeEach(() => void need('gdb'));

/** Of a debug build, whose blocks are larger, other classes are in use. */
const guarded = (text: string): string => text.replaceAll('classes[4]', 'classes[6]');

describe('a damaged heap', () => {
  const inspections = [
    ...['heap check', 'heap', 'heap chunks', 'heap free', 'heap chunk large', 'heap free 90'],
    ...['heap map', 'heap map block 256', 'heap stats', 'heap find block', 'heap refs block'],
    ...['heap leaks', 'heap save damaged', 'heap diff damaged', 'heap watch block', 'heap help'],
  ];

  test('an overflow into the header behind is found, shown, and survived by every command', async () => {
    const lines = [...inspections, 'heap chunk block'];
    const { stderr } = await atStop('list', lines, [program, 'overflow']);
    const check = answer(stderr, 'heap check');
    expect(check).toMatch(
      /^broken: chunk 0x\w+: `prev` is 0x4141414141414141, but the chunk before it is 0x/,
    );
    expect(check).toMatch(/size +0x4141414141414141/);
    expect(check).toMatch(/the one before +0x\w+ {2}live {2}1632 bytes/);
    for (const command of ['heap', 'heap chunks', 'heap free'])
      expect(answer(stderr, command), command).toContain('broken: chunk');
    // Before the damage, and behind it: the ring can be followed from either end.
    expect(answer(stderr, 'heap chunk block')).toContain('is the start of a live block');
    expect(answer(stderr, 'heap chunk large')).toContain('is the start of a live block');
  });

  test('a link that leads into data that looks like a header is not followed on trust', async () => {
    const first = "'list.c'::heap.arena->sentinel->next";
    const word = (n: number, value: string): string => `set var ((long *)block)[${n}] = ${value}`;
    const header = [word(0, '(long)block + 160'), word(1, '0'), word(2, '32'), word(3, '0')];
    const behind = [word(20, '0'), word(21, '(long)block'), word(22, '16'), word(23, '0')];
    const follow = `set var ${first}->next = (void *)block`;
    const lines = [...header, ...behind, follow, 'heap chunk block+40', 'heap check'];
    const { stderr } = await atStop('list', lines, [program, 'x']);
    expect(answer(stderr, 'heap chunk block+40')).toMatch(
      / is 40 bytes into the live block 0x\w+$/m,
    );
    expect(answer(stderr, 'heap check')).toMatch(
      /`next` is 0x\w+, but a chunk begins at 0x\w+, where this one ends/,
    );
  });

  test('list: what lies between two chunks is told, with what lies around it', async () => {
    const first = "'list.c'::heap.arena->sentinel->next";
    const shrink = `set var ${first}->size = ${first}->size - 16`;
    const hole = `heap chunk (char *)${first}->next - 8`;
    const data = [`output/x (long)${first}->data`, `output/x (long)${first}->next->data`];
    const { stderr } = await atStop('list', [shrink, hole, ...data], [program, 'x']);
    const [before, behind] = data.map((line) => answer(stderr, line));
    expect(answer(stderr, hole)).toMatch(/ lies between the chunks: /);
    expect(answer(stderr, hole)).toMatch(new RegExp(`previous +${before} `));
    expect(answer(stderr, hole)).toMatch(new RegExp(`next +${behind} `));
  });

  const sentinel = "'list.c'::heap.arena->sentinel";
  const room = "'paged.c'::heap.arena->classes[4].room";
  const thread = "'sharded.c'::first_heap";
  const page = `${thread}.current[28]`;
  const region = "'sharded.c'::first_region";
  const first = "'buddy.c'::heap.arena->regions";
  const damages: Record<string, [at: string, value: string, sentence: string][]> = {
    list: [
      [`${sentinel}->next->next->next`, `${sentinel}->next`, 'leads back'],
      [`${sentinel}->prev`, `${sentinel}->next`, 'the last chunk is'],
      [`${sentinel}->next->size`, '40', 'no multiple of 16'],
      [`${sentinel}->next->size`, '1 << 20', 'inside the next chunk'],
      [`${sentinel}->next->free`, '2', 'neither 0 nor 1'],
      [`${sentinel}->next->next`, '16', 'no chunk of this heap'],
      ["'list.c'::heap.arena", '8', 'the arena at 0x8 is not there'],
      ["'list.c'::heap.arena->end", '-1', ''],
    ],
    paged: [
      [`${room}->used`, '9999', 'free and'],
      [`${room}->summary`, '0', 'the summary is 0x0'],
      [`${room}->size`, '7', 'blocks of 7 bytes'],
      [`${room}->size`, '0', 'blocks of 0 bytes'],
      [`${room}->fresh`, '-1', 'blocks were handed out'],
      [`${room}->inverse`, '5', 'the inverse is 5'],
      [`${room}->bits[0]`, '0', 'free and'],
      [`${room}->start`, '0', 'its record that it ends at 0x10000'],
      [`${room}->class`, '0', 'none of this heap'],
      [`${room}->next`, room, 'comes twice'],
      [room, '0', 'is missing from the list'],
      [room, '16', 'is no span of it'],
      ["'paged.c'::heap.arena->classes[4].empty", '7', 'counts 7 empty spans'],
      ["'paged.c'::heap.arena", '0', 'none of this heap'],
      ["'paged.c'::heap.leaves[5]", '16', 'a record is missing'],
    ],
    sharded: [
      [`${page}->kind`, '77', 'its kind is 77'],
      [`${page}->start`, '16', 'its record is that of a run at 0x10'],
      [`${page}->granules`, '0', 'its length is 0 granules'],
      [`${page}->class`, '200', 'its class is 200'],
      [`${page}->size`, '7', 'its blocks have 7 bytes, those of its class 832'],
      [`${page}->capacity`, '1', '1 blocks of 832 bytes are not 65536'],
      [`${page}->carved`, '9999', '9999 blocks were carved, of 78'],
      [`${page}->count`, '9999', '9999 and 0 blocks are free, of'],
      [`${page}->remote`, '-1', 'blocks are free, of'],
      [`${page}->owner`, '8', 'its heap is 0x8, which is none'],
      [`${page}->owner`, '0', 'its heap is 0x0, which is none'],
      [`${page}->inverse`, '5', 'the inverse is 0x5, and should be 0x4ec4ec4ec4ec4f'],
      [`${page}->limit`, '5', 'the limit is 0x5, and should be'],
      [`${page}->origin`, '5', 'the origin is 0x5, and should be'],
      [`${page}->base`, '0', 'the base is 0x0, and should be'],
      [`${page}->top`, '8', 'the next free block is said to be 0x8'],
      [`${page}->stack[1]`, '3', 'where no block begins'],
      [`${page}->stack[1]`, `${page}->stack[2]`, 'where one is free already'],
      [`*(long *)(${page}->start + ${page}->stack[1])`, '7', 'was written to after its free'],
      [`${thread}.current[36]`, "&'sharded.c'::page_none", 'a budget of '],
      [`${thread}.pages`, '7', 'counts 7 pages, but has '],
      [`${thread}.current[28]`, '16', 'the current page of class 28, 0x10, is none'],
      [`${thread}.direct[50]`, '16', 'for 800 bytes it leads to 0x10'],
      [`${thread}.fresh[28]`, '16', 'the fresh page of class 28, 0x10, is none'],
      [`${thread}.partial[3]`, '16', 'is none of it'],
      [`${thread}.kept[1]`, '16', 'which it is not'],
      [`${thread}.batched`, '7', 'says that its batches hold 7 bytes; it is 0'],
      [`${thread}.batches[3].page`, '16', 'a batch is for the page 0x10, which is none'],
      [`${thread}.pending`, '16', 'the record of a page at 0x10 is not there'],
      [`${thread}.pending`, page, 'the list of pages with remote frees leads to'],
      [`${thread}.next`, "&'sharded.c'::first_heap", 'the list of heaps leads back'],
      ["'sharded.c'::heap.heaps", '16', 'the heap at 0x10 is not there'],
      [`${region}.used`, '1', 'says that 1 granules are in use'],
      [`${region}.dirty`, '1', 'says that 1 granules are dirty'],
      [`${region}.oldest`, '16', 'the list of runs by age: the record 0x10 is none of it'],
      [`${region}.free[0][0].first[3]`, '16', 'its bit is 0, its first run 0x10'],
      [`${region}.free[0][0].used[0]`, '-1', 'its bit is 1, its first run 0x0'],
      ["'sharded.c'::heap.region", '16', 'the region at 0x10 is not there'],
      [`${region}.older`, '16', 'the region at 0x10 is not there'],
      ["'sharded.c'::heap.huges.bucket[3]", '16', 'a huge block at 0x10 is not there'],
      ["'sharded.c'::arenas.count", '99', 'there are 99 arenas, and room for 16'],
      ["'sharded.c'::arenas.list", '0', 'the list of arenas at 0x0 is not there'],
      ["'sharded.c'::arenas.list[0].start", '16', 'overlaps another, or ends in the middle'],
      ["'sharded.c'::page_map", '0', 'the map at 0x0 is not there'],
      [`'sharded.c'::map_first.entry[(long)${page}->start >> 16 & 63]`, '8', 'run 0x'],
    ],
    buddy: [
      [`${first}->tag[0]`, '0', 'its tag is 0, but the block before it ends there'],
      [`${first}->tag[0]`, '3', 'no block of that order can begin there'],
      [`${first}->tag[0]`, '130', 'no block of that order can begin there'],
      [`${first}->tag[0x1000]`, '40', 'no block of that order can begin there'],
      [`${first}->order`, '99', 'its order is 99'],
      [`${first}->start`, '16', 'which is no multiple of its size'],
      [`${first}->next`, first, 'before the one before it ends'],
      [`${first}->next`, '16', 'the record of a region at 0x10 is not there'],
      ["'buddy.c'::heap.arena", '8', 'the arena at 0x8 is not there'],
      ["'buddy.c'::heap.first.free[15]", '16', '0x10 is no free block of it'],
      ["'buddy.c'::heap.first.free[15]", '0', 'missing from the list of its order'],
      ["'buddy.c'::heap.first.free[15]->prev", '16', 'was written to after its free'],
      ["'buddy.c'::heap.first.free[15]->next", "'buddy.c'::heap.first.free[15]", 'comes twice'],
    ],
    dumb: [
      ["'dumb.c'::heap.end", "'dumb.c'::heap.start - 16", 'ends before that'],
      ["'dumb.c'::heap.block", '7', 'no multiple of 16'],
    ],
  };

  /** They walk over the blocks: where one of them meets the damage, all do. (`heap stats` may do with
   *  counts.) */
  const walking = [
    ...['heap chunks', 'heap map', 'heap find block', 'heap refs block'],
    ...['heap leaks', 'heap save damaged', 'heap diff damaged'],
  ];

  const matrix = Object.entries(damages).flatMap(([variant, list]) => [
    [variant, [], list] as const,
    ...(long
      ? [[variant, ['--debug'], list.map((row) => row.map(guarded) as typeof row)] as const]
      : []),
  ]);
  test.each(matrix)('%s %j: whatever is broken is named', async (variant, build, list) => {
    const lines = list.flatMap(([at, value]) => [
      `set $old = ${at}`,
      `set var ${at} = ${value}`,
      ...inspections,
      `set var ${at} = $old`,
    ]);
    const { status, stderr } = await batch(
      variant,
      [...build, '--break', 'stop_here', '-x', questions(...lines, 'heap check')],
      [program, 'x'],
    );
    for (const [i, [at, value, sentence]] of list.entries()) {
      const check = answer(stderr, 'heap check', i);
      if (sentence) expect(check, `${at} = ${value}`).toMatch(/^broken: /m);
      expect(check, `${at} = ${value}`).toContain(sentence);
      const met = walking.filter((command) => /^broken: /m.test(answer(stderr, command, i)));
      if (variant !== 'dumb') expect([[], walking], `${at} = ${value}`).toContainEqual(met);
      if (variant === 'list' && sentence) expect(met, `${at} = ${value}`).toEqual(walking);
    }
    expect(answer(stderr, 'heap check', list.length)).toMatch(/^ok: /m);
    expect(stderr).not.toMatch(/Python|Traceback/);
    expect(status).toBe(3);
  });

  test.each(['list', 'buddy', 'paged', 'sharded'])(
    '%s: where a misuse stops the program, its heap is there',
    async (variant) => {
      const { status, stderr } = await batch(variant, [], [program, 'double-free']);
      expect(stderr).toMatch(/^libmalloc: free\(\): double free of 0x/m);
      expect(stderr).toMatch(/^#\d+ .* die \(/m);
      expect(row(stderr, 'live')[0]).toBe(41);
      expect(stderr).toContain('note: this heap was frozen when the library stopped the program');
      expect(status).toBe(134);
    },
  );

  test('a stop in the middle of a call is noted', async () => {
    const script = commands('break main', 'run', 'break sbrk', 'continue', 'heap', 'delete');
    const { stderr } = await batch('list', ['-x', script], [program, 'x']);
    expect(stderr).toMatch(/note: a lock is held by thread \d+: stopped inside a call/);
  });
});
