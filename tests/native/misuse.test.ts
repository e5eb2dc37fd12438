/** The messages for pointers that are not live blocks. */
import assert from 'node:assert/strict';
import { execa } from 'execa';
import { describe, test } from 'vitest';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { compileProgram } from '../lib/compile.ts';
import { gap } from '../lib/mallocs.ts';
import { skip } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const calls = [
  'free',
  'realloc',
  'reallocarray',
  'malloc_usable_size',
  'free_sized',
  'free_aligned_sized',
];

/** Kinds of wrong pointers (tests/programs/misuse.c). */
const wild = [
  'low',
  'unmapped',
  'beyond user space',
  'on the stack',
  'static',
  "in somebody's mapping",
];
const near = [
  'interior',
  'in the middle',
  'misaligned',
  '8 bytes in',
  'before the block',
  'behind the highest block',
];
/** And `freed`, which is called by its name. */
const stale = ['freed with its neighbours', 'shrunk away'];

/** Small, middle, and (for paged) with a mapping of its own. */
const all = [64, 3000, 300_000];
/** Calls that look a pointer up as free or realloc do: tested with one size, or with all by `make test-long`. */
const alike = ['reallocarray', 'free_sized', 'free_aligned_sized'];
const sizesFor = (call: string): number[] =>
  alike.includes(call) && process.env.LONG !== '1' ? [64] : all;

/** reallocarray has to go through realloc (native/abi.h), which is what the line names. */
const named = (call: string): string => (call === 'reallocarray' ? 'realloc' : call);

async function preloaded(variant: string, program: string, args: string[]) {
  return execa(program, args, {
    env: { LD_PRELOAD: variantFile(variant) },
    reject: false,
    timeout: 20_000,
  });
}

async function diesOf(variant: string, call: string, kind: string, size: number): Promise<string> {
  const program = compileProgram('misuse.c');
  const { stdout, stderr, signal } = await preloaded(variant, program, [call, kind, `${size}`]);
  const [pointer, survived] = stdout.split('\n');
  const what = `${call} of ${pointer}, ${kind}, blocks of ${size} bytes`;
  assert.equal(survived, undefined, `${what}: nobody minded`);
  assert.equal(signal, 'SIGABRT', `${what}: ${stderr}`);
  assert.match(
    stderr,
    new RegExp(`^libmalloc: ${named(call)}\\(\\): .*\\b${pointer}\\b[^\\n]*$`),
    what,
  );
  return stderr;
}

describe.each(variants())('%s', (variant) => {
  const unchecked = gap(variant, 'checks');

  for (const call of calls) {
    const sizes = sizesFor(call);
    if (unchecked) {
      test(`${call}: a wrong pointer ends in one line with call and pointer`, () =>
        skip(unchecked));
      continue;
    }
    for (const kind of [...wild, ...near])
      test(`${call}: a pointer ${kind} ends in one line with call and pointer`, async () => {
        for (const size of sizes) await diesOf(variant, call, kind, size);
      });

    for (const kind of stale)
      test(`${call}: a block ${kind} ends in one line with call and pointer`, async () => {
        for (const size of sizes) await diesOf(variant, call, kind, size);
      });

    test(`${call}: a freed block is called a ${call.startsWith('free') ? 'double free' : 'use after free'}`, async () => {
      const said = call.startsWith('free') ? /double free/ : /use after free/;
      for (const size of sizes) assert.match(await diesOf(variant, call, 'freed', size), said);
    });
  }
});

test.each([
  ['leaves alone the lock of another, which is in malloc', []],
  ['replaces the heap, and another, which is in malloc, gets its block', ['early']],
])('paged: a thread that aborts %s', async (_, args) => {
  const program = compileProgram('abort-held.c', { flags: ['-rdynamic'] });
  const { exitCode, stderr } = await execa(program, args, {
    env: { LD_PRELOAD: variantFile('paged') },
    reject: false,
    timeout: 90_000,
  });
  assert.equal(exitCode, 0, stderr);
});
