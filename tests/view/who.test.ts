// Who allocated, on the page of `view` in a real browser: graph, table, map and time line agree.

import { writeFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { bytes, count } from '../../scripts/lib/units.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import type { HeapData } from '../../scripts/view/data.ts';
import { packProcess, pageOf } from '../../scripts/view/fill.ts';
import { gather } from '../../scripts/view/gather.ts';
import { browserForTests, scrubTo } from '../lib/browser.ts';
import { scratch } from '../lib/folder.ts';
import { type Call, type Node, writeTrace } from '../lib/handmade.ts';

// main (0x10) calls a (0x20), which calls b (0x30) and c (0x40); another thread's start (0x50) calls b.
const nodes: Node[] = [
  { address: 0x10, parent: 0 },
  { address: 0x20, parent: 1 },
  { address: 0x30, parent: 2 },
  { address: 0x40, parent: 2 },
  { address: 0x50, parent: 0 },
  { address: 0x30, parent: 5 },
];
const [MAIN, B, C, B_TOO] = [1, 3, 4, 6];
const base = 0x100000000;
const made = (page: number, size: number, stack: number): Call => ({
  op: 'malloc',
  address: base + 4096 * page,
  size,
  stack,
});
const ended = (page: number): Call => ({ op: 'free', address: base + 4096 * page });
const calls = [
  made(0, 4096, MAIN),
  made(1, 8192, B),
  made(3, 4096, C),
  made(4, 4096, B_TOO),
  ended(4),
  made(5, 8192, C),
  ended(0),
  made(7, 1024, B),
];
const others = [...calls.slice(0, 3), made(4, 2048, B_TOO)];

const inBrowser = browserForTests();
const [alone, both, many] = ['who', 'whose', 'many'].map((name) => scratch(`${name}.html`)) as [
  string,
  string,
  string,
];
const wide = { viewport: { width: 1300, height: 900 } };

async function heapOf(list: readonly Call[], malloc: string): Promise<HeapData> {
  const trace = openTrace(
    writeTrace(scratch(`${malloc}.trace`), list, `libmalloc-${malloc}.so`, nodes),
  );
  try {
    return await gather(trace);
  } finally {
    trace.close();
  }
}

beforeAll(async () => {
  const heap = await heapOf(calls, 'one');
  const other = await heapOf(others, 'two');
  writeFileSync(alone, pageOf([heap]));
  writeFileSync(both, pageOf([heap, other]));
  const child = { ...other, facts: { ...other.facts, process: 2, pid: 4712, name: 'child' } };
  writeFileSync(many, pageOf([[packProcess(heap), packProcess(child, 1)]]));
});

/** The share of the graph's width for each box, by the path of the box. */
const boxes = (page: Page, panel = 0): Promise<Record<string, number>> =>
  page.locator(`.panel >> nth=${panel} >> .flame`).evaluate((flame) => {
    const all = [...flame.querySelectorAll<HTMLElement>('.box')];
    const place = ({ style }: HTMLElement) => ({
      left: Number.parseFloat(style.left),
      width: Number.parseFloat(style.width),
      top: Number.parseFloat(style.top),
    });
    const above = (box: HTMLElement): HTMLElement | undefined =>
      all.find((each) => {
        const [it, its] = [place(each), place(box)];
        const holds =
          it.left <= its.left + 0.01 && its.left + its.width <= it.left + it.width + 0.01;
        return it.top === its.top - 19 && holds;
      });
    const path = (box: HTMLElement | undefined): string =>
      box ? `${path(above(box))}/${box.getAttribute('aria-label')?.split(',')[0]}` : '';
    return Object.fromEntries(
      all.map((box) => [path(box), Math.round(place(box).width * 10) / 10]),
    );
  });

/** The rows of the table: bytes and blocks by function. */
const rows = (page: Page, panel = 0): Promise<Record<string, number[]>> =>
  page
    .locator(`.panel >> nth=${panel} >> .functions tbody tr`)
    .evaluateAll((all) =>
      Object.fromEntries(
        all.map((row) => [
          row.querySelector('th')?.textContent ?? '',
          [...row.querySelectorAll<HTMLElement>('[data-value]')].map((cell) =>
            Number(cell.dataset.value),
          ),
        ]),
      ),
    );

const said = (page: Page, panel = 0): Promise<string | null> =>
  page.textContent(`.panel >> nth=${panel} >> .origin`);

/** Moves the slider, and waits until the graphs have followed. */
const rested = async (page: Page, step: number): Promise<void> => {
  await scrubTo(page, step);
  await page.waitForTimeout(250);
};

/** The colours of a canvas at points, each given as a share of the width and pixels from the top. */
const colors = (page: Page, what: string, points: readonly (readonly [number, number])[]) =>
  page.locator(what).evaluate(async (element, wanted) => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const canvas = element as HTMLCanvasElement;
    const copy = new OffscreenCanvas(canvas.width, canvas.height);
    const context = copy.getContext('2d', { willReadFrequently: true });
    context?.drawImage(canvas, 0, 0);
    return wanted.map(([x, y]) =>
      [...(context?.getImageData(Math.round(x * canvas.width), y, 1, 1).data ?? [])]
        .slice(0, 3)
        .join(' '),
    );
  }, points);

