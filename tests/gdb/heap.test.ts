// The heap commands: what GDB reads from memory is what the malloc itself says.

import { chmodSync, copyFileSync, renameSync } from 'node:fs';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { defaultVariant } from '../../scripts/malloc/mallocs.ts';
import { type CliResult, libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { answer, atStop, batch, commands, questions, row, shownChunks, told } from '../lib/gdb.ts';
import { gap } from '../lib/mallocs.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

const program = compileProgram('gdb-heap.c');
const hex = (n: number): string => `0x${n.toString(16)}`;
beforeEach(() => void need('gdb'));

/** For each block: where its first, its middle and its last byte lie, by `heap chunk`, and what it has
 *  for neighbours; a line each. */
const everyPlace = `source ${commands(`python
from libmalloc.command import open_heap
_, heap = open_heap()
for chunk in heap.walk():
    for at in (chunk.start, chunk.user, chunk.end - 1) if chunk.user else ():
        place = heap.place(at)
        rows = dict(place.rows)
        gdb.write(f'{place.sentence}|{rows.get("previous")}|{rows.get("next")}\\n')
end`)}`;

type Told = ReturnType<typeof told>['chunks'];

/** What `everyPlace` is to print, by what the malloc itself says. */
function expectedPlaces(chunks: Told, headers: boolean): string[] {
  const blocks = chunks.filter(({ user }) => user);
  const inside = chunks.flatMap(({ kind, start, extent = 0 }, i) =>
    kind === 'span' ? [{ i, start, end: Number(start) + extent }] : [],
  );
  const container = (at = 0): number =>
    inside.findLast(({ start = 0, end }) => start <= at && at < end)?.i ?? -1;
  const shown = (chunk: Told[number] | undefined, place: number): string | undefined =>
    chunk && container(chunk.user) === place
      ? `${hex(chunk.user ?? 0)}  ${chunk.kind}  ${chunk.usable} bytes`
      : undefined;
  return blocks.flatMap(({ kind, start = 0, extent = 0, user = 0 }, i) => {
    const place = container(user);
    const previous = shown(blocks[i - 1], place) ?? 'none';
    const next = shown(blocks[i + 1], place) ?? '';
    return [start, user, start + extent - 1].map((at) => {
      const where =
        headers && at < user
          ? `${at - start} bytes into the header of the ${kind} block ${hex(user)}`
          : at === user
            ? `the start of a ${kind} block`
            : `${at - user} bytes into the ${kind} block ${hex(user)}`;
      return `${hex(at)} is ${where}|${previous}|${next}`;
    });
  });
}

describe.each(everyVariant)('the heap of %s in GDB', (variant) => {
  const asked = [
    'heap',
    'heap chunks',
    'heap free',
    'heap check',
    'heap chunk block',
    'heap chunk block+5',
    'heap chunk freed',
    'heap chunk large+50000',
    'heap chunks large 1',
    everyPlace,
    'print heap',
    'print sizeof(chunk)',
  ];
  const core = scratch(`${variant}.core`);
  let live: CliResult;
  let fixture: ReturnType<typeof told>;
  beforeAll(async () => {
    live = await atStop(variant, [...asked, `generate-core-file ${core}`], [program]);
    fixture = told(live.stdout);
  });
  const said = (command: string): string => answer(live.stderr, command);

  test('shows the figures that the malloc itself counts', () => {
    expect(said('heap')).toContain(`(${variant})  ${variantFile(variant)}`);
    for (const [word, numbers] of Object.entries(fixture.figures))
      expect(row(said('heap'), word), word).toEqual(numbers);
    expect(row(said('heap'), 'fresh')).toEqual([fixture.fresh]);
    expect(row(said('heap'), 'headers')).toEqual([fixture.headers]);
    expect(fixture.figures.live[0]).toBeGreaterThan(0);
  });

  test('lists the chunks that the malloc itself walks', () => {
    expect(fixture.chunks.length).toBeGreaterThan(1);
    expect(shownChunks(said('heap chunks'))).toEqual(fixture.chunks);
  });

  test('finds every invariant sound, as the malloc does', () => {
    expect(fixture.broken).toBe(0);
    expect(said('heap check')).toMatch(/^ok: /m);
  });

  const lack = gap(variant, 'chunks');
  test('tells where an address lies, interior ones too', () => {
    if (lack) skip(lack);
    const [block = 0, , large = 0] = fixture.blocks;
    const usable = fixture.chunks.find(({ user }) => user === block)?.usable;
    expect(said('heap chunk block')).toContain(`${hex(block)} is the start of a live block`);
    const inside = said('heap chunk block+5');
    expect(inside).toContain(`${hex(block + 5)} is 5 bytes into the live block ${hex(block)}`);
    expect(inside).toMatch(new RegExp(`block +${hex(block)} \\.\\. \\w+  ${usable} bytes`));
    expect(inside).toMatch(/previous +(0x\w+ {2}(free|live)|none)/);
    expect(inside).toMatch(/next +(0x\w+ {2}(free|live|fresh)|none)/);
    expect(said('heap chunk freed')).toMatch(/is the start of a free block/);
    const interior = said('heap chunk large+50000');
    expect(interior).toContain(`is 50000 bytes into the live block ${hex(large)}`);
    expect(said('heap chunks large 1').split('\n').at(-1)).toContain(hex(large).slice(2));
  });

  test('tells it of every block, with its neighbours', () => {
    if (lack) skip(lack);
    const lines = said(everyPlace).split('\n');
    const expected = expectedPlaces(fixture.chunks, variant === 'list');
    expect(lines).toHaveLength(expected.length);
    expect(expected.length).toBeGreaterThan(100);
    for (const [i, want] of expected.entries()) {
      const [sentence, previous, next] = lines[i]?.split('|') ?? [];
      const [where, before, behind = ''] = want.split('|');
      // A large block has no neighbours; behind the last block of a page lie fresh ones, or nothing.
      expect(sentence).toBe(where);
      if (previous !== 'None') expect(previous, sentence).toContain(before);
      if (behind) expect(next, sentence).toBe(behind);
      else expect(next, sentence).toMatch(/^(none\b.*|None|0x\w+ {2}fresh .*)$/);
    }
  });

  if (lack)
    test('says of an address what little is known', () => {
      const [block = 0] = fixture.blocks;
      const into = block + 5 - (fixture.chunks[0]?.start ?? 0);
      expect(said('heap chunk block+5')).toContain(
        `lies ${into} bytes into the heap of ${variant}`,
      );
      expect(said('heap chunk block+5')).toContain(`block  ${hex(block)}, 65536 bytes`);
      expect(said('heap free')).toContain('nothing is free');
    });

  test('adds up what is free', () => {
    if (lack) skip(lack);
    const [free, bytes] = fixture.figures.free;
    expect(said('heap free')).toMatch(new RegExp(`^${free} free blocks?, ${bytes} bytes`, 'm'));
  });

  test('is not taken for the `heap` and `struct chunk` of the program', () => {
    expect(said('print heap')).toMatch(/= 42$/);
    expect(said('print sizeof(chunk)')).toMatch(/= 7$/);
  });

  test('is the same on a core', async () => {
    const options = ['gdb', '--core', core, '--batch', '-x', questions(...asked)];
    // A core also knows where its program was; one variant shows that.
    const words = variant === defaultVariant() ? [] : ['--', program];
    const { status, stdout } = await libmalloc([...options, ...words]);
    expect(status).toBe(0);
    const answers = asked.slice(0, -2); // printed values are numbered
    for (const command of answers) expect(answer(stdout, command), command).toBe(said(command));
  });

  test('is as readable in the debug build; a bare malloc is ours alone, with a condition', async () => {
    const there = ['break stop_here', 'continue', 'heap chunks'];
    const lines = ['bt 2', 'finish', 'heap', 'heap check', 'info breakpoints', ...there];
    const script = questions(...lines);
    const condition = ['--break', 'malloc if size > 50000'];
    const options = ['--debug', ...condition, '-x', script];
    const { status, stdout, stderr } = await batch(variant, options, [program]);
    expect(answer(stderr, 'bt 2')).toMatch(
      /^#0 +malloc \(size=.*60000\) at .*abi\.h:\d+\n#1 .* main /,
    );
    expect(answer(stderr, 'heap')).toContain(`build/debug/libmalloc-${variant}.so`);
    // Of a guarded block the program has what it asked for: 40 of 20 + 50 i bytes, and a large one.
    const asked = 60_000 + [...Array(60).keys()].reduce((n, i) => n + (i % 3 ? 20 + 50 * i : 0), 0);
    if (!gap(variant, 'chunks')) expect(row(answer(stderr, 'heap'), 'live')).toEqual([41, asked]);
    expect(answer(stderr, 'heap check')).toMatch(/^ok: the canaries of \d+ blocks?$/m);
    expect(answer(stderr, 'info breakpoints')).not.toMatch(/^1\.2/m);
    expect(shownChunks(answer(stderr, 'heap chunks'))).toEqual(told(stdout).chunks);
    expect(status).toBe(3);
  });
});

describe('the heaps of threads in sharded', () => {
  const threads = compileProgram('gdb-threads.c');
  const core = scratch('threads.core');
  const asked = ['heap', 'heap check', 'heap free', 'heap chunks', 'heap chunk home'];
  const huge = ['heap chunk huge+5', 'heap chunk kept', 'heap chunk cached'];
  let seen: CliResult;
  beforeAll(async () => {
    const lines = [...asked, ...huge, `generate-core-file ${core}`];
    seen = await atStop('sharded', lines, [threads]);
  });
  const said = (command: string): string => answer(seen.stderr, command);
  const printed = (word: string): string[] =>
    [...seen.stdout.matchAll(new RegExp(`^${word} (\\w+)$`, 'gm'))].map(([, at = '']) => at);

  test('tell what another thread freed from what is live and what its owner has drained', () => {
    const state = new Map(
      shownChunks(said('heap chunks')).map(({ user, kind }) => [user, kind] as const),
    );
    const states = (word: string): (string | undefined)[] => [
      ...new Set(printed(word).map((at) => state.get(Number(at)))),
    ];
    expect(states('live')).toEqual(['live']);
    expect(states('remote')).toEqual(['remote']);
    expect(printed('live')).toHaveLength(140);
    expect(printed('remote')).toHaveLength(200);
    expect(said('heap check')).toMatch(/^ok: .* 4 heaps: /m);
    expect(said('heap chunk home')).toMatch(/state +remote: freed by another thread/);
  });

  test('are listed with their threads', () => {
    const rows = said('heap').split('\n');
    const main = rows
      .find((line) => line.endsWith('the main thread'))
      ?.trim()
      .split(/ +/);
    expect(Number(main?.[5])).toBe(200);
    expect(rows.filter((line) => /thread \d+ \(LWP \d+\)$/.test(line))).toHaveLength(2);
    // The latter once another thread has looked after the heap.
    const nobody = /nobody: (LWP \d+ has ended|abandoned, for the next thread to adopt)/;
    expect(rows.filter((line) => nobody.test(line))).toHaveLength(1);
    expect(
      said('heap chunk kept')
        .split('\n')
        .find((line) => / owner /.test(line)),
    ).toMatch(nobody);
  });

  test('own no huge blocks and no free runs', () => {
    expect(said('heap chunk huge+5')).toMatch(
      /5 bytes into the live block[\s\S]*a mapping of its own/,
    );
    expect(said('heap chunk cached')).toMatch(/lies in a free run[\s\S]*state +cached/);
  });

  test('are the same on a core, which has no thread-local memory to look at', async () => {
    const options = ['gdb', '--core', core, '--batch', '-x', questions(...asked, ...huge)];
    const { stdout } = await libmalloc(options);
    for (const command of [...asked, ...huge])
      expect(answer(stdout, command), command).toBe(said(command));
  });
});

describe('one clear sentence', () => {
  const variant = defaultVariant();

  test('before the program runs, before its libraries are there, and after it has exited', async () => {
    const script = questions('heap', 'starti', 'heap', 'continue', 'heap');
    const { stderr } = await batch(variant, ['-x', script], [program, 'x']);
    expect(answer(stderr, 'heap', 0)).toMatch(/^the program is not running yet: `run` starts it$/m);
    expect(answer(stderr, 'heap', 1)).toMatch(/^the libraries are not loaded yet: /);
    expect(answer(stderr, 'heap', 2)).toMatch(/^the program has exited, and its heap with it: /);
  });

  test('in a program with a malloc that nobody reads here', async () => {
    const { stderr } = await atStop(need('jemalloc'), ['heap chunks'], [program]);
    expect(answer(stderr, 'heap chunks')).toMatch(
      /^the malloc of this program is that of \/.*jemalloc\.so\.2, /,
    );
  });

  const wrong: [string, RegExp][] = [
    ['heap chunk &stats', /^0x\w+ lies outside of the heap of /],
    ['heap chunk 16', /^0x10 lies outside of the heap of /],
    ['heap chunk -1', /^-0x1 lies outside of the heap of /],
    ['heap chunk nonsense', /^nonsense is no address or number: No symbol "nonsense"/],
    ['heap chunk chunk', /^chunk is no address or number: /],
    ['heap chunk', /^heap chunk needs an address/],
    ['heap chunks 999999', /^there is no chunk from 999999 on$/],
    ['heap chunks -1', /^FROM and COUNT are not negative$/],
    ['heap chunks 1 2 3', /^usage: heap chunks \[FROM \[COUNT\]\]$/],
    ['heap free 1 2', /^usage: heap free \[CLASS\]$/],
    ['heap nonsense', /^there is no `heap nonsense`/],
  ];
  test.each(everyVariant)('on %s, for everything that cannot be answered', async (name) => {
    const { stderr } = await atStop(
      name,
      wrong.map(([command]) => command),
      [program],
    );
    for (const [command, sentence] of wrong)
      expect(answer(stderr, command), command).toMatch(sentence);
  });

  test('on a core whose library is gone, or was built again', async () => {
    const copy = scratch('libmalloc-list.so');
    copyFileSync(variantFile('list'), copy);
    const core = scratch('gone.core');
    await atStop(copy, [`generate-core-file ${core}`], [program]);
    const look = ['gdb', '--core', core, '--batch', '-x', commands('heap'), '--', program];
    renameSync(copy, `${copy}.away`);
    const gone = await libmalloc(look);
    expect(gone.stderr).toContain(`${copy} is not there any more: put it back`);
    expect(gone.status).toBe(125);
    copyFileSync(variantFile('paged'), copy);
    const again = (await libmalloc(look)).stderr;
    expect(again).toContain(`${copy} was built again since this program loaded it`);
    expect(again.match(/ was built again since the core was written/g)).toHaveLength(1);
    expect(again).not.toContain('Python');
  });

  test('on a core whose program was built again', async () => {
    const [copy, core] = [scratch('copied-program'), scratch('program.core')];
    copyFileSync(program, copy);
    chmodSync(copy, 0o755);
    await atStop('list', [`generate-core-file ${core}`], [copy]);
    const look = ['gdb', '--core', core, '--batch', '-x', commands('heap'), '--', copy];
    expect((await libmalloc(look)).stderr).not.toContain('was built again');
    copyFileSync(compileProgram('gdb-heap.c', { flags: ['-O3'] }), copy);
    expect((await libmalloc(look)).stderr).toMatch(
      /copied-program was built again since the core was written/,
    );
  });
});
