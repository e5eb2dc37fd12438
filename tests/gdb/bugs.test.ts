// The eight bugs of docs/debugging.md are found on every malloc as it is told there.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, expect, test } from 'vitest';
import { bugs, type Found, findBug, grounds } from '../../scripts/docs/bugs.ts';
import { comparable } from '../../scripts/docs/transcript.ts';
import { root } from '../../scripts/lib/paths.ts';
import { long } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

beforeEach(() => void need('gdb'));

const told: Found = JSON.parse(readFileSync(join(root, 'docs', 'bugs.json'), 'utf8'));

/** Where the fault lies, as a debug build of each variant must tell it. */
const faults: Record<keyof typeof bugs, RegExp> = {
  overflow: /canary is damaged, behind it\n +allocated +line_make +overflow\.c:12$/,
  stale: /written to after it was freed[\s\S]*freed +std::vector::_M_realloc_insert/,
  twice: /double free of [\s\S]*in connection_close \(.*\) at tests\/bugs\/twice\.c:20$/m,
  cycle: /^ +38 +4256 +112 .*std::_Sp_counted_ptr_inplace.*connect_pair < main/m,
  grows: /^ +250 +32000 +allocated +128 .*answer_keep < serve < main/m,
  race: /double free of .*\n +allocated +main +race\.c:35\n +freed +consumer +race\.c:25$/m,
  base: /would fail: 0x\w+ is not a block: it lies 16 bytes into 0x\w+ \(live, 128 bytes\)/,
  stripped: /canary is damaged, behind it\n +allocated +stripped\+0x\w+$/,
};

test('each bug is told of, on every malloc, and debug builds name the fault', () => {
  expect(Object.keys(told)).toEqual(Object.keys(bugs));
  for (const [name, answers] of Object.entries(told)) {
    expect(Object.keys(answers), name).toEqual(grounds);
    for (const [ground, answer] of Object.entries(answers)) {
      expect(answer, `${name} on ${ground}`).not.toBe('');
      if (ground.endsWith(' --debug'))
        expect(answer, `${name} on ${ground}`).toMatch(faults[name] ?? /^$/);
    }
  }
});

const all = Object.keys(bugs).flatMap((name) => grounds.map((ground) => [name, ground] as const));
const quick = [
  ['overflow', 'list --debug'],
  ['stripped', 'glibc'],
] as const;

test.each(long ? all : quick)('%s on %s', async (name, ground) => {
  expect(comparable(await findBug(name, ground))).toBe(comparable(told[name]?.[ground] ?? ''));
});