describe('the flame graph', () => {
  test('has boxes as wide as their bytes live at the slider, and the table agrees', () =>
    inBrowser(
      alone,
      async (page) => {
        await rested(page, 4);
        const all = 4096 + 8192 + 4096 + 4096;
        const share = (part: number) => Math.round((1000 * part) / all) / 10;
        expect(await boxes(page)).toEqual({
          '/all': 100,
          '/all/0x10': share(all - 4096),
          '/all/0x10/0x20': share(8192 + 4096),
          '/all/0x10/0x20/0x30': share(8192),
          '/all/0x10/0x20/0x40': share(4096),
          '/all/0x50': share(4096),
          '/all/0x50/0x30': share(4096),
        });
        expect(await rows(page)).toEqual({
          '0x30': [12_288, 2, 12_288],
          '0x10': [4096, 1, all - 4096],
          '0x40': [4096, 1, 4096],
          '0x20': [0, 0, 12_288],
          '0x50': [0, 0, 4096],
        });
        expect(await said(page)).toBe(`${bytes(all)} in 4 blocks live at the slider`);
        await rested(page, 5);
        expect(await boxes(page)).not.toHaveProperty('/all/0x50');
      },
      wide,
    ));

  test('shows the peak, all allocations, blocks freed at once or never, and numbers of blocks', () =>
    inBrowser(
      alone,
      async (page) => {
        const own = async (what: string) => {
          await page.selectOption('#what', what);
          return Object.fromEntries(
            Object.entries(await rows(page)).map(([name, [a, b]]) => [name, [a, b]]),
          );
        };
        expect(await own('peak')).toMatchObject({
          '0x10': [4096, 1],
          '0x30': [8192, 1],
          '0x40': [12_288, 2],
        });
        expect(await own('all')).toMatchObject({
          '0x10': [4096, 1],
          '0x30': [13_312, 3],
          '0x40': [12_288, 2],
        });
        expect(await own('short')).toEqual({ '0x30': [4096, 1], '0x50': [0, 0] });
        expect(await own('end')).toMatchObject({ '0x30': [9216, 2], '0x40': [12_288, 2] });
        await page.selectOption('#unit', 'blocks');
        expect((await boxes(page))['/all/0x10/0x20/0x30']).toBe(50);
      },
      wide,
    ));

  test('shows what grew between the mark and the slider', () =>
    inBrowser(
      alone,
      async (page) => {
        await scrubTo(page, 2);
        await page.click('#mark');
        await rested(page, 8);
        expect(await rows(page)).toMatchObject({
          '0x40': [12_288, 2, 12_288],
          '0x30': [1024, 1, 1024],
        });
        expect(await rows(page)).not.toHaveProperty('0x50');
        expect(await said(page)).toBe(`${bytes(13_312)} in 3 blocks more than at the mark`);
      },
      wide,
    ));
});

