// Five bugs of small programs, each found on the page of `view` alone, as docs/traces.md describes.
// With PICTURES=1 the tests take the screenshots of that document again.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import { pageOf } from '../../scripts/view/fill.ts';
import { gather } from '../../scripts/view/gather.ts';
import { browserForTests } from '../lib/browser.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

const inBrowser = browserForTests();

/** Records a program of tests/programs with stacks, opens its page, and calls `look`. */
async function lookAt(
  name: string,
  source: string,
  look: (page: Page) => Promise<void>,
): Promise<void> {
  need('addr2line');
  const trace = scratch(`${name}.trace`);
  rmSync(trace, { force: true });
  const command = [compileProgram(source)];
  await launch(resolveMalloc('glibc'), command, { trace: `stacks,${trace}` });
  const opened = openTrace(trace);
  const file = scratch(`${name}.html`);
  const heap = await gather(opened);
  opened.close();
  writeFileSync(file, pageOf([{ ...heap, facts: { ...heap.facts, command: name } }]));
  await inBrowser(
    file,
    async (page) => {
      await look(page);
      if (!process.env.PICTURES) return;
      const path = join(root, 'docs', `${name}.jpg`);
      const clip = { x: 0, y: 0, width: 1240, height: 760 };
      await page.screenshot({ path, fullPage: true, clip, quality: 60 });
    },
    { viewport: { width: 1240, height: 700 } },
  );
}

/** The first row of the table: function, bytes, blocks. */
const first = async (page: Page): Promise<[string, number, number]> => {
  const row = page.locator('.functions tbody tr >> nth=0');
  const values = row.locator('[data-value]');
  return [
    (await row.locator('th').textContent()) ?? '',
    Number(await values.nth(0).getAttribute('data-value')),
    Number(await values.nth(1).getAttribute('data-value')),
  ];
};

const scrub = async (page: Page, share: number): Promise<void> => {
  await page.locator('#scrub').evaluate((slider, to) => {
    const { max } = slider as HTMLInputElement;
    (slider as HTMLInputElement).value = String(Math.round(Number(max) * to));
    slider.dispatchEvent(new Event('input'));
  }, share);
  await page.waitForTimeout(250);
};

const said = (page: Page): Promise<string | null> => page.textContent('.origin');

test('a cache that leaks pages it drops: all that grew after it was full is from fetch_page', () =>
  lookAt('bug-cache', 'bug-cache.cc', async (page) => {
    await scrub(page, 0.3);
    await page.click('#mark');
    await scrub(page, 0.95);
    const [name, , blocks] = await first(page);
    expect(name).toBe('fetch_page(int) (bug-cache.cc)');
    // 65 % of 3000 pages; the number of the cache's own parts did not change.
    expect(blocks).toBeGreaterThan(1700);
    await page.click('.functions button:text-is("fetch_page(int) (bug-cache.cc)")');
    expect(await said(page)).toMatch(
      /fetch_page.* (9\d\.\d|100\.0) % of what is more than at the mark/,
    );
    expect(await page.textContent('#scale')).toContain('live, chosen');
  }));

test('a handler that forgets a few bytes now and then: the page shows what was never freed', () =>
  lookAt('bug-handlers', 'bug-handlers.c', async (page) => {
    await page.selectOption('#what', 'end');
    const forgotten = Array.from({ length: 2000 }, (_, i) => i).filter((i) => i % 7 === 3).length;
    expect(await first(page)).toEqual(['session_key (bug-handlers.c)', 24 * forgotten, forgotten]);
    await page.locator('.box[aria-label^="session_key"]').click();
    expect(await page.locator('.box.above').allTextContents()).toEqual(
      expect.arrayContaining(['main', 'handle']),
    );
  }));

test('a buffer that two owners free: the page names the second to free it, and who allocated it', () =>
  lookAt('bug-twice', 'bug-twice.cc', async (page) => {
    const wrong = (await page.textContent('.strays')) ?? '';
    expect(await page.textContent('.damage')).toMatch(/frees? of pointers to no live block/);
    expect(wrong).toMatch(/Cache::~Cache\(\) \(bug-twice\.cc:\d+\) ← main/);
    expect(wrong).toMatch(/allocated by make_body\(int\) \(bug-twice\.cc:\d+\) ← main/);
  }));

test('a string for each lookup: the page shows thousands of blocks that were freed at once', () =>
  lookAt('bug-temporary', 'bug-temporary.cc', async (page) => {
    await page.selectOption('#what', 'short');
    await page.selectOption('#unit', 'blocks');
    const box = page.locator('.box[aria-label^="serve(int)"]');
    expect(
      Number.parseFloat(await box.evaluate((each) => (each as HTMLElement).style.width)),
    ).toBeGreaterThan(95);
    await box.click();
    expect(await said(page)).toMatch(/^serve\(int\) .* in 3,000 blocks/);
  }));

test('small blocks that pin the memory of large ones: one function allocated all that remain', () =>
  lookAt('bug-pinned', 'bug-pinned.c', async (page) => {
    await scrub(page, 1);
    const idle = await page.getAttribute('[data-name=fragmentation]', 'data-value');
    expect(Number(idle)).toBeGreaterThan(0.9);
    expect(await first(page)).toEqual(['log_line (bug-pinned.c)', 400 * 48, 400]);
    await page.focus('.map');
    for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowRight');
    expect(await page.textContent('.detail')).toMatch(/live 48 bytes.*never freed.*from log_line/);
    const lit = await page.locator('.box.lit').allTextContents();
    expect(lit).toEqual(expect.arrayContaining(['main', 'log_line']));
  }));
