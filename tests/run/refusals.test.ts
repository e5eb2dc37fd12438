import { chmodSync, chownSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { describe, expect, test, vi } from 'vitest';
import { Failure } from '../../scripts/lib/errors.ts';
import { defaultVariant, type Malloc, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { type Env, launch } from '../../scripts/malloc/preload.ts';
import { checkTarget } from '../../scripts/malloc/target.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need, skip } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const library = variantFile(defaultVariant());
const ours: Malloc = resolveMalloc();
const asRoot = process.getuid?.() === 0;
const folder = testFolder();
const hello = compileProgram('hello.c');

/** A file of that name in our folder, executable unless said otherwise. */
function file(name: string, content: string | Buffer, mode = 0o755): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** The same file for another machine. */
function foreign(path: string): Buffer {
  const bytes = Buffer.from(readFileSync(path));
  bytes.writeUInt16LE(bytes.readUInt16LE(18) === 183 ? 62 : 183, 18);
  return bytes;
}

const still = (...flags: string[]): string => compileProgram('hello.c', { flags });

/** What `launch` throws instead of running. */
async function refusal(target: string, m = ours, env?: Env): Promise<Failure> {
  const outcome = await launch(m, [target], { ...(env && { env }) }).catch((error) => error);
  expect(outcome, `${target} was not refused`).toBeInstanceOf(Failure);
  return outcome;
}

describe('what a preload cannot reach is refused with 125', () => {
  const refused = async (target: string, message: string, env?: Env) => {
    const { code, message: reason, hint } = await refusal(target, ours, env);
    expect(reason).toContain(message);
    expect(hint).toBeTruthy();
    expect(code).toBe(125);
  };

  test('a static program, from the command line: two lines, and nothing is run', async () => {
    const target = still('-static');
    const { status, stdout, stderr } = await libmalloc(['run', '--', target]);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(
      /^libmalloc: .* is statically linked, so nothing can be preloaded into it\n {2}\S.*$/,
    );
  });

  test('a static-PIE', () => refused(still('-static-pie'), 'is statically linked (static-PIE)'));

  test('a script run by a static program, however deep, and through env', async () => {
    const target = still('-static');
    const first = file('first', `#! ${target} -x\n`);
    const second = file('second', `#!${first}\n`);
    await refused(
      second,
      `${second} is run by ${first}, run by ${target}, which is statically linked`,
    );
    symlinkSync(target, join(folder, 'still-here'));
    const byName = file('by-name', '#!/usr/bin/env still-here\n');
    await refused(byName, 'still-here, which is statically linked', {
      PATH: `${folder}:${process.env.PATH}`,
    });
  });

  test('another machine', () =>
    refused(file('foreign', foreign(hello)), 'program; our libraries are 64-bit'));

  test('32 bits', () => {
    const small = Buffer.alloc(52);
    small.write('\x7fELF\x01\x01\x01', 'latin1');
    small.writeUInt16LE(2, 16);
    small.writeUInt16LE(3, 18);
    return refused(file('small', small), 'is a 32-bit i386 program');
  });

  test('another C library', () =>
    refused(
      still('-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1'),
      'uses another C library, whose dynamic linker is /lib/ld-musl',
    ));

  test('setuid, if it changes the user', async () => {
    if (!asRoot) return refused('/usr/bin/passwd', 'is setuid');
    const other = file('setuid', readFileSync(hello));
    chownSync(other, 65534, 0);
    chmodSync(other, 0o4755);
    await refused(other, 'is setuid (it runs as user 65534)');
    chownSync(other, 0, 0);
    chmodSync(other, 0o4755);
    const { status, proofs } = await launch(ours, [other], { report: true });
    expect(status).toBe(0);
    expect(proofs, 'root gains nothing from setuid root').toMatchObject([{ malloc: library }]);
  });

  test('setgid, if it changes the group', async () => {
    if (!asRoot) skip('only root can make a program setgid to another group');
    const other = file('setgid', readFileSync(hello));
    chownSync(other, 0, 65534);
    chmodSync(other, 0o2755);
    await refused(other, 'is setgid (it runs as group 65534)');
  });

  test('file capabilities, if the user is not root', () => {
    if (!asRoot) skip('only root can give a file capabilities');
    const able = file('able', readFileSync(hello));
    execaSync(need('setcap'), ['cap_net_raw+ep', able]);
    expect(checkTarget(able)).toBe(able);
    const asSomebody = vi
      .spyOn(process as { getuid: () => number }, 'getuid')
      .mockReturnValue(1000);
    try {
      expect(() => checkTarget(able)).toThrow('carries file capabilities');
      expect(checkTarget(hello)).toBe(hello);
    } finally {
      asSomebody.mockRestore();
    }
  });
});

describe('what cannot be run at all', () => {
  test.each([
    ['a name that is not in PATH', () => 'no-such-program', 127, 'no such program in PATH'],
    ['a path that does not exist', () => '/no/such/program', 127, 'does not exist'],
    ['a path through a file', () => '/etc/passwd/x', 127, 'does not exist'],
    ['an empty name', () => '', 127, 'name is empty'],
    ['a directory', () => '/usr', 126, 'is a directory'],
    [
      'a file without the x bit',
      () => file('plain', '#!/bin/sh\n', 0o644),
      126,
      'is not executable',
    ],
    ['a device', () => '/dev/null', 126, 'is not a regular file'],
    ['binary rubbish', () => file('rubbish', Buffer.from([1, 2, 0, 3])), 126, 'is not a program'],
    [
      'half an ELF file',
      () => file('half', readFileSync(hello).subarray(0, 40)),
      126,
      'damaged ELF',
    ],
    ['a shared library', () => file('lib.so', readFileSync(library)), 126, 'is a shared library'],
    ['an object file', () => file('object', readFileSync(still('-c'))), 126, 'is an ELF object'],
    [
      'a missing interpreter',
      () => file('lost', '#!/no/such\n'),
      127,
      '"/no/such", which does not exist',
    ],
    ['an empty interpreter', () => file('void', '#!\n'), 127, 'asks for the interpreter ""'],
    [
      'an interpreter that is a directory',
      () => file('dir', '#!/usr\n'),
      126,
      'which is a directory',
    ],
    [
      'a script that interprets itself',
      () => file('loop', `#!${folder}/loop\n`),
      126,
      'one script too many',
    ],
  ])('%s', async (_what, target, status, message) => {
    const { code, message: reason } = await refusal(target());
    expect(reason).toContain(message);
    expect(code).toBe(status);
  });

  test('Windows line ends are named', async () => {
    const { code, hint } = await refusal(file('windows', '#!/bin/sh\r\necho\r\n'));
    expect(code).toBe(127);
    expect(hint).toContain('CR LF');
  });

  test.each([
    ['no-such-program', 127],
    ['/usr', 126],
  ])('%s gives status %d on the command line', async (target, status) => {
    expect(await libmalloc(['run', '--', target])).toMatchObject({ status, stdout: '' });
  });
});

describe('a malloc that cannot be preloaded is refused with 125', () => {
  test.each([
    ['an unknown name', () => 'nosuch', /unknown malloc: nosuch/],
    ['a missing file', () => '/no/such.so', /no such library/],
    ['a text file', () => file('text.so', 'hello'), /is not a shared library/],
    ['a program', () => `x=${hello}`, /is not a shared library/],
    [
      'half a library',
      () => file('cut.so', readFileSync(library).subarray(0, 60)),
      /cannot be read as a library/,
    ],
    [
      "another machine's library",
      () => file('foreign.so', foreign(library)),
      /is a 64-bit \S+ library; this system/,
    ],
  ])('%s', async (_what, spec, message) => {
    const refuse = async () => refusal('true', resolveMalloc(spec()));
    const { code, message: reason, hint } = await refuse().catch((error) => error);
    expect(reason).toMatch(message);
    expect(hint).toBeTruthy();
    expect(code).toBe(125);
  });

  test('an unknown name lists the known ones on the command line', async () => {
    const { status, stdout, stderr } = await libmalloc([
      'run',
      '-m',
      'nosuch',
      '--',
      'echo',
      'ran',
    ]);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(/^libmalloc: unknown malloc: nosuch\n.*\bglibc\b/);
  });

  test.each([
    ['LIBMALLOC_BLOCK', 'many'],
    ['LIBMALLOC_BLOCK', '-1'],
    ['LIBMALLOC_OVERRUN', 'yes'],
    ['LIBMALLOC_BLOKC', '1024'],
  ])('a broken or unknown variable: %s=%s', async (name, value) => {
    const { status, stdout, stderr } = await libmalloc(['run', '--', 'echo', 'ran'], {
      env: { [name]: value },
    });
    expect(stderr).toContain(name);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
  });
});