describe('a choice', () => {
  test('dims all other blocks in the map, and shows its share in the time line', () =>
    inBrowser(
      alone,
      async (page) => {
        await rested(page, 4);
        await page.locator('.box[aria-label^="0x20,"]').click();
        expect(await said(page)).toBe(
          `0x20: 12 KiB in 2 blocks, ${((100 * 12_288) / 20_480).toFixed(1)} % of what is live at the slider`,
        );
        await page.locator('.map').hover({ position: { x: 5, y: 5 } });
        // A row is 64 pixels of 512 bytes: the map has 7 pages and 1 KiB.
        const extent = await page.textContent('.window');
        const row = Number(/([\d,]+) bytes a row/.exec(extent ?? '')?.[1]?.replaceAll(',', ''));
        const at = async (address: number): Promise<string | undefined> => {
          const point = await page.locator('.map').evaluate(
            (element, { place, bytes: wanted }) => {
              const canvas = element as HTMLCanvasElement;
              const rows = Math.ceil((7 * 4096 + 1024) / wanted);
              const least = wanted <= 1024 ? 26 : 14;
              const height = Math.max(least, Math.min(26, Math.floor(canvas.clientHeight / rows)));
              const x = 122 + ((place % wanted) / wanted) * (canvas.clientWidth - 122);
              return [x / canvas.clientWidth, Math.floor(place / wanted) * height + 5] as const;
            },
            { place: address, bytes: row },
          );
          return (await colors(page, '.map', [point]))[0];
        };
        const [live, dim, freed] = ['47 111 219', '201 204 209', '243 201 165'];
        expect(await at(4096 + 700)).toBe(live); // by b, called by a
        expect(await at(3 * 4096 + 700)).toBe(live); // by c
        expect(await at(700)).toBe(dim); // by main itself
        expect(await at(4 * 4096 + 700)).toBe(dim); // by b, but not called by a
        await rested(page, 8);
        expect(await at(700)).toBe(freed);
        const chosen = '232 89 12';
        // Nothing is chosen before the second of 8 calls; at the end it takes part of the height.
        const column = (share: number) =>
          colors(
            page,
            '.timeline',
            Array.from({ length: 69 }, (_, y) => [share, y] as const),
          );
        expect(await column(0.1)).not.toContain(chosen);
        const end = (await column(0.95)).filter((each) => each === chosen).length;
        const most = 4096 + 8192 + 4096 + 8192;
        expect(end / 67).toBeCloseTo((8192 + 4096 + 8192 + 1024) / most, 1);
        await page.click('text=show all');
        expect(await column(0.95)).not.toContain(chosen);
        await rested(page, 4);
        expect(await at(700)).toBe(live);
      },
      wide,
    ));

  test('of a row of the table comprises the function wherever it is called', () =>
    inBrowser(
      alone,
      async (page) => {
        await rested(page, 4);
        await page.click('.functions button:text-is("0x30")');
        expect(await said(page)).toMatch(/^0x30: 12 KiB in 2 blocks, 60\.0 %/);
      },
      wide,
    ));

  test('of search matches applies to the map, and the search marks boxes and rows', () =>
    inBrowser(
      alone,
      async (page) => {
        await rested(page, 4);
        await page.fill('#search', '0X4');
        await page.waitForTimeout(250);
        const found = page.locator('.box.found');
        expect(await found.count()).toBe(1);
        expect(await found.getAttribute('aria-label')).toMatch(/^0x40,/);
        expect(Object.keys(await rows(page))).toEqual(['0x40']);
        await page.press('#search', 'Enter');
        expect(await said(page)).toMatch(/^matches of “0X4”: 4 KiB in 1 block, 20\.0 %/);
        expect(await page.textContent('.legend')).toContain('live, not chosen');
      },
      wide,
    ));

  test('can be made by keys as well', () =>
    inBrowser(
      alone,
      async (page) => {
        await rested(page, 4);
        await page.focus('.flame');
        for (const key of ['ArrowDown', 'ArrowDown', 'ArrowDown', 'ArrowRight', 'Enter'])
          await page.keyboard.press(key);
        expect(await said(page)).toMatch(/^0x40: /);
        await page.keyboard.press('Escape');
        expect(await said(page)).toMatch(/live at the slider$/);
      },
      wide,
    ));
});

test('pointing at a block highlights its stack, and shows the stack beside the pointer', () =>
  inBrowser(
    alone,
    async (page) => {
      await rested(page, 4);
      await page.focus('.map');
      await page.keyboard.press('ArrowRight');
      await page.keyboard.press('ArrowRight');
      const lit = () =>
        page
          .locator('.box.lit')
          .evaluateAll((all) => all.map((each) => each.getAttribute('aria-label')?.split(',')[0]));
      expect(await lit()).toEqual(['0x10', '0x20', '0x30']);
      const box = await page.locator('.map').boundingBox();
      await page.mouse.move((box?.x ?? 0) + 400, (box?.y ?? 0) + 8);
      const detail = (await page.textContent('.detail')) ?? '';
      const tip = await page.locator('.tip div').allTextContents();
      expect(tip[0]).toBe(detail.split(', ').slice(0, 2).join(', '));
      expect(await lit()).toEqual(tip.slice(2).reverse());
      await page.mouse.move(2, 2);
      expect(await lit()).toEqual([]);
      expect(await page.isHidden('.tip')).toBe(true);
    },
    wide,
  ));

