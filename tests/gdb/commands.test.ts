// What the heap commands find: places of values and pointers, leaks, changes, blocks that are watched.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { hunt, hunted } from '../../scripts/docs/hunt.ts';
import { comparable } from '../../scripts/docs/transcript.ts';
import { root } from '../../scripts/lib/paths.ts';
import { defaultVariant } from '../../scripts/malloc/mallocs.ts';
import { type CliResult, libmalloc, play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { answer, batch, commands, questions, row } from '../lib/gdb.ts';
import { gap } from '../lib/mallocs.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

const program = compileProgram('gdb-search.c');
beforeEach(() => void need('gdb'));

/** What the fixture says: `name ADDR` on each line. */
function places(stdout: string): Record<string, string> {
  return Object.fromEntries(
    [...stdout.matchAll(/^(\w+) (0x\w+)$/gm)].map(([, name = '', at = '']) => [name, at]),
  );
}

const lowestBlock = "__import__('libmalloc.search').search.open_blocks().starts[0]";
const searching = everyVariant.filter((variant) => gap(variant, 'chunks') === undefined);
describe.each(searching)('on %s', (variant) => {
  // Of list: the last word of a block, and the first one of the header behind it.
  const overEnd = 'heap find *(unsigned long (*)[2])((char *)global + 88)';
  const asked = [
    'up',
    // Below the stack pointer nothing counts.
    'set var *(long *)($sp - 4096) = ~hidden[0]',
    'heap leaks',
    'heap leaks all',
    'heap find "a needle in a block"',
    'heap find (int)0x1badcafe',
    'heap find marked',
    'heap find "nowhere at all"',
    overEnd,
    'heap refs global',
    'heap refs (char *)inner+3',
    'heap refs held',
    'heap refs ~hidden[0]',
    // The lowest block counts as well as any other.
    `python gdb.set_convenience_variable('lowest', ${lowestBlock})`,
    'print/x $lowest',
    'heap refs $lowest',
    'set $kept = *(long *)$lowest',
    'set var *(long *)$lowest = ~hidden[0]',
    'heap refs ~hidden[0] + 1',
    'heap leaks',
    'set var *(long *)$lowest = $kept',
    // In a register alone: all of them are looked at in the innermost frame, and r12 is the same there.
    'set $kept = $r12',
    'set $r12 = ~hidden[0]',
    'heap refs ~hidden[0]',
    'heap leaks',
    'set $r12 = $kept',
    'heap map',
    'heap map global 256',
    'heap stats',
    'heap free 90',
    'heap save before',
    'heap diff before',
    'heap diff nonsense',
    "print 'VARIANT.c'::heap".replace('VARIANT', variant),
  ];
  const later = [
    'heap diff before',
    'heap diff before all',
    // Some virtual machines have debug registers that do nothing.
    'set can-use-hw-watchpoints 0',
    'heap watch global',
    'continue',
    'continue',
    'continue',
  ];
  const core = scratch(`${variant}-search.core`);
  let live: CliResult;
  let at: Record<string, string>;
  beforeAll(async () => {
    const lines = [...asked, `generate-core-file ${core}`, 'continue', ...later];
    const options = ['--break', 'stop_here', '-x', questions(...lines)];
    live = await batch(variant, options, [program]);
    at = places(live.stdout);
  });
  const said = (command: string, n = 0): string => answer(live.stderr, command, n);

  test('leaks are the blocks that nothing leads to, and those that only lost ones hold', () => {
    const rows = said('heap leaks all').split('\n').slice(1, -1);
    expect(rows.map((line) => line.trim().split(' ')[0]).sort()).toEqual(
      [at.lost, at.dragged].sort(),
    );
    const dragged = rows.find((line) => line.includes(`${at.dragged} `) && /held|0x/.test(line));
    expect(dragged).toMatch(new RegExp(`${at.dragged} +\\d+ +${at.lost}`));
    expect(said('heap leaks')).toMatch(/^2 blocks, \d+ bytes, lost: /m);
  });

  test('what a register leads to is no leak, and has a reference', () => {
    expect(said('heap refs ~hidden[0]', 1)).toMatch(/^ +register r12 +thread 1 +0x/m);
    expect(said('heap leaks', 2)).toMatch(/^nothing is lost: /);
  });

  test('the lowest block is found, and what it points to', () => {
    const lowest = /0x\w+$/.exec(said('print/x $lowest'))?.[0];
    expect(said('heap refs $lowest')).toMatch(
      new RegExp(`^\\d+ pointers? to the live block ${lowest} `, 'm'),
    );
    expect(said('heap refs ~hidden[0] + 1')).toMatch(
      new RegExp(` 0 bytes into the live block ${lowest} `),
    );
  });

  test('find tells the block that holds bytes, a number, a variable', () => {
    const found = said('heap find "a needle in a block"');
    expect(found).toMatch(new RegExp(` 24 bytes into +${at.global} `));
    expect(found).toMatch(/^1 place with these 19 bytes/m);
    expect(said('heap find (int)0x1badcafe')).toMatch(new RegExp(` 8 bytes into +${at.inner} `));
    expect(said('heap find marked')).toMatch(new RegExp(` 8 bytes into +${at.inner} `));
    expect(said('heap find "nowhere at all"')).toMatch(/^0 places/);
    if (variant === 'list') expect(said(overEnd)).toMatch(/^0 places with these 16 bytes/);
  });

  test('refs tells globals, blocks and stacks that point to a block, also into it', () => {
    expect(said('heap refs global')).toMatch(/ global +0x/);
    expect(said('heap refs global')).toMatch(/^\d+ pointers? to the live block /m);
    const inner = said('heap refs (char *)inner+3');
    expect(inner).toMatch(new RegExp(`16 bytes into the live block ${at.global} `));
    expect(said('heap refs held')).toContain('on the stack of thread 1');
    expect(said('heap refs ~hidden[0]')).toMatch(/^0 pointers to the live block /m);
  });

  test('map draws every page, and around an address every 16 bytes', () => {
    expect(said('heap map')).toMatch(
      /^region 0x\w+ \.\. 0x\w+ {2}\d+ bytes\n {2}0x\w{16} {2}[#+.-]/,
    );
    const cells = /^ {2}0x\w{16} {2}(.*)$/m.exec(said('heap map global 256'))?.[1] ?? '';
    expect(cells).toMatch(/^@####/); // 80 bytes at least
    expect(cells.length).toBeLessThanOrEqual(16);
    expect(said('heap map')).not.toContain('\x1b');
  });

  test('stats count by size what `heap` counts in all', () => {
    const rows = said('heap stats').split('\n').slice(1);
    const live = rows
      .filter((line) => /^ +\d/.test(line))
      .map((l) => Number(l.trim().split(/ +/)[1]));
    const all = said('heap save before').match(/(\d+) live blocks/)?.[1];
    expect(live.reduce((sum, n) => sum + n, 0)).toBe(Number(all));
    const one = said('heap free 90');
    if (variant === 'list') expect(one).toMatch(/^list has no class with blocks of 90 bytes/);
    else expect(one).toMatch(/^\d+ free blocks? of (96|128) bytes$/m);
  });

  test('diff tells what was allocated and freed in between', () => {
    expect(said('heap diff before')).toMatch(/^since before: 0 blocks allocated .* 0 blocks freed/);
    const changed = said('heap diff before', 1);
    expect(changed).toMatch(new RegExp(`allocated +${at.fresh} +\\d+`));
    expect(changed).toMatch(new RegExp(`freed +${at.gone} +\\d+`));
    expect(changed).toMatch(/^since before: 1 block allocated .* 1 block freed/m);
    expect(said('heap diff nonsense')).toMatch(/^nothing was saved as nonsense \(before\)/);
  });

  test('watch stops at the reallocation and the free of one block', () => {
    expect(said('heap watch global')).toContain(`follows the live block ${at.global} `);
    const writes = variant === 'list' ? [1, 2] : [];
    for (const n of writes)
      expect(said('continue', n)).toMatch(/header 0x\w+ of the block .* by main$/m);
    expect(said('continue', 1 + writes.length)).toContain(
      `heap watch: free of the block ${at.global} `,
    );
  });

  test('the heap prints as its picture', () => {
    const printed = said(`print '${variant}.c'::heap`);
    const drawn = variant === 'list' ? /chunks = live \d+ → / : /\|[#-]+/;
    expect(printed).toMatch(drawn);
    expect(printed).not.toMatch(/Python|Traceback|<error/);
    expect(live.stderr).not.toMatch(/Python Exception|Traceback/);
  });

  test('a core answers alike', async () => {
    const words = ['heap leaks all', 'heap find marked', 'heap refs (char *)inner+3', 'heap stats'];
    const script = questions(...words, 'heap watch global');
    const { stdout } = await libmalloc(['gdb', '--core', core, '--batch', '-x', script]);
    for (const command of words) expect(answer(stdout, command), command).toBe(said(command));
    expect(answer(stdout, 'heap watch global')).toMatch(/^a core does not go on/);
  });

  test('the hunt of docs/debugging.md goes as it is told there', async () => {
    if (!(hunted as readonly string[]).includes(variant)) skip(`it is not told for ${variant}`);
    const told = JSON.parse(readFileSync(join(root, 'docs', 'debugging.json'), 'utf8'));
    expect(comparable(await hunt(variant))).toBe(comparable(told[variant]));
  });
});

test('dumb says what it cannot know', async () => {
  const printed = "print 'dumb.c'::heap";
  const lines = ['heap leaks', 'heap watch global', 'heap map', 'heap refs global', printed];
  const options = ['--break', 'stop_here', '-x', questions(...lines, 'heap save x', 'heap diff x')];
  const { stderr } = await batch('dumb', options, [program]);
  expect(answer(stderr, 'heap leaks')).toMatch(/^dumb remembers no blocks, so nothing can be said/);
  expect(answer(stderr, 'heap watch global')).toMatch(/^dumb remembers no blocks/);
  expect(answer(stderr, 'heap refs global')).toMatch(/^\d+ pointers? to the live block /m);
  expect(answer(stderr, 'heap map')).toContain('#');
  expect(answer(stderr, 'heap diff x')).toMatch(/^since x: 0 blocks/m);
  // Places are addresses, not strings, and the lock is a word.
  expect(answer(stderr, printed)).toMatch(
    /^\$1 = \{\n {2}lock = free,\n {2}block = 65536,\n {2}overrun = false,\n {2}start = 0x\w+,\n/,
  );
});

test('every command has help, and says what is wrong with its arguments', async () => {
  const wrong: [string, RegExp][] = [
    ['heap find', /^heap find needs a value/],
    ['heap find nonsense', /^nonsense is no value to search for: No symbol "nonsense"/],
    ['heap find ""', /^"" is empty/],
    ['heap refs', /^heap refs needs an address/],
    ['heap leaks some', /^usage: heap leaks \[all\]$/],
    ['heap save', /^heap save needs a name/],
    ['heap diff', /^usage: heap diff NAME \[all\]$/],
    ['heap map 16', /^0x10 lies outside of the heap of /],
    ['heap map 16 -1', /^BYTES is a number above 0$/],
    ['heap map 21', /^0x15 lies outside of the heap of /],
    ['heap vis global 0', /^COUNT is a number above 0$/],
    ['heap telescope global -1', /^COUNT is a number above 0$/],
    ['heap free tcache', / has no list called tcache: `heap free` shows what there is$/],
    ['heap watch', /^heap watch needs an address/],
    ['heap watch 16', /^0x10 lies in no live block/],
    ['heap free 99999999', / has no class with blocks of 99999999 bytes/],
    ['heap free nonsense', /^nonsense is no address or number/],
  ];
  const names = ['chunks', 'chunk', 'free', 'check', 'map', 'stats', 'find', 'refs', 'leaks'];
  names.push('bins', 'save', 'diff', 'watch', 'help');
  const helps = names.map((name) => `help heap ${name}`);
  const lines = [...wrong.map(([command]) => command), ...helps, 'heap help', 'complete heap sta'];
  const options = ['--break', 'stop_here', '-x', questions(...lines)];
  const { stderr } = await batch(defaultVariant(), options, [program]);
  for (const [command, sentence] of wrong)
    expect(answer(stderr, command), command).toMatch(sentence);
  for (const help of helps) expect(answer(stderr, help), help).toMatch(/^(heap .*\n)?[A-Z].*\.?/); // its aliases stand first
  for (const name of names) expect(answer(stderr, 'heap help')).toContain(`heap ${name}`);
  expect(answer(stderr, 'complete heap sta')).toBe('heap stats');
});

describe('stops', () => {
  const main = defaultVariant();
  const misuse = compileProgram('crimes/bug-hunt.c', { flags: ['-Wno-unused-result'] });

  test('--on stops where the library detects it, and says what', async () => {
    const lines = ['frame function main', 'heap chunk tea'];
    const options = ['--on', 'double-free', '-x', questions(...lines)];
    const { status, stderr } = await batch(main, options, [misuse]);
    const told = /^detected by libmalloc: (free\(\): double free of 0x\w+ \(.*\))$/m.exec(
      stderr,
    )?.[1];
    expect(stderr).toContain(`libmalloc: ${told}`); // what die() says afterwards, word for word
    expect(answer(stderr, 'frame function main')).toMatch(/free\(tea\)/);
    expect(status).toBe(134);
  });

  test('--on corruption is everything else that it detects, --on oom a refusal', async () => {
    const wild = compileProgram('free-wild.c');
    const seen = await batch(main, ['--on', 'corruption', '--on', 'double-free'], [wild]);
    expect(seen.stderr).toMatch(/^detected by libmalloc: .*is not a block/m);
    const oom = ['--on', 'oom', '-x', questions('frame function main')];
    const { stderr, status } = await batch(main, oom, [program, 'oom']);
    expect(stderr).toMatch(
      /^detected by libmalloc: no memory for 1152921504606846976 bytes( \(malloc\))?: ENOMEM$/m,
    );
    expect(answer(stderr, 'frame function main')).toContain('main');
    expect(status).toBe(3);
  });

  test('--at-call stops at that call of malloc, a condition at those that fit', async () => {
    const lines = questions('up', 'print i');
    const twice = questions('up', 'print i', 'continue', 'up', 'print i');
    const stops = ['--at-call', '7', '--break', 'malloc:n>5000'];
    const { stderr } = await batch(main, [...stops, '-x', twice], [program, 'loop']);
    expect(answer(stderr, 'print i')).toMatch(/= 6$/);
    expect(answer(stderr, 'print i', 1)).toMatch(/= 51$/);
    const glibc = await batch(
      'glibc',
      ['--break', 'malloc:n==5100', '-x', lines],
      [program, 'loop'],
    );
    expect(answer(glibc.stderr, 'print i')).toMatch(/= 51$/);
  });
});

describe('sessions', () => {
  test('commands come from standard input with -x -, and a session is kept to start again', async () => {
    const folder = scratch('kept session');
    const words = ['gdb', '-q', '--batch', '-x', '-', '--break', 'stop_here', '--session', folder];
    const input = 'heap check\n';
    const options = { stdin: 'pipe' as const, input };
    const first = await libmalloc([...words, '--', program], options);
    expect(first.stderr).toMatch(/^ok: /m);
    expect(readFileSync(join(folder, 'HOWTO'), 'utf8')).toContain(join(folder, 'start'));
    const again = await play([join(folder, 'start')]);
    expect(again.stdout).toMatch(/^ok: /m);
    expect(again.status).toBe(3);
  });

  test('--pid looks at a running process and lets it go', async () => {
    const env = { LD_PRELOAD: variantFile('list') };
    const child = execa(program, ['wait'], { env, stdin: 'pipe', reject: false });
    await new Promise((done) => child.stdout.once('data', done));
    const script = questions('heap', 'heap check', 'heap leaks');
    const seen = await libmalloc(['gdb', '--pid', `${child.pid}`, '--batch', '-x', script]);
    child.stdin.end('go on\n');
    const { exitCode } = await child;
    expect(row(answer(seen.stdout, 'heap'), 'live')[0]).toBeGreaterThan(3);
    expect(answer(seen.stdout, 'heap check')).toMatch(/^ok: /m);
    expect([seen.status, exitCode]).toEqual([0, 3]);
  });

  test('--follow child stays with the child of a fork', async () => {
    const script = commands('heap check', 'print (int)getpid() == parent');
    const options = ['--follow', 'child', '--break', 'stop_here', '-x', script];
    const { stderr } = await batch('list', options, [program, 'fork']);
    expect(stderr).toMatch(/^ok: /m);
    expect(stderr).toMatch(/^\$1 = 0$/m);
  });
});
