// --pid on a process with another root and other process numbers than ours: a container's, say.

import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { beforeEach, expect, test } from 'vitest';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { answer, questions, row } from '../lib/gdb.ts';
import { need, skip } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const program = compileProgram('gdb-search.c');
const apart = ['--pid', '--fork', '--mount', '--kill-child'];
beforeEach(async () => {
  need('gdb');
  const { exitCode } = await execa(need('unshare'), [...apart, 'true'], { reject: false });
  if (exitCode !== 0) skip('this user may not make namespaces');
});

/** A folder with what the program and a malloc need to run in it. */
async function rootFolder(library: string): Promise<string> {
  const folder = scratch('root');
  const { stdout } = await execa('ldd', [program]);
  const libraries = [...stdout.matchAll(/(\/\S+) \(0x/g)].map(([, file = '']) => file);
  for (const file of libraries) {
    mkdirSync(join(folder, dirname(file)), { recursive: true });
    copyFileSync(file, join(folder, file));
  }
  copyFileSync(program, join(folder, 'program'));
  copyFileSync(library, join(folder, 'libmalloc-sharded.so'));
  return folder;
}

test('the heap of a process in a container is read, and its thread found under its own number', async () => {
  const root = await rootFolder(variantFile('sharded'));
  const words = [...apart, `--root=${root}`, '/program', 'wait'];
  const env = { LD_PRELOAD: '/libmalloc-sharded.so' }; // which unshare itself does not find, and says so
  const child = execa(need('unshare'), words, { env, stdin: 'pipe', reject: false });
  await new Promise((done) => child.stdout.once('data', done));
  const inside = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim();
  const script = questions('heap', 'heap check', 'heap leaks');
  const seen = await libmalloc(['gdb', '--pid', inside, '--batch', '-x', script]);
  child.stdin.end('go on\n');
  const { exitCode } = await child;
  expect(answer(seen.stdout, 'heap')).toMatch(/^libmalloc \S+ \(sharded\) {2}\/proc\/\d+\/root\//);
  expect(answer(seen.stdout, 'heap')).toMatch(/ the main thread$/m);
  expect(row(answer(seen.stdout, 'heap'), 'live')[0]).toBeGreaterThan(3);
  expect(answer(seen.stdout, 'heap check')).toMatch(/^ok: /m);
  expect([seen.status, exitCode]).toEqual([0, 3]);
});
