// make deb: lintian finds no error, and the contents of the packages work together.

import {
  existsSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { need } from '../lib/need.ts';

let folder: string;
let files: string[];
const at = (...parts: string[]): string => join(folder, 'usr', ...parts);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'libmalloc-deb-'));
  const env = { MAKEFLAGS: undefined, MAKELEVEL: undefined, VARIANT: undefined };
  const made = await execa('make', ['deb'], { cwd: root, env, reject: false, all: true });
  expect(made.exitCode, made.all).toBe(0);
  files = [...made.stdout.matchAll(/^ {2}deb {2}(.*)$/gm)].map((match) => match[1] ?? '');
  for (const file of files) await execa('dpkg-deb', ['-x', file, folder]);
}, 600_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('lintian finds no error', async () => {
  expect(files.map((file) => file.split('/').at(-1)?.split('_')[0])).toEqual([
    'libmalloc0',
    'libmalloc-dev',
    'libmalloc',
  ]);
  const { exitCode, stdout } = await execa(need('lintian'), ['--fail-on', 'error', ...files], {
    reject: false,
  });
  expect(stdout.split('\n').filter((line) => line.startsWith('E:'))).toEqual([]);
  expect(exitCode, stdout).toBe(0);
}, 600_000);

test('the command works from its package, which contains the man pages', async () => {
  const { exitCode, stdout } = await execa(at('bin', 'libmalloc'), ['doctor'], { reject: false });
  expect(exitCode, stdout).toBe(0);
  expect(stdout).toContain(at('lib', 'libmalloc', 'build', 'release', 'libmalloc-list.so'));
  for (const page of ['man1/libmalloc-run.1.gz', 'man3/libmalloc_walk.3.gz'])
    expect(existsSync(at('share', 'man', page)), page).toBe(true);
});

test('GDB debugs the stripped library with the debug information beside the command', async () => {
  const triplet = (await execa('gcc', ['-print-multiarch'])).stdout;
  const library = at('lib', triplet, 'libmalloc.so.0');
  const info = await execa(need('readelf'), ['-SnW', library]);
  expect(info.stdout).not.toContain('.debug_info');
  const [, id = ''] = /Build ID: (\w+)/.exec(info.stdout) ?? [];
  const link = at('lib', 'debug', '.build-id', id.slice(0, 2), `${id.slice(2)}.debug`);
  const target = join(dirname(link), readlinkSync(link));
  expect(readFileSync(target).includes('.debug_info')).toBe(true);
  writeFileSync(
    join(folder, 'session'),
    `set debug-file-directory ${at('lib', 'debug')}
     source ${at('lib', 'libmalloc', 'gdbinit')}
     set exec-wrapper env LD_PRELOAD=${library}
     break exit
     run
     heap\n`,
  );
  const session = ['-nx', '-batch', '-x', join(folder, 'session'), '/bin/true'];
  const { stdout } = await execa(need('gdb'), session, { reject: false, all: true });
  expect(stdout).toMatch(/regions\s+\d+/);
});
