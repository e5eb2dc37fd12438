// Every verb, and the calls from Node, on the oldest Node that package.json allows and on the newest of
// the lines that are maintained.

import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { oldestNode } from '../../scripts/lib/platform.ts';
import { verbs } from '../../scripts/verbs.ts';
import { need, skip } from '../lib/need.ts';

const lines = [`${oldestNode().join('.')}.0`, '22', '24'];

/** The program `node` of a version, from the registry's packages of it, fetched once. */
async function nodeOf(version: string): Promise<string> {
  const folder = join(root, 'build', 'nodes', version);
  const node = join(folder, 'package', 'bin', 'node');
  if (existsSync(node)) return node;
  const draft = `${folder}.${process.pid}`;
  mkdirSync(draft, { recursive: true });
  const spec = `node-linux-${process.arch}@${version}`;
  const packed = await execa('npm', ['pack', '--silent', spec], { cwd: draft, reject: false });
  if (packed.failed) skip(`the registry has no ${spec}, or cannot be reached`);
  await execa('tar', ['-xzf', packed.stdout.trim().split('\n').at(-1) ?? ''], { cwd: draft });
  renameSync(draft, folder);
  return node;
}

const commands: Record<string, string[]> = {
  run: ['run', '-q', '--stats', '-m', 'list', '--', 'ls', '/'],
  gdb: ['gdb', '-q', '--batch', '-m', 'paged', '--break', 'malloc:n>10', '--', '/bin/ls', '/'],
  record: ['record', '-q', '-o', 'trace', '--', '/bin/ls', '/'],
  replay: ['replay', 'trace', '-m', 'paged', '-m', 'glibc'],
  view: ['view', 'trace', '-o', 'page.html', '--png', 'page.png'],
  bench: ['bench', '--quick', '--runs', '2', '--', 'ls', '/'],
  check: ['check', '--quick', '-m', 'paged', '--group', 'semantics'],
  profile: ['profile', '-q', '-o', 'profile.json', '--', '/bin/ls', '/'],
  layout: ['layout', '-m', 'list', '--svg', 'layout.svg', '--', '/bin/true'],
  new: ['new', 'mine'],
  doctor: ['doctor'],
};

describe.each(lines)('Node %s', (version) => {
  let folder: string;
  let node: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'libmalloc-node-'));
    for (const program of ['gdb', 'gcc']) need(program);
    node = await nodeOf(version);
  }, 900_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test.each(Object.keys(commands))('libmalloc %s', async (verb) => {
    const args = [join(root, 'build', 'js', 'cli.js'), ...(commands[verb] ?? [])];
    const said = await execa(node, args, { cwd: folder, reject: false, all: true });
    expect(said.exitCode, said.all).toBe(0);
    expect(said.stderr).not.toContain('Warning');
  });

  test('passes the tests of openMalloc', async () => {
    const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
    const args = [vitest, 'run', '--config', join(root, 'tests', 'vitest.config.ts'), 'tests/ffi'];
    const said = await execa(node, args, { cwd: root, reject: false, all: true });
    expect(said.exitCode, said.all).toBe(0);
  }, 600_000);
});

test('the table above has every verb', () => {
  const others = Object.keys(verbs).filter((verb) => !(verb in commands));
  expect(others).toEqual([]);
});