describe('two traces', () => {
  test('show by how much each exceeds the other', () =>
    inBrowser(
      both,
      async (page) => {
        await page.selectOption('#what', 'end');
        await page.check('#difference');
        // One has 9216 of 0x30 below main; two has 8192 there, and 2048 below 0x50.
        expect(await rows(page, 0)).toMatchObject({
          '0x40': [8192, 1, 8192],
          '0x30': [1024, 1, 1024],
        });
        expect(await rows(page, 1)).toEqual({
          '0x10': [4096, 1, 4096],
          '0x30': [2048, 1, 2048],
          '0x50': [0, 0, 2048],
        });
        expect(await said(page, 1)).toContain('more than in the other trace');
      },
      wide,
    ));

  test('have time lines at one scale, and maps that zoom together', () =>
    inBrowser(
      both,
      async (page) => {
        await rested(page, 4);
        const tops = await page.locator('.timeline').evaluateAll((all) =>
          all.map((element) => {
            const canvas = element as HTMLCanvasElement;
            const copy = new OffscreenCanvas(canvas.width, canvas.height);
            const context = copy.getContext('2d', { willReadFrequently: true });
            context?.drawImage(canvas, 0, 0);
            const { data } = context?.getImageData(canvas.width - 12, 0, 1, 69) ?? { data: [] };
            return Array.from({ length: 69 }, (_, y) =>
              [data[4 * y], data[4 * y + 1], data[4 * y + 2]].join(' '),
            ).filter((each) => each === '47 111 219').length;
          }),
        );
        const [a = 0, b = 0] = tops;
        expect(b / a).toBeCloseTo((4096 + 8192 + 4096 + 2048) / (8192 + 4096 + 8192 + 1024), 1);
        const views = () =>
          page
            .locator('.window')
            .evaluateAll((all) =>
              all.map((each) => /([\d,]+) bytes a row/.exec(each.textContent ?? '')?.[1]),
            );
        const before = await views();
        expect(new Set(before).size).toBe(1);
        await page.locator('.panel >> nth=0 >> [aria-label="zoom in"]').click();
        await page.waitForTimeout(100);
        const after = await views();
        expect(new Set(after).size).toBe(1);
        expect(after[0]).not.toBe(before[0]);
        await page.locator('.panel >> nth=1 >> [aria-label="show the whole heap"]').click();
        await page.waitForTimeout(100);
        expect(await views()).toEqual(before);
      },
      wide,
    ));

  test('on a phone are one below the other, maps before graphs, without scrolling sideways', () =>
    inBrowser(
      both,
      async (page) => {
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(
          390,
        );
        const tops = await page.evaluate(() =>
          ['.memory', '.origins'].map((part) =>
            [...document.querySelectorAll(part)].map((each) => each.getBoundingClientRect().top),
          ),
        );
        const [[mapA = 0, mapB = 0] = [], [whoA = 0, whoB = 0] = []] = tops;
        expect([mapA, mapB, whoA, whoB]).toEqual([mapA, mapB, whoA, whoB].sort((a, b) => a - b));
        expect(mapB - mapA).toBeLessThan(844 / 2);
      },
      { viewport: { width: 390, height: 844 } },
    ));
});

test('the mark of a time line is below the middle of the slider’s thumb', () =>
  inBrowser(
    alone,
    async (page) => {
      for (const step of [0, 4, 8]) {
        await scrubTo(page, step);
        const [slider, line] = [
          await page.locator('#scrub').boundingBox(),
          await page.locator('.timeline').boundingBox(),
        ];
        const [width = 0, x = 0] = [slider?.width, slider?.x];
        const thumb = x + 8 + (step / 8) * (width - 16);
        const row = await colors(
          page,
          '.timeline',
          Array.from({ length: line?.width ?? 0 }, (_, i) => [i / (line?.width ?? 1), 1] as const),
        );
        const ink = row.flatMap((each, i) => (each === '31 35 40' ? [i] : []));
        const mark = (line?.x ?? 0) + ((ink[0] ?? 0) + (ink.at(-1) ?? 0) + 1) / 2;
        expect(Math.abs(mark - thumb)).toBeLessThan(2);
      }
    },
    wide,
  ));

test('processes form a tree, each below the one that started it, and a click opens one', () =>
  inBrowser(
    many,
    async (page) => {
      const shown = () => page.locator('.processes [aria-current]').textContent();
      expect(await shown()).toBe(
        `toy 4711 · ${count(8)} calls · peak ${bytes(4096 + 8192 + 4096 + 8192)}`,
      );
      const below = page.locator('.processes li li button');
      expect(await below.textContent()).toMatch(/^child 4712 · 4 calls/);
      await below.click();
      await page.waitForFunction(
        () => document.querySelector('[data-name=events]')?.textContent === '4',
      );
      expect(await shown()).toMatch(/^child 4712/);
      expect(await page.locator('.panel').count()).toBe(1);
      await rested(page, 4);
      expect(await rows(page)).toMatchObject({ '0x10': [4096, 1, 16_384] });
    },
    wide,
  ));
