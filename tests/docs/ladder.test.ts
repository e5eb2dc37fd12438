// docs/ladder.md answers the questions of a newcomer: a list of questions with their places.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { scratch } from '../lib/folder.ts';
import { variantFile } from '../lib/variants.ts';

const ladder = readFileSync(join(root, 'docs', 'ladder.md'), 'utf8').replaceAll(/\s+/g, ' ');

/** The text from this heading to the next one. */
const section = (heading: string): string =>
  new RegExp(`#+ ${heading.replaceAll(/[.*+?()]/g, '\\$&')} .*?(?= ##|$)`).exec(ladder)?.[0] ?? '';

const questions: [question: string, heading: string, answer: RegExp][] = [
  ['Why does ls survive blocks of 1,024 bytes?', 'Rung 1: dumb', /so the listing is right/],
  [
    'And why does it crash, or hang, on /usr/bin?',
    'Rung 1: dumb',
    /`realloc` copies one block, 1,024 bytes/,
  ],
  ['How do I stop where it overruns?', 'Looking at it', /LD_PRELOAD=\S*libmalloc-dumb\.so/],
  [
    'How does free know its block?',
    'Rung 2: list',
    /`free\(0x10b0\)` looks 32 bytes before the pointer/,
  ],
  ['What would fool it?', 'Rung 2: list', /A forgery that passes needs all of it/],
  ['Why do records lie outside?', 'Rung 2: list', /keep their records elsewhere for this reason/],
  ['Can neighbours be computed?', 'A side path: buddy', /one exclusive or/],
  ['How much is rounding in paged?', 'Rung 3: paged', /fifth .* from 65 bytes on/],
  ['What does the lock cost?', 'Rung 3: paged', /four tenths of its instructions/],
  ['What happens before main?', 'Five questions that every malloc answers', /before `main`/],
  ['What does calloc clear?', 'Five questions that every malloc answers', /`calloc`/],
  ['How is a block aligned?', 'Five questions that every malloc answers', /alignment above 16/],
  [
    'What if somebody moves the break?',
    'Five questions that every malloc answers',
    /moves the break/,
  ],
  [
    'Who gives memory back, and when?',
    'Five questions that every malloc answers',
    /which call returns memory/,
  ],
  ['What does a new variant touch?', 'A variant of your own', /No other file needs a change/],
  [
    'What does the way from a pointer to its record cost?',
    'From a pointer to its record',
    /\| sharded \| .* 8 bytes for every granule \|/,
  ],
  [
    'What is a granule?',
    'From a pointer to its record',
    /A \*granule\* is 64 KiB at a multiple of 64 KiB/,
  ],
  [
    'What is gained by records outside, and what by headers?',
    'From a pointer to its record',
    /Why do the records lie outside at all\?/,
  ],
  ['What are mark, inverse and stack, with an example?', 'Rung 4: sharded', /\*In numbers\.\*/],
  [
    'What happens to a block that another thread frees?',
    'A block that another thread frees',
    /1\. B finds the record.* 9\. If A sleeps/,
  ],
  ['Why is fork hard?', 'Threads, and the worst of them: fork', /a lock that another thread held/],
];

/** The value of a constant in an enum of a C file: `GRANULE_BITS = 16,`. */
function constant(file: string, name: string): number {
  const text = readFileSync(join(root, 'native', file), 'utf8');
  const [, value = '', shift = '0'] =
    new RegExp(`\\b${name} = \\(?(?:\\w+\\))?(0x[0-9a-f]+|\\d+)(?: << (\\d+))?`).exec(text) ?? [];
  return Number(value) * 2 ** Number(shift);
}

test('the example of sharded in numbers is what the code computes', () => {
  const text = section('Rung 4: sharded');
  const wide = (n: bigint) => BigInt.asUintN(64, n);
  const size = 48n;
  const inverse = (2n ** 64n - 1n) / size + 1n;
  expect(text).toContain(`0x${inverse.toString(16)}`);
  const limit = wide(84n * wide(inverse * size)) + 1n;
  expect(limit).toBe(2689n);
  for (const [offset, begins] of [
    [144n, true],
    [150n, false],
    [4080n, false],
  ] as const) {
    const product = wide(offset * inverse);
    expect(product < limit).toBe(begins);
    const shown = product < 10_000n ? Number(product).toLocaleString('en-US') : `${product}`;
    expect(text).toContain(`| ${Number(offset).toLocaleString('en-US')} | ${shown} |`);
    expect(text).toContain(`0x${(0x7f0000010000n + offset).toString(16)}`);
  }
  expect(text).toContain(`0x${constant('sharded/page.h', 'MARK').toString(16)}`);
});

test('the figures of a remote free are those of the code', () => {
  const text = section('A block that another thread frees');
  const owner = (name: string) => constant('sharded/owner.h', name);
  expect(text).toContain(`64 of them`);
  expect(owner('BATCHES')).toBe(64);
  expect(text).toContain(`has ${owner('BATCH')} places`);
  expect(text).toContain(`more than ${owner('BATCHED') / 1024} KiB back in all`);
  expect(text).toContain(`up to ${owner('DRAINS')} pages`);
  expect(text).toContain(`runs of up to ${owner('DRAINED')}`);
  expect(text).toContain(`more than ${owner('WAITING')} pages`);
  expect(owner('CONFIRMATIONS')).toBe(5);
  expect(constant('sharded/page.h', 'GRANULE_BITS')).toBe(16);
  expect(constant('paged.c', 'GRANULE')).toBe(64);
  expect(readFileSync(join(root, 'native/sharded/page.h'), 'utf8')).toContain('TAG = 1ul << 20');
});

test.each(questions)('%s', (_question, heading, answer) => {
  expect(section(heading), heading).toMatch(answer);
});

describe('the article’s library', () => {
  const ls = (folder: string, env: NodeJS.ProcessEnv) =>
    execa('ls', ['-l', folder], { env: { LC_ALL: 'C', ...env }, reject: false, timeout: 5000 });
  const article = {
    LD_PRELOAD: variantFile('dumb'),
    LIBMALLOC_BLOCK: '1024',
    LIBMALLOC_OVERRUN: '1',
  };

  /** A folder with so many files. */
  function folder(files: number): string {
    const made = scratch(String(files));
    mkdirSync(made);
    for (let i = 0; i < files; i++) writeFileSync(join(made, `f${i}`), '');
    return made;
  }

  test('ls -l is right in a folder of 20 files, and crashes or hangs in one of 101', async () => {
    const [few, more] = [folder(20), folder(101)];
    // The memory behind the array, and so the outcome, depends on the locale.
    const [right, ours] = [await ls(few, {}), await ls(few, article)];
    expect([ours.exitCode, ours.stdout]).toEqual([0, right.stdout]);
    expect((await ls(more, article)).signal).toMatch(/^SIG(SEGV|BUS|ABRT|TERM)$/);
  });
});
