// The page of `view` in a real browser: it shows the numbers of the trace, and moves through time.

import { writeFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { bytes } from '../../scripts/lib/units.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import { type HeapData, NEVER } from '../../scripts/view/data.ts';
import { pageOf } from '../../scripts/view/fill.ts';
import { gather } from '../../scripts/view/gather.ts';
import { duration } from '../../scripts/view/page/elements.ts';
import { browserForTests, scrubTo } from '../lib/browser.ts';
import { scratch } from '../lib/folder.ts';
import { bytesIn, liveAfter, randomCalls, writeTrace } from '../lib/handmade.ts';

const calls = randomCalls(4000);
const others = randomCalls(3000, 5);
const file = scratch('page.html');
const inBrowser = browserForTests();
const inPage = (work: (page: Page) => Promise<void>, options = {}): Promise<void> =>
  inBrowser(file, work, options);
let heap: HeapData;

beforeAll(async () => {
  const heaps: HeapData[] = [];
  for (const [i, each] of [calls, others].entries()) {
    const trace = openTrace(writeTrace(scratch(`${i}.trace`), each, `libmalloc-m${i}.so`));
    heaps.push(await gather(trace));
    trace.close();
  }
  heap = heaps[0] as HeapData;
  writeFileSync(file, pageOf(heaps));
});

const value = async (page: Page, name: string, panel = 0): Promise<number> => {
  const cell = page.locator(`.panel >> nth=${panel} >> [data-name=${name}]`);
  return Number(await cell.getAttribute('data-value'));
};

/** The pixels of a map as a data URL. */
const picture = (page: Page): Promise<string> =>
  page.locator('.map >> nth=0').evaluate(async (canvas) => {
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    return (canvas as HTMLCanvasElement).toDataURL();
  });

describe('the page', () => {
  test('opens at the moment with most live bytes, with the numbers of the trace', () =>
    inPage(async (page) => {
      const { peakAt, peakBytes, events } = heap.facts;
      expect(await value(page, 'event')).toBe(peakAt);
      expect(await value(page, 'bytes')).toBe(peakBytes);
      expect(await value(page, 'peak')).toBe(peakBytes);
      expect(await value(page, 'events')).toBe(events);
      expect(await page.title()).toBe('toy --play: m0 and m1');
    }));

  test('shows at each position of the slider what was live then, in both heaps', () =>
    inPage(async (page) => {
      const last = Number(await page.getAttribute('#scrub', 'max'));
      expect(last).toBe(heap.facts.events);
      const pictures = new Set<string>();
      for (const step of [0, 1, 777, 2000, last]) {
        await scrubTo(page, step);
        const live = liveAfter(calls, step);
        expect(await value(page, 'event')).toBe(step);
        expect(await value(page, 'bytes')).toBe(bytesIn(live));
        expect(await value(page, 'blocks')).toBe(live.size);
        const other = await value(page, 'event', 1);
        expect(await value(page, 'bytes', 1)).toBe(bytesIn(liveAfter(others, other)));
        pictures.add(await picture(page));
      }
      expect(pictures.size).toBeGreaterThanOrEqual(4);
    }));

  test('shows resident bytes, the share of them that was not live, and the time', () =>
    inPage(async (page) => {
      const { time, bytes: live, resident } = heap.columns.stops;
      for (const step of [1500, heap.facts.events]) {
        await scrubTo(page, step);
        const [all = 0, some = 0] = [resident[step], live[step]];
        expect(all).toBeGreaterThan(some);
        expect(await value(page, 'resident')).toBe(all);
        expect(await value(page, 'fragmentation')).toBeCloseTo((all - some) / all, 9);
        expect(await page.textContent('[data-name=fragmentation] >> nth=0')).toBe(
          `${((100 * (all - some)) / all).toFixed(1)} %`,
        );
        expect(await value(page, 'time')).toBe(time[step]);
        expect(await page.textContent('[data-name=time] >> nth=0')).toBe(
          `${((time[step] ?? 0) / 1e6).toPrecision(3)} ms`,
        );
      }
    }));

  test('draws live bytes in front of resident ones over time, to scale, and marks the position', () =>
    inPage(async (page) => {
      const { bytes: live, resident } = heap.columns.stops;
      const most = Math.max(...live, ...resident);
      expect(await page.textContent('.scale >> nth=0')).toBe(
        `liveresidentfull height: ${bytes(most)}`,
      );
      const step = Math.floor(heap.facts.events / 4);
      await scrubTo(page, step);
      await picture(page);
      const columns = await page.locator('.timeline >> nth=0').evaluate((element, share) => {
        const canvas = element as HTMLCanvasElement;
        const { width, height } = canvas;
        // Copies the canvas, so that the pixels are read from the graphics card once.
        const copy = new OffscreenCanvas(width, height);
        const context = copy.getContext('2d', { willReadFrequently: true });
        context?.drawImage(canvas, 0, 0);
        const at = (x: number): string[] => {
          const data = context?.getImageData(x, 0, 1, height).data ?? [];
          return Array.from({ length: height }, (_, y) =>
            [...data.slice(4 * y, 4 * y + 3)].join(' '),
          );
        };
        const marked = Math.round(8 + share * (width - 16));
        return {
          marked: at(marked).slice(0, height - 17),
          half: at(width >> 1),
          height: height - 17,
        };
      }, step / heap.facts.events);
      expect(new Set(columns.marked).size, 'one line from top to bottom').toBe(1);
      const tall = (color: string): number =>
        columns.half.filter((each) => each === color).length / columns.height;
      const half = Math.floor(live.length / 2);
      const [blue, grey] = ['47 111 219', '201 204 209'];
      expect(tall(blue)).toBeCloseTo((live[half] ?? 0) / most, 1);
      expect(tall(blue) + tall(grey)).toBeCloseTo((resident[half] ?? 0) / most, 1);
      expect(tall(blue)).toBeGreaterThan(0.02);
    }));

  test('plays at the chosen speed', () =>
    inPage(async (page) => {
      // Replaces the clock: 100 ms between two frames.
      await page.evaluate(() => {
        let now = performance.now();
        window.requestAnimationFrame = (tick) =>
          window.setTimeout(() => {
            now += 100;
            tick(now);
          }, 0);
        window.cancelAnimationFrame = (id) => window.clearTimeout(id);
        performance.now = () => now;
      });
      for (const [speed, seconds] of [
        ['60', 60],
        ['20', 20],
        ['5', 5],
      ] as const) {
        await scrubTo(page, 0);
        await page.selectOption('#speed', speed);
        const at = await page.evaluate(async () => {
          const slider = document.querySelector<HTMLInputElement>('#scrub');
          const play = document.querySelector<HTMLButtonElement>('#play');
          const before = performance.now();
          play?.click();
          while (Number(slider?.value) < 60) await new Promise((done) => setTimeout(done, 0));
          play?.click();
          return { steps: Number(slider?.value), seconds: (performance.now() - before) / 1000 };
        });
        const rate = at.steps / at.seconds / (heap.facts.events / seconds);
        expect(rate, speed).toBeGreaterThan(0.7);
        expect(rate, speed).toBeLessThan(1.3);
      }
    }));

  test('zooms to the pointer, by wheel and by double click, and can be dragged', () =>
    inPage(
      async (page) => {
        const map = page.locator('.map >> nth=0');
        const point = { x: 400, y: 215 };
        const look = async () => {
          await picture(page);
          const said = (await page.textContent('.window >> nth=0')) ?? '';
          const [from = 0, to = 0] = (said.match(/0x[0-9a-f]+/g) ?? []).map(Number);
          const row = Number(/([\d,]+) bytes a row/.exec(said)?.[1]?.replaceAll(',', ''));
          return { from, to, row };
        };
        await map.hover({ position: point });
        const block = Number(/^0x[0-9a-f]+/.exec((await page.textContent('.detail')) ?? '')?.[0]);
        const share = ({ from, to }: { from: number; to: number }) => (block - from) / (to - from);
        let before = await look();
        const nearer = async (zoom: () => Promise<unknown>): Promise<void> => {
          await zoom();
          const now = await look();
          expect(now.row).toBe(before.row / 2);
          // The block stays where it was, except that the first row is rounded.
          expect(Math.abs(share(now) - share(before))).toBeLessThan(0.2);
          before = now;
        };
        await page.keyboard.down('Control');
        for (let i = 0; i < 3; i++) await nearer(() => page.mouse.wheel(0, -100));
        await page.mouse.wheel(0, 100);
        expect((await look()).row).toBe(before.row * 2);
        before = await look();
        await page.keyboard.up('Control');
        await nearer(() => map.dblclick({ position: point }));
        await nearer(() => map.press('+'));
        await page.mouse.down();
        await page.mouse.move(point.x, 0, { steps: 4 });
        await page.mouse.up();
        expect((await look()).from).toBeGreaterThan(before.from);
      },
      { viewport: { width: 700, height: 1400 } },
    ));

  test('plays, and stops where it is paused', () =>
    inPage(async (page) => {
      await scrubTo(page, 0);
      await page.selectOption('#speed', '5');
      await page.click('#play');
      await page.waitForFunction(
        () => Number(document.querySelector<HTMLInputElement>('#scrub')?.value) > 50,
      );
      await page.click('#play');
      const at = await value(page, 'event');
      expect(at).toBeGreaterThan(50);
      expect(await value(page, 'bytes')).toBe(bytesIn(liveAfter(calls, at)));
      await page.waitForTimeout(100);
      expect(await value(page, 'event')).toBe(at);
    }));

  test('lets keys move from block to block, and zoom to single bytes', () =>
    inPage(async (page) => {
      const live = [...liveAfter(calls, heap.facts.peakAt)].sort(([a], [b]) => a - b);
      await page.focus('.map >> nth=0');
      for (const [address, size] of live.slice(0, 3)) {
        await page.keyboard.press('ArrowRight');
        const said = await page.textContent('.detail >> nth=0');
        expect(said).toContain(`0x${address.toString(16)}: live ${size} byte`);
        expect(said).toContain('thread 77');
      }
      const whole = await picture(page);
      for (let i = 0; i < 20; i++) await page.keyboard.press('+');
      await page.waitForSelector('.window:has-text("64 bytes a row")', { timeout: 20_000 }); // a frame later
      expect(await picture(page)).not.toBe(whole);
      await page.keyboard.press('Home');
      await page.waitForSelector('.window:has-text("the whole heap")', { timeout: 20_000 }); // a frame later
      const focused = () => page.evaluate(() => document.activeElement?.className);
      expect(await focused()).toBe('map');
      await page.keyboard.press('Shift+Tab');
      expect(await focused()).not.toBe('map');
      await page.keyboard.press('Tab');
      expect(await focused()).toBe('map');
    }));

  test('says what lies under the pointer', () =>
    inPage(async (page) => {
      await page.locator('.map >> nth=0').hover({ position: { x: 160, y: 6 } });
      const said = (await page.textContent('.detail >> nth=0')) ?? '';
      const [, address = '', state] = /^(0x[0-9a-f]+): (live|free|no block)/.exec(said) ?? [];
      const live = liveAfter(calls, heap.facts.peakAt);
      expect(state).toBe(live.has(Number(address)) ? 'live' : state);
      expect(state).toMatch(/live|free/);
    }));

  test('shows size, age, calls and thread of the block under the pointer', () =>
    inPage(async (page) => {
      await page.locator('.map >> nth=0').hover({ position: { x: 160, y: 6 } });
      const said = (await page.textContent('.detail >> nth=0')) ?? '';
      const address = Number(/^0x[0-9a-f]+/.exec(said)?.[0]);
      const { columns, facts } = heap;
      const i = columns.blocks.address.findLastIndex(
        (each, row) => each === address && (columns.blocks.birth[row] ?? 0) < facts.peakAt,
      );
      const [birth = 0, death = 0, size = 0] = [
        columns.blocks.birth[i],
        columns.blocks.death[i],
        columns.blocks.size[i],
      ];
      const numbers = (text: string): number[] =>
        [...text.replaceAll(',', '').matchAll(/\b\d+\b/g)].map(([n]) => Number(n));
      const isLive = death >= facts.peakAt;
      expect(said).toContain(isLive ? ': live' : ': free');
      expect(numbers(said)).toEqual(
        isLive
          ? [size, facts.peakAt - birth, birth + 1, ...(death === NEVER ? [] : [death + 1]), 77]
          : [size, death + 1, birth + 1, 77],
      );
    }));

  test('moves through time by keys and by the time line, and says the position', () =>
    inPage(async (page) => {
      const said = () => page.getAttribute('#scrub', 'aria-valuetext');
      await scrubTo(page, 100);
      await page.focus('.map >> nth=0');
      for (const [key, event] of [
        ['.', 101],
        ['.', 102],
        [',', 101],
      ] as const) {
        await page.keyboard.press(key);
        expect(await value(page, 'event')).toBe(event);
        expect(await said()).toBe(
          `after ${event} of ${heap.facts.events.toLocaleString('en')} calls`,
        );
      }
      await page.keyboard.press(' ');
      expect(await page.getAttribute('#play', 'aria-pressed')).toBe('true');
      await page.keyboard.press(' ');
      expect(await page.getAttribute('#play', 'aria-pressed')).toBe('false');
      const line = page.locator('.timeline >> nth=0');
      const { width = 0 } = (await line.boundingBox()) ?? {};
      await line.click({ position: { x: width / 2, y: 20 } });
      const at = await value(page, 'event');
      expect(Math.abs(at / heap.facts.events - 0.5)).toBeLessThan(0.01);
      expect(await value(page, 'bytes')).toBe(bytesIn(liveAfter(calls, at)));
    }));

  test('has a different picture and legend for each colouring', () =>
    inPage(async (page) => {
      const [pictures, legends] = [new Set<string>(), new Set<string | null>()];
      for (const by of ['state', 'size', 'age']) {
        await page.selectOption('#color', by);
        pictures.add(await picture(page));
        legends.add(await page.textContent('.legend >> nth=0'));
      }
      expect([pictures.size, legends.size]).toEqual([3, 3]);
    }));

  test('draws a moment the same each time, and an empty heap differently from a full one', () =>
    inPage(async (page) => {
      await page.focus('.map >> nth=0');
      await page.keyboard.press('ArrowRight');
      for (let i = 0; i < 20; i++) await page.keyboard.press('+');
      await scrubTo(page, 0);
      const none = await picture(page);
      await scrubTo(page, heap.facts.peakAt);
      expect(await picture(page)).not.toBe(none);
      await scrubTo(page, 0);
      expect(await picture(page)).toBe(none);
    }));

  test('has histograms that add up to all blocks', () =>
    inPage(async (page) => {
      const sums = await page
        .locator('.panel >> nth=0 >> .histograms table')
        .evaluateAll((tables) =>
          tables.map((table) =>
            [...table.querySelectorAll<HTMLElement>('[data-value]')].reduce(
              (sum, cell) => sum + Number(cell.dataset.value),
              0,
            ),
          ),
        );
      const { birth, death } = heap.columns.blocks;
      const ended = death.filter((each) => each !== NEVER).length;
      const { time } = heap.columns.stops;
      // Calls are equally spaced in time, so a number of calls corresponds to a duration.
      const lives = [...death].flatMap((end, i) =>
        end === NEVER ? [] : [(time[end + 1] ?? 0) - (time[(birth[i] ?? 0) + 1] ?? 0)],
      );
      expect(sums).toEqual([heap.facts.allocations, ended]);
      const shown = await page
        .locator('.panel >> nth=0 >> .histograms table >> nth=0 >> tr')
        .evaluateAll((rows) =>
          rows.map((row) => [...row.children].map((cell) => cell.textContent)),
        );
      const sizes = calls.flatMap(({ op, size = 0 }) => (op === 'malloc' ? [size] : []));
      const [smallest = 0, largest = 0] = [Math.min(...sizes), Math.max(...sizes)].map((size) =>
        Math.floor(Math.log2(size)),
      );
      for (const [i, [label, , count]] of shown.entries()) {
        const from = Number(/^from (\d+) bytes?$/.exec(label ?? '')?.[1]);
        expect(from).toBe(2 ** (i + smallest));
        const within = sizes.filter((size) => size >= from && size < 2 * from);
        expect(count, label ?? '').toBe(within.length.toLocaleString('en'));
      }
      expect(shown).toHaveLength(largest - smallest + 1);
      const lifetimes = await page
        .locator('.panel >> nth=0 >> .histograms table >> nth=1 >> tr')
        .evaluateAll((rows) =>
          rows.map((row) => [...row.children].map((cell) => cell.textContent)),
        );
      const from = (i: number): number => 2 ** (Math.floor(Math.log2(Math.min(...lives))) + i);
      for (const [i, [label, , count]] of lifetimes.entries()) {
        expect(label).toBe(`from ${duration(from(i))}`);
        const within = lives.filter((life) => life >= from(i) && life < 2 * from(i));
        expect(count, label ?? '').toBe(within.length.toLocaleString('en'));
      }
    }));
});

test('says what is wrong with a trace, and what of it the page omits', () => {
  const damaged = scratch('damaged.html');
  const facts = { ...heap.facts, strays: 3, overlaps: 2, every: 64, damage: ['cut: <1> of 2'] };
  writeFileSync(damaged, pageOf([{ ...heap, facts }]));
  return inBrowser(damaged, async (page) => {
    expect(await page.locator('.damage').allTextContents()).toEqual([
      'cut: <1> of 2',
      '3 frees of pointers to no live block',
      '2 blocks handed out while they were live',
    ]);
    expect(await page.textContent('.panel > .head > .note')).toContain(
      'the exact state after every 64 calls',
    );
  });
});

test('a tap on a block shows its details, and + zooms there', () =>
  inPage(
    async (page) => {
      const live = liveAfter(calls, heap.facts.peakAt);
      const map = page.locator('.map >> nth=0');
      await map.tap({ position: { x: 150, y: 100 } });
      const said = (await page.textContent('.detail >> nth=0')) ?? '';
      const [, address = '', what] = /^(0x[0-9a-f]+): (live|free)/.exec(said) ?? [];
      expect(what, said).toMatch(/live|free/);
      if (what === 'live') expect(live.has(Number(address))).toBe(true);
      for (let i = 0; i < 4; i++) await page.locator('[aria-label="zoom in"] >> nth=0').tap();
      expect(await page.textContent('.detail >> nth=0')).toBe(said);
      await picture(page);
      const [from = 0, to = 0] =
        ((await page.textContent('.window')) ?? '').match(/0x[0-9a-f]+/g)?.map(Number) ?? [];
      expect(from).toBeLessThanOrEqual(Number(address) + 1024);
      expect(to).toBeGreaterThan(Number(address));
    },
    { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true },
  ));

describe.each([
  ['light', { colorScheme: 'light' as const }],
  ['dark', { colorScheme: 'dark' as const }],
])('in %s', (scheme, options) => {
  test('text has enough contrast', () =>
    inPage(async (page) => {
      const contrast = await page.evaluate(() => {
        const luminance = (color: string): number => {
          const [r = 0, g = 0, b = 0] = (color.match(/\d+/g) ?? []).slice(0, 3).map((text) => {
            const c = Number(text) / 255;
            return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
          });
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const of = (what: string): number[] => {
          const { color } = getComputedStyle(document.querySelector(what) as Element);
          const { backgroundColor } = getComputedStyle(document.body);
          return [luminance(color), luminance(backgroundColor)].sort((a, b) => b - a);
        };
        return ['h1', 'dt', '.detail'].map((what) => {
          const [high = 0, low = 0] = of(what);
          return (high + 0.05) / (low + 0.05);
        });
      });
      for (const each of contrast) expect(each, scheme).toBeGreaterThan(4.5);
      const paper = await page.locator('.map >> nth=0').evaluate((canvas) => {
        const context = (canvas as HTMLCanvasElement).getContext('2d');
        return context?.getImageData(2, 40, 1, 1).data[0] ?? -1;
      });
      if (scheme === 'dark') expect(paper).toBeLessThan(64);
      else expect(paper).toBeGreaterThan(192);
    }, options));
});

test('on a phone nothing is wider than the screen, and every control has a name', () =>
  inPage(
    async (page) => {
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(width).toBeLessThanOrEqual(360);
      const nameless = await page.locator('button, input, select, canvas').evaluateAll((all) =>
        all
          .filter((each) => !(each.getAttribute('aria-label') || each.textContent?.trim()))
          .filter((each) => !each.closest('label'))
          .map((each) => each.outerHTML),
      );
      expect(nameless).toEqual([]);
    },
    { viewport: { width: 360, height: 740 } },
  ));
