/** docs/production.md: the blocks of commands that are marked as tried are run. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { brokenOptions } from '../../scripts/malloc/options.ts';
import { which } from '../../scripts/malloc/programs.ts';
import { cli } from '../lib/cli.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

const text = readFileSync(join(root, 'docs', 'production.md'), 'utf8');
const blocks = [...text.matchAll(/^```(\S+)(?: tried(?:: (.*))?)?\n([\s\S]*?)^```/gm)].map(
  ([all, language = '', needs = '', body = '']) => ({
    language,
    needs: needs.split(' ').filter(Boolean),
    body,
    tried: /^```sh tried/.test(all),
  }),
);
const tried = blocks.filter((block) => block.tried);

let folder = '';
beforeEach(() => {
  folder = mkdtempSync('/tmp/libmalloc-production-');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** The command, as an install puts it into the PATH. */
function installCommand(): string {
  const bin = mkdtempSync(join(folder, 'bin-'));
  const script = cli[1] as string;
  symlinkSync(script, join(bin, 'libmalloc'));
  chmodSync(script, 0o755);
  return bin;
}

describe('each block that is marked as tried works', () => {
  test('there are some', () => expect(tried.length).toBeGreaterThan(8));

  for (const { body, needs } of tried) {
    const [title = ''] = body.split('\n');
    test(title, async () => {
      for (const name of needs) need(name);
      const env = {
        PATH: `${installCommand()}:${process.env.PATH}`,
        LIB: variantFile(everyVariant.at(-1) ?? ''),
      };
      const shell = ['bash', '-eu', '-c', body];
      const postgres = needs.includes('postgresql');
      if (postgres) {
        if (process.getuid?.() !== 0) skip('only root can become the user postgres');
        await execa('chown', ['postgres', folder]);
      }
      const [file = '', ...args] = postgres
        ? ['runuser', '-u', 'postgres', '--', 'env', `LIB=${env.LIB}`, ...shell]
        : shell;
      const outcome = await execa(file, args, {
        cwd: folder,
        env,
        all: true,
        reject: false,
        stdin: 'ignore',
        timeout: 90_000,
      });
      expect(outcome.exitCode, outcome.all).toBe(0);
      expect(outcome.all).not.toContain('LD_PRELOAD cannot be preloaded');
    });
  }
});

test('the drop-in is one that systemd accepts, with options that we accept', async () => {
  const analyze = which('systemd-analyze');
  if (analyze === undefined) skip('systemd-analyze is missing: apt-get install systemd');
  const dropIn = blocks.find(({ language }) => language === 'ini')?.body ?? '';
  const unit = join(folder, 'trial.service');
  writeFileSync(
    unit,
    `[Unit]\nDescription=trial\n${dropIn.replaceAll('NAME', 'trial')}ExecStart=/bin/true\n`,
  );
  const { exitCode, all } = await execa(analyze, ['verify', unit], { reject: false, all: true });
  expect(exitCode, all).toBe(0);
  expect(all).not.toContain('trial.service:');
  const options = /LIBMALLOC_OPTIONS=(\S+)/.exec(dropIn)?.[1] ?? '';
  const here = options.replace('/var/log/NAME', '/tmp').replace('%%p', '%p');
  expect(brokenOptions(here)).toBeUndefined();
});

test('every message that it explains is one that we print', () => {
  const sources = [
    'list.c',
    'buddy.c',
    'paged.c',
    'sharded.c',
    'sharded/owner.h',
    'sharded/sweep.h',
  ]
    .concat('abi.h', 'base/die.h')
    .map((file) => readFileSync(join(root, 'native', file), 'utf8'))
    .join('\n')
    .replaceAll('"\n', '');
  const rows = text
    .slice(text.indexOf('## When it aborts'), text.indexOf('From a core'))
    .split('\n');
  const messages = rows
    .filter((row) => row.startsWith('| `'))
    .flatMap((row) =>
      [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, said]) => said ?? ''),
    );
  expect(messages.length).toBeGreaterThan(6);
  for (const message of messages) {
    const words = message.split(/0x…|\bN\b|\bM\b/).map((piece) => piece.trim().replace(/ of$/, ''));
    for (const piece of words.filter(Boolean)) expect(sources, message).toContain(piece);
  }
});
