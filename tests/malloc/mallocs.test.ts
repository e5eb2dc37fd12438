import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../scripts/lib/errors.ts';
import { nativeDir } from '../../scripts/lib/paths.ts';
import {
  defaultVariant,
  findPeer,
  peers,
  resolveMalloc,
  variants,
} from '../../scripts/malloc/mallocs.ts';
import { libmalloc } from '../lib/cli.ts';
import { need } from '../lib/need.ts';
import { everyVariant } from '../lib/variants.ts';

/** The Failure that `-m spec` ends in. */
function failure(spec: string, options = {}): Failure {
  try {
    resolveMalloc(spec, options);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error(`-m ${spec} was accepted`);
}

describe('-m M', () => {
  test('without it, the malloc is the one that package.json names', () => {
    expect(variants().slice(0, 4)).toEqual(['dumb', 'list', 'buddy', 'paged']);
    expect(defaultVariant()).toBe('sharded');
    expect(resolveMalloc().name).toBe(defaultVariant());
  });

  test.each(everyVariant)('%s is our library of that name, in both builds', (name) => {
    const file = `libmalloc-${name}.so`;
    const release = resolveMalloc(name);
    expect(release).toEqual({ name, kind: 'variant', file: join(nativeDir('release'), file) });
    const debug = resolveMalloc(name, { debug: true });
    expect(debug).toEqual({
      name,
      kind: 'variant',
      file: join(nativeDir('debug'), file),
      debug: true,
    });
  });

  test('glibc is always available: nothing to preload', () => {
    expect(resolveMalloc('glibc')).toEqual({ name: 'glibc', kind: 'glibc', file: undefined });
  });

  test.each(peers.map((peer) => peer.name))('%s is the library that Debian installs', (name) => {
    const file = need(name);
    expect(resolveMalloc(name)).toEqual({ name, kind: 'peer', file });
    expect(findPeer(name)).toBe(file);
  });

  test('FILE.so is any library, named after the file, with an absolute path', () => {
    const file = join(nativeDir('release'), 'libmalloc-list.so');
    expect(resolveMalloc(file)).toEqual({ name: 'libmalloc-list', kind: 'file', file });
    const relative = `./${file.slice(process.cwd().length + 1)}`;
    expect(resolveMalloc(relative).file).toBe(file);
  });

  test('NAME=FILE.so names it', () => {
    const file = join(nativeDir('release'), 'libmalloc-list.so');
    expect(resolveMalloc(`mine=${file}`)).toEqual({ name: 'mine', kind: 'file', file });
  });

  test('a version after .so is still a file', () => {
    expect(failure('libnone.so.2').message).toBe('no such library: libnone.so.2');
  });

  test('an unknown name lists the known ones', () => {
    const { message, hint, code } = failure('lisp');
    expect(message).toBe('unknown malloc: lisp');
    for (const name of [...variants(), 'glibc', ...peers.map((peer) => peer.name)])
      expect(hint).toContain(name);
    expect(code).toBe(125);
  });

  test('an empty name is unknown', () => {
    expect(failure('').message).toBe('unknown malloc: (empty)');
  });

  test('a missing file and a folder are refused', () => {
    expect(failure('./no/such.so').message).toBe('no such library: ./no/such.so');
    expect(failure('mine=./no/such.so').message).toBe('no such library: ./no/such.so');
    expect(failure('/usr/').message).toBe('not a library: /usr/');
  });
});

describe('a Failure', () => {
  test('is printed in two lines, without a stack, and its code is the exit status', async () => {
    const { status, stdout, stderr } = await libmalloc(['run', '-m', 'lisp', '--', '/bin/true']);
    expect(status).toBe(125);
    expect(stdout).toBe('');
    const lines = stderr.split('\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]).toBe('libmalloc: unknown malloc: lisp');
    expect(lines[1]).toMatch(/^ {2}did you mean list\? known: dumb, list, buddy, paged/);
  });

  test('of the command line itself has the same status', async () => {
    expect((await libmalloc(['rum'])).status).toBe(125);
    expect((await libmalloc(['bench', '--no-such-option'])).status).toBe(125);
  });
});

describe('libmalloc --help', () => {
  test('lists the verbs that are built, and every one of them explains itself', async () => {
    const { status, stdout } = await libmalloc(['--help']);
    expect(status).toBe(0);
    const commands = stdout.slice(stdout.indexOf('Commands:'));
    const verbs = [...commands.matchAll(/^ {2}(\w+)/gm)].map((match) => match[1] ?? '');
    expect(verbs).toEqual(expect.arrayContaining(['run', 'gdb', 'bench', 'doctor']));
    for (const verb of verbs.filter((each) => each !== 'help')) {
      const help = await libmalloc([verb, '--help']);
      expect(help.status, verb).toBe(0);
      expect(help.stdout, verb).toContain(`libmalloc ${verb}`);
    }
  });
});
