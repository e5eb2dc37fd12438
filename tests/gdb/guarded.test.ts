// Debug builds in GDB: the heap commands see what the program sees, and every detection stops.

import { beforeEach, describe, expect, test } from 'vitest';
import { compileProgram } from '../lib/compile.ts';
import { answer, batch, questions, row } from '../lib/gdb.ts';
import { gap } from '../lib/mallocs.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant } from '../lib/variants.ts';

const search = compileProgram('gdb-search.c');
beforeEach(() => void need('gdb'));

/** What the guard detects in each, and by which event it is waited for. */
const crimes: [crime: string, event: string, sentence: RegExp][] = [
  ['double-free', 'double-free', /^free\(\): double free of 0x\w+ \(100 bytes\)$/],
  ['realloc-freed', 'double-free', /^realloc\(\): use after free of 0x\w+ \(100 bytes\)$/],
  ['overflow', 'corruption', /^free\(\): overflow of 0x\w+ \(24 bytes\): 8 bytes were written /],
  ['foreign', 'corruption', /^free\(\): 0x\w+ is not a block of this heap$/],
  ['sized-free', 'corruption', /^free_sized\(\): 0x\w+ is a block of 100 bytes, not 1000$/],
  ['write-after-free-exit', 'corruption', /^exit\(\): write after free to 0x\w+ \(100 bytes\): /],
];

test('C++ is told with its names, lines and inlined calls', async () => {
  const program = compileProgram('freed-by-two.cc', { flags: ['-O2'] });
  const options = ['--debug', '--on', 'double-free'];
  const { stderr } = await batch('list', options, [program]);
  expect(stderr).toMatch(
    /^ {2}allocated +shop::Cart::fill\(unsigned long\) \(freed-by-two\.cc:10\), inlined\n +main\(int, char\*\*\) \(freed-by-two\.cc:23\)\n/m,
  );
  expect(stderr).toMatch(/^ {2}freed +shop::Cart::drop<int>\(int\) \(freed-by-two\.cc:14\)$/m);
});

/** Are the figures that are counted from all records at once those of a walk? */
const inBulk = `python
from libmalloc import command, guard
def told():
    command._forget()
    return [gdb.execute(text, to_string=True) for text in ('heap', 'heap free')]
bulk, counted = told(), guard.GuardedReader._counted
guard.GuardedReader._counted = None
gdb.write(f'alike: {told() == bulk and command.open_heap()[1]._counted is None}\\n')
guard.GuardedReader._counted = counted
end`;

/** Damages the canary behind a block for the time of one command. */
const overrun = `python
at = int(gdb.parse_and_eval('(long)global')) + 96
canary = bytes(gdb.selected_inferior().read_memory(at, 1))
gdb.selected_inferior().write_memory(at, b'!')
gdb.execute('heap check')
gdb.selected_inferior().write_memory(at, canary)
end`;

describe.each(everyVariant)('a debug build of %s', (variant) => {
  const guarded = (options: string[], words: string[]) =>
    batch(variant, ['--debug', ...options], words);

  test.each(crimes)('%s: --on %s stops at it, with the sentence and the stacks', async (...row) => {
    const [crime, event, sentence] = row;
    const other = event === 'corruption' ? 'double-free' : 'corruption';
    const program = compileProgram(`crimes/${crime}.c`);
    const { status, stderr } = await guarded(['--on', event], [program]);
    const told = /^detected by libmalloc: (.*)$/m.exec(stderr)?.[1] ?? '';
    expect(told).toMatch(sentence);
    expect(stderr).toContain(`libmalloc: ${told}`); // which the guard then says itself
    if (crime !== 'foreign') expect(stderr).toMatch(/^ {2}allocated +\w+ \([\w-]+\.c:\d+\)$/m);
    if (event === 'double-free') expect(stderr).toMatch(/^ {2}freed +\w+ \([\w-]+\.c:\d+\)$/m);
    expect(stderr).toMatch(/^#0 +die_detected \(/m);
    expect(stderr).not.toMatch(/Python|Traceback/);
    expect(status).toBe(134);
    const passed = await guarded(['--on', other], [program]);
    expect(passed.stderr).not.toContain('detected by libmalloc');
  });

  test("sees what the program sees: the guard's records hide no leak and are no references", async () => {
    const lack = gap(variant, 'chunks');
    if (lack) skip(lack);
    const inspections = ['heap check', 'heap chunks', 'heap free', 'heap map', 'heap stats'];
    const all = [...inspections, 'heap map global 64', 'heap find marked', 'heap chunk global'];
    const lines = ['heap', 'heap leaks all', 'heap refs global', 'heap refs ~hidden[0]', ...all];
    const tail = ['heap save one', 'heap diff one', inBulk, overrun, 'heap watch global'];
    const script = questions(...lines, ...tail);
    const { stdout, stderr } = await guarded(['--break', 'stop_here', '-x', script], [search]);
    const said = (command: string): string => answer(stderr, command);
    const at = (name: string): string =>
      new RegExp(`^${name} (0x\\w+)$`, 'm').exec(stdout)?.[1] ?? name;
    const leaks = said('heap leaks all').split('\n').slice(1, 3);
    const lost = leaks.map((line) => line.trim().split(' ')[0]);
    expect(lost.sort()).toEqual([at('lost'), at('dragged')].sort());
    expect(said('heap leaks all')).toContain('2 blocks, 192 bytes, lost');
    expect(said('heap refs global')).toMatch(/^1 pointer to the live block 0x\w+ \(96 bytes\)$/m);
    expect(said('heap refs ~hidden[0]')).toMatch(/^0 pointers to the live block /m);
    expect(said('heap find marked')).toMatch(new RegExp(` 8 bytes into +${at('inner')} +96`));
    expect(said('heap chunk global')).toMatch(/^ {2}allocated +make \(gdb-search\.c:\d+\)$/m);
    expect(said('heap check')).toMatch(/^ok: the canaries of /m);
    expect(row(said('heap'), 'live')).toEqual([6, 576]);
    expect(said('heap diff one')).toMatch(/^since one: 0 blocks allocated .* 0 blocks freed/);
    expect(said(inBulk)).toBe('alike: True');
    expect(said(overrun)).toMatch(
      /^broken: 0x\w+ \(96 bytes\): its canary is damaged, behind it$/m,
    );
    expect(said('heap watch global')).toContain('(96 bytes)');
    expect(stderr).not.toMatch(/Python|Traceback/);
  });
});
