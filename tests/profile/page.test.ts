// A profile opened in a browser: call stacks at its snapshots, its peak and its end.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { browserForTests, scrubTo } from '../lib/browser.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';

const inPage = browserForTests();
let folder = '';
const file = (name: string): string => join(folder, name);
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'libmalloc-profile-page-'));
  const program = compileProgram('profiled.c', { flags: ['-O2'] });
  const profile = ['profile', '--all', '-q', '--signal', 'USR1', '-m', 'glibc'];
  const outputs = ['-o', file('one.html'), '-o', file('one.json')];
  await libmalloc([...profile, ...outputs, '--', program, '1', 'signal']);
  await libmalloc([...profile, '-o', file('three.json'), '--', program, '3', 'signal']);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The row of a function in the table: its own bytes, and those of functions that it called. */
const row = (page: Page, name: string, panel = 0): Promise<string | null> =>
  page
    .locator(`.panel >> nth=${panel} >> .origins tr`)
    .filter({ has: page.locator(`text=/^${name}\\b/`) })
    .first()
    .textContent();

const total = (page: Page, panel = 0): Promise<string | null> =>
  page.locator(`.panel >> nth=${panel} >> .saying p`).textContent();

const ask = async (page: Page, what: string): Promise<void> => {
  await page.selectOption('#what', what);
};

test('it has the four measures, and says how they were found', () =>
  inPage(file('one.html'), async (page) => {
    await ask(page, 'all');
    const { processes } = JSON.parse(readFileSync(file('one.json'), 'utf8'));
    expect(await total(page)).toContain(
      ` in ${processes[0].allocated.blocks.toLocaleString('en')} blocks`,
    );
    expect(await row(page, 'shorts')).toContain('1.95 MiB');
    await ask(page, 'short');
    expect(await row(page, 'shorts')).toContain('1.95 MiB');
    await ask(page, 'peak');
    expect(await row(page, 'piles')).toContain('1.91 MiB');
    await ask(page, 'end');
    expect(await row(page, 'leaks')).toContain('293 KiB');
    expect((await page.locator('.panel .note').first().textContent()) ?? '').toBe(
      'Every allocation was recorded.',
    );
    expect(await page.locator('.memory').isVisible()).toBe(false);
  }));

test('the slider goes from snapshot to snapshot', () =>
  inPage(file('one.html'), async (page) => {
    const moments: string[] = [];
    for (const step of [1, 2, 3]) {
      await scrubTo(page, step);
      moments.push(((await page.locator('#moment').textContent()) ?? '').replace(/,? after.*/, ''));
    }
    expect(moments.sort()).toEqual(['snapshot by signal', 'the end', 'the peak']);
    await ask(page, 'live');
    await scrubTo(page, 3);
    await expect.poll(() => row(page, 'leaks')).toContain('293 KiB');
    expect(await page.locator('.origins tr', { hasText: /^piles/ }).count()).toBe(0);
  }));

test('two profiles are side by side, with their differences', async () => {
  const page = file('two.html');
  const { status } = await libmalloc(['view', file('one.json'), file('three.json'), '-o', page]);
  expect(status).toBe(0);
  await inPage(page, async (opened) => {
    await ask(opened, 'end');
    await opened.check('#difference');
    expect(await row(opened, 'leaks', 1)).toContain('586 KiB');
    expect(await total(opened, 0)).toMatch(/^0 bytes/);
  });
});

test('a picture of it is refused, with the reason', async () => {
  const { status, stderr } = await libmalloc(['view', file('one.json'), '--svg', file('x.svg')]);
  expect([status, stderr]).toEqual([125, expect.stringMatching(/which a profile does not record/)]);
});
