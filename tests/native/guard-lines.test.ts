/** Source lines in the reports of debug builds that run without `libmalloc run` (native/guard/lines.h). */
import { chmodSync, mkdtempSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { which } from '../../scripts/malloc/programs.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const folders = testFolder();

const program = (): string => compileProgram('guard-lines.cc', { flags: ['-O2', '-g'] });

async function crash(path: string, debug = '') {
  const { stdout, stderr, signal } = await execa(program(), {
    env: {
      PATH: path,
      LD_PRELOAD: variantFile('sharded', { debug: true }),
      LIBMALLOC_DEBUG: debug,
    },
    reject: false,
    timeout: 60_000,
  });
  expect(signal).toBe('SIGABRT');
  expect(stderr).toMatch(/^libmalloc: free\(\): double free of 0x\w+ \(100 bytes\)\n {4}allocated/);
  return { stdout, ours: stderr.split('\n').filter((line) => /guard-lines|shop/.test(line)) };
}

/** A folder for PATH with one program in it. */
function folder(name: string, content: { link: string } | { script: string }): string {
  const path = mkdtempSync(join(folders, 'path-'));
  const file = join(path, name);
  if ('link' in content) symlinkSync(content.link, file);
  else {
    writeFileSync(file, `#!/bin/sh\n${content.script}\n`);
    chmodSync(file, 0o755);
  }
  return path;
}

const plain = (lines: string[]): string[] =>
  lines.map((line) => line.replaceAll(/0x[0-9a-f]+/g, 'P').replaceAll(/ \(\/[^)]*\)/g, ''));

const withLines = [
  '    allocated  main+P at guard-lines.cc:42',
  '    freed      shop::throw_away(shop::basket&) at guard-lines.cc:15, inlined',
  '               shop::close(shop::basket&)+P at guard-lines.cc:18',
  '               main+P at guard-lines.cc:43',
  '    found in   shop::throw_away(shop::basket&) at guard-lines.cc:15, inlined',
  '               shop::close(shop::basket&)+P at guard-lines.cc:19',
  '               main+P at guard-lines.cc:43',
];

describe('a preload alone', () => {
  test('reports lines and inlined functions, and the program sees no child', async () => {
    need('llvm-symbolizer');
    const { stdout, ours } = await crash(process.env.PATH ?? '');
    expect(plain(ours.filter((line) => !line.includes('_start')))).toEqual(withLines);
    expect(stdout).toBe('no child');
  });

  test('addr2line does as well', async () => {
    const { ours } = await crash(folder('addr2line', { link: which('addr2line') ?? '' }));
    const lines = plain(ours.filter((line) => !line.includes('_start')));
    expect(lines).toEqual(withLines);
  });

  test.each([
    ['no such program', '/var/empty', ''],
    ['lines=0', process.env.PATH ?? '', 'lines=0'],
  ])('reports functions and offsets with %s', async (_, path, debug) => {
    const { stdout, ours } = await crash(path, debug);
    expect(ours.map((line) => line.slice(15).replace(/\+0x.*/, ''))).toEqual(
      ['main', '_start', '_ZN4shop5closeERNS_6basketE', 'main', '_start'].concat([
        '_ZN4shop5closeERNS_6basketE',
        'main',
        '_start',
      ]),
    );
    expect(stdout).toBe('no child');
  });

  test.each([
    ['fails', 'exit 1'],
    ['writes without an end', 'while :; do echo 0x; echo ?; done'],
    ['writes what is no answer', 'echo; echo 0x1; echo x; printf 0x2'],
    ['never ends', 'exec /bin/sleep 1000'],
  ])('gets no further for a program that %s', async (_, script) => {
    const { stdout, ours } = await crash(folder('llvm-symbolizer', { script }));
    expect(ours.join('\n')).not.toMatch(/ at /);
    expect(ours.length).toBeGreaterThanOrEqual(8);
    expect(stdout).toBe('no child');
  });
});
