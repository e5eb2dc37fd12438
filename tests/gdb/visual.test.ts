// What GDB shows of bytes and addresses: heap vis, heap telescope, heap vmmap, heap try-free, groups.

import { beforeEach, describe, expect, test } from 'vitest';
import { compileProgram } from '../lib/compile.ts';
import { answer, atStop, batch, questions } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const program = compileProgram('gdb-heap.c');
const search = compileProgram('gdb-search.c');
const glibc = compileProgram('gdb-glibc.c');
beforeEach(() => void need('gdb'));

const readers = ['list', 'buddy', 'paged', 'sharded', 'glibc'];

describe.each(readers)('on %s', (m) => {
  test('vis shows the bytes, and what the malloc keeps there', async () => {
    const lines = ['heap vis global 1', 'heap vis freed 1', 'heap vis', 'heap vis 16'];
    const { stderr } = await atStop(m, lines, [search]);
    const seen = answer(stderr, 'heap vis global 1');
    expect(seen).toMatch(/^live \d+ bytes at 0x\w+$/m);
    expect(seen).toMatch(/^ {2}0x\w+ {2}0000000000000002 |^ {2}0x\w+ {2}\w+ 0000000000000002 /m);
    expect(seen).toMatch(/a needle\n {2}0x\w+ {2}\w{16} \w{16} {2} in a block/);
    const fields = { list: /next, prev\n.*size, free$/m, glibc: /prev_size, size$/m }[m];
    if (fields) expect(seen).toMatch(fields);
    expect(answer(stderr, 'heap vis 16')).toMatch(/^0x10 lies outside of the heap of /);
    expect(answer(stderr, 'heap vis').match(/^(live|free|header|fresh)/gm)?.length).toBeGreaterThan(
      4,
    );
    expect(stderr).not.toContain('\x1b');
  });

  test('telescope follows what points on, and vmmap says what lies where', async () => {
    const lines = [
      'heap telescope &global 1',
      'heap telescope global 3',
      'heap vmmap',
      'info frame',
    ];
    const { stderr } = await atStop(m, lines, [search]);
    expect(answer(stderr, lines[0] ?? '')).toMatch(/\+0x0* {2}0x(\w+) \(live block 0x\1\)/);
    expect(answer(stderr, lines[1] ?? '')).toMatch(/\+0x10 {2}0x\w+ \(live block 0x\w+\+40\)/);
    expect(answer(stderr, 'heap vmmap')).toMatch(/ rw-p +.*heap \d+/);
    expect(answer(stderr, 'heap vmmap')).toMatch(/stack of thread 1 +\[stack\]$/m);
  });

  test('try-free tells what free then does', async () => {
    const pointers = ['freed', 'block+8', 'block'];
    const tried = pointers.map((each) => `heap try-free ${each}`);
    const { stderr } = await atStop(m, [...tried, 'heap try-free 0'], [program, 'x']);
    expect(answer(stderr, 'heap try-free 0')).toBe('free(NULL) does nothing');
    expect(answer(stderr, 'heap try-free block')).toMatch(/^free\(0x\w+\) would succeed: /);
    for (const pointer of pointers) {
      // Every call of it is a new program: a failing one ends it.
      const call = `call ((void (*)(void *))free)(${pointer})`;
      const done = await atStop(m, [call], [program, 'x']);
      const said = answer(stderr, `heap try-free ${pointer}`);
      const why = /would fail: (.*)$/m.exec(said)?.[1];
      if (why === undefined) expect(done.stderr).not.toMatch(/SIGABRT/);
      else if (m === 'glibc') expect(done.stderr).toContain(why);
      else expect(done.stderr).toMatch(/libmalloc: free\(\): .*(double free|is not a block)/);
      if (why !== undefined) expect(done.stderr).toContain('SIGABRT');
    }
  });
});

test("try-free says what glibc's own checks say of a damaged heap", async () => {
  for (const [mode, pointer, why] of [
    ['overflow', 'victim', /succeed|invalid next size/],
    ['none', 'cached', /free\(\): double free detected in tcache 2$/],
    ['none', 'binned', /double free or corruption \(!prev\)$/],
    ['none', 'victim+16', /free\(\): invalid pointer$/],
    ['none', 'fast+16', /./],
  ] as const) {
    const call = `call ((void (*)(void *))free)(${pointer})`;
    const { stderr } = await atStop('glibc', [`heap try-free ${pointer}`, call], [glibc, mode]);
    const said = answer(stderr, `heap try-free ${pointer}`);
    expect(said).toMatch(why);
    const reason = /would fail: (.*)$/m.exec(said)?.[1];
    if (reason) expect(stderr.split(reason).length).toBe(3); // and then by glibc itself
  }
});

describe('many answers', () => {
  const million = compileProgram('gdb-million.c');
  const forget =
    "python gdb.selected_inferior().write_memory(int(gdb.parse_and_eval('block')), bytes(2400))";
  const lines = ['heap save none', forget, 'heap leaks', 'heap leaks all'];
  const grouped = async (m: string, options: string[]) => {
    const script = questions(...lines, 'heap find (char)0', 'heap find -all (long)0');
    const stop = ['--break', 'stop_here', '-x', script];
    return (await batch(m, [...options, ...stop], [million, '300'])).stderr;
  };
  test.each(['buddy', 'paged', 'sharded', 'glibc'])(
    '%s: come in groups, the most bytes first; one by one on request',
    async (m) => {
      const stderr = await grouped(m, []);
      const rows = answer(stderr, 'heap leaks').split('\n').slice(1);
      const bytes = rows
        .map((line) => /^ +\d+ +(\d+) /.exec(line)?.[1])
        .filter(Boolean)
        .map(Number);
      expect(bytes.length).toBeGreaterThan(3);
      expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
      expect(answer(stderr, 'heap leaks')).toContain('one by one: `heap leaks all`');
      expect(answer(stderr, 'heap leaks all').split('\n').length).toBeGreaterThan(190);
    },
  );

  test('debug builds say who allocated them', async () => {
    const stderr = await grouped('paged', ['--debug']);
    expect(answer(stderr, 'heap leaks')).toMatch(/ nothing +(allocate|main)( < \w+)*$/m);
    expect(answer(stderr, 'heap leaks all')).toMatch(/ (allocate|main)( < \w+)*$/m);
  });
});
