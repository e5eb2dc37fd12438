// Where a session stops: where there is no memory, where a block's header is written to, in both
// processes of a fork.

import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { checkWatchpoints } from '../../scripts/doctor/machine.ts';
import { root } from '../../scripts/lib/paths.ts';
import { play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { answer, batch, builds, questions } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';
import { everyVariant } from '../lib/variants.ts';

const search = compileProgram('gdb-search.c');
beforeEach(() => void need('gdb'));

describe('--on oom', () => {
  const program = compileProgram('gdb-refusal.c', { flags: ['-rdynamic'] });
  const matrix = everyVariant.flatMap((variant) => builds.map((build) => [variant, build]));

  test.each(matrix)(
    '%s, %s: stops behind each call that finds no memory',
    async (variant, build) => {
      const lines = ['print refused', 'print elsewhere != 0', ...Array(5).fill('continue')];
      const options = ['--on', 'oom', '-x', questions(...lines)];
      const seen = await batch(
        variant,
        [...(build === 'debug' ? ['--debug'] : []), ...options],
        [program],
      );
      const told = [
        ...seen.stderr.matchAll(
          /^detected by libmalloc: no memory for (.*): ENOMEM\n\n.*\n\d+\t +(.*)$/gm,
        ),
      ].map(([, what = '', line = '']) => ({ what, line }));
      const calls = told.map(({ line }) => /(\w+)\(/.exec(line)?.[1]);
      const elsewhere = /elsewhere = /.test(told[0]?.line ?? '');
      // Only sharded finds a huge block elsewhere; the program proves that mmap had refused.
      if (variant === 'sharded') {
        expect(elsewhere).toBe(false);
        expect(answer(seen.stderr, 'print refused')).toMatch(/ = 1$/);
        expect(answer(seen.stderr, 'print elsewhere != 0')).toMatch(/ = 1$/);
      }
      const expected = ['malloc', 'posix_memalign', 'calloc', 'realloc'];
      expect(calls).toEqual(elsewhere ? ['malloc', ...expected] : expected);
      // What the program called, by that name or none; never a function of ours behind it.
      for (const { what, line } of told) {
        const [, name] = /^(?:\d+ bytes|a request)(?: \((\w+)\))?$/.exec(what) ?? [what, what];
        if (name) expect(line).toContain(`${name}(`);
      }
      expect(seen.status).toBe(3);
    },
  );
});

describe('heap watch', () => {
  test('looks after every instruction where hardware watchpoints do not fire, and says so', async () => {
    const lines = ['heap watch global', 'continue', 'continue', 'continue', 'info breakpoints'];
    const script = questions(...lines);
    const { stderr } = await batch('list', ['--break', 'stop_here', '-x', script], [search]);
    const works = (await checkWatchpoints()).status === 'ok';
    const said = answer(stderr, 'heap watch global');
    expect(/note: .* the program becomes slow$/m.test(said)).toBe(!works);
    expect(answer(stderr, 'continue', 1)).toMatch(/header 0x\w+ of the block .* by main$/m);
    const kind = works ? 'hw watchpoint' : 'watchpoint';
    expect(answer(stderr, 'info breakpoints')).toMatch(new RegExp(`^\\d+ +${kind} `, 'm'));
  });

  test.each(['list', 'buddy', 'paged', 'sharded'])(
    '%s: stops at the reallocation of the block, and of no other',
    async (variant) => {
      const lines = ['set can-use-hw-watchpoints 0', 'heap watch global', 'continue', 'up'];
      const options = ['--break', 'stop_here', '-x', questions(...lines)];
      const { stderr } = await batch(variant, options, [search, 'grow']);
      const followed = /follows the live block (0x\w+) /.exec(answer(stderr, lines[1] ?? ''))?.[1];
      expect(answer(stderr, 'continue')).toContain(`heap watch: realloc of the block ${followed} `);
      expect(answer(stderr, 'up')).toContain('global = realloc(global, 100000)');
    },
  );

  test('what it asks of the machine can tell the two apart', async () => {
    const asked = join(root, 'native', 'gdb', 'watchpoints.gdb');
    const gdb = [need('gdb'), '-nx', '-q', '-batch'];
    const software = ['-ex', 'set can-use-hw-watchpoints 0', '-x', asked, '/bin/true'];
    // The write that it waits for does happen: a software watchpoint sees it on every machine.
    expect((await play([...gdb, ...software])).stdout).toContain('Old value');
  });
});

describe('a fork', () => {
  test.each(['list', 'buddy', 'sharded'])(
    '%s: --follow both keeps both, each with its heap',
    async (variant) => {
      const lines = ['info inferiors', 'heap check', 'heap', 'inferior 1', 'heap check', 'heap'];
      const options = ['--follow', 'both', '--break', 'stop_here', '-x', questions(...lines)];
      const { stderr } = await batch(variant, options, [search, 'fork']);
      expect(answer(stderr, 'info inferiors')).toMatch(/^\* 2 .*\n?/m);
      expect(answer(stderr, 'info inferiors')).toMatch(/^ {2}1 .*process \d+/m);
      for (const n of [0, 1]) {
        expect(answer(stderr, 'heap check', n)).toMatch(/^ok: /m);
        expect(answer(stderr, 'heap', n)).toContain(`(${variant})`);
      }
    },
  );

  const frozen = compileProgram('gdb-frozen.c', { flags: ['-rdynamic'] });
  test.each(['list', 'buddy', 'paged', 'sharded'])(
    '%s: two forks inside of malloc leave three heaps, and each block is known to lie in its own',
    async (variant) => {
      const blocks = [0, 1, 2].map((n) => `heap chunk block[${n}]`);
      const lines = ['heap', 'heap check', ...blocks, 'heap chunk small[2]'];
      const options = ['--follow', 'child', '--break', 'stop_here', '-x', questions(...lines)];
      const { stderr } = await batch(variant, options, [frozen]);
      const said = (command: string): string => answer(stderr, command);
      // sharded shows the memory of all three as one; some of it is frozen.
      const one = variant === 'sharded';
      if (one) expect(said('heap')).toMatch(/note: this heap was frozen .* \(2 times\): /);
      else expect(said('heap').match(/note: another arena: /g)).toHaveLength(2);
      expect(said('heap check')).toMatch(/^ok: /m);
      const other = one ? /^ +region +frozen by a fork /m : / lies in another arena: /;
      for (const command of blocks.slice(0, 2)) expect(said(command), command).toMatch(other);
      expect(said('heap chunk block[2]')).toMatch(/ is the start of a live block$/m);
      expect(said('heap chunk block[2]')).not.toMatch(other);
      // sharded hands out from the pages of a frozen region whose heap was whole.
      expect(said('heap chunk small[2]')).toMatch(/ of a live block$/m);
      if (one) expect(said('heap chunk small[2]')).toMatch(other);
    },
  );
});
