/** docs/node.md: every block of code on that page is run. */
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { cli } from '../lib/cli.ts';
import { read } from '../lib/files.ts';

const text = read('docs/node.md');
const blocks = [...text.matchAll(/^```(\w+)( tried)?\n([\s\S]*?)^```/gm)].map(
  ([, language = '', tried, body = '']) => ({ language, tried: tried !== undefined, body }),
);

// Inside this package, so that `libmalloc` is this checkout, as `make` built it.
const parent = join(root, 'build', 'tests');
let folder = '';
beforeAll(() => {
  mkdirSync(parent, { recursive: true });
  folder = mkdtempSync(join(parent, 'node-'));
  const script = cli[1] as string;
  chmodSync(script, 0o755);
  mkdirSync(join(folder, 'bin'));
  symlinkSync(script, join(folder, 'bin', 'libmalloc'));
  copyFileSync(join(root, 'tests', 'programs', 'shy-malloc.c'), join(folder, 'mine.c'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test('every block is marked as tried', () => {
  expect(blocks.length).toBeGreaterThan(6);
  expect(blocks.filter(({ tried }) => !tried)).toEqual([]);
});

// In the order of the page: later blocks use what earlier ones made.
describe('the blocks of docs/node.md work', () => {
  blocks.forEach(({ language, body }, i) => {
    const title = body.split('\n').find((line) => line !== '' && !line.startsWith('import')) ?? '';
    test(`${i + 1}: ${title}`, async () => {
      const file = join(folder, `block-${i}.${language}`);
      writeFileSync(file, body);
      const words = language === 'ts' ? [process.execPath, '--import', 'tsx'] : ['bash', '-eu'];
      const [command = '', ...args] = [...words, file];
      const { exitCode, all } = await execa(command, args, {
        cwd: folder,
        env: { PATH: `${join(folder, 'bin')}:${process.env.PATH}` },
        all: true,
        reject: false,
        stdin: 'ignore',
        timeout: 120_000,
      });
      expect(exitCode, all).toBe(0);
    });
  });
});
