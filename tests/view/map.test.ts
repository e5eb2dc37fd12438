// The map of `view`: each point has the colour of what the trace says is there.

import { readFileSync, writeFileSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { chunkKinds } from '../../scripts/malloc/chunk-kinds.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import { describe as describeFrame } from '../../scripts/view/calltree.ts';
import type { FrameName, HeapData } from '../../scripts/view/data.ts';
import { pageOf } from '../../scripts/view/fill.ts';
import { gather } from '../../scripts/view/gather.ts';
import { browserForTests, samples, scrubTo } from '../lib/browser.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { long } from '../lib/gdb.ts';
import { type Call, liveAfter, writeTrace } from '../lib/handmade.ts';

const inPage = browserForTests();

/** The colours of page.css by name, as `r g b`, for each scheme. */
const css = readFileSync(new URL('../../scripts/view/page/page.css', import.meta.url), 'utf8');
const [light = {}, dark = {}] = [...css.matchAll(/:root \{([^}]*)\}/g)].map(([, text = '']) =>
  Object.fromEntries(
    [...text.matchAll(/--(\w+): #(..)(..)(..);/g)].map(([, name, ...hex]) => [
      name as string,
      hex.map((each) => Number.parseInt(each, 16)).join(' '),
    ]),
  ),
);
const viridis = { young: '68 1 84', quarter: '59 82 139', half: '33 145 140' };
const distinct = ['66 105 208', '239 177 24', '255 114 92', '108 197 176', '60 169 81'];

/** The function name of each node of the call tree. */
const siteNames = ({ facts, columns }: HeapData): string[] =>
  [...columns.stacks.frame].map((frame) => describeFrame(facts.frames[frame] as FrameName));

async function heapOf(file: string): Promise<HeapData> {
  const trace = openTrace(file);
  try {
    return await gather(trace);
  } finally {
    trace.close();
  }
}

describe.each([
  ['light', light],
  ['dark', dark],
] as const)('in %s, block by block', (scheme, colors) => {
  const base = 0x100000000;
  const call = (at: number, size?: number): Call =>
    size === undefined
      ? { op: 'free', address: base + at }
      : { op: 'malloc', address: base + at, size };
  // Two pages of one block each and two holes; the points to check lie away from edges.
  const calls = [
    call(0, 256),
    call(256, 256),
    call(0x1000, 4096),
    call(0x3000, 4096),
    call(0x8000, 0x8000),
    call(256),
    call(0x3000),
    call(0x200, 512),
  ];
  const other = [call(0, 256), call(0x5000, 4096), call(0x11000, 0x8000), call(0x5000)];
  const file = scratch(`map-${scheme}.html`);
  beforeAll(async () => {
    const heaps: HeapData[] = [];
    for (const [i, list] of [calls, other].entries()) {
      const trace = scratch(`map-${scheme}-${i}.trace`);
      heaps.push(await heapOf(writeTrace(trace, list, `libmalloc-m${i}.so`)));
    }
    writeFileSync(file, pageOf(heaps));
  });

  /** The state of an address after `step` calls. */
  const stateAt = (list: readonly Call[], step: number, address: number): string => {
    const holds = ([start, size]: [number, number]): boolean =>
      start <= address && address < start + size;
    if ([...liveAfter(list, step)].some(holds)) return 'live';
    const touched = list.slice(0, step).some(({ address: start = 0, size = 0 }) => {
      const from = Math.floor(start / 4096) * 4096;
      return holds([from, Math.ceil((start + size) / 4096) * 4096 - from]) && size > 0;
    });
    return touched ? 'freed' : 'never';
  };

  test('live, freed and never used memory has the colours of the style sheet', () =>
    inPage(
      file,
      async (page) => {
        const seen = new Set<string>();
        for (const step of [0, 1, 2, 5, 6, 7, 8]) {
          await scrubTo(page, step);
          const points = await samples(page, 32);
          expect(points.length).toBeGreaterThan(60);
          for (const { address, color, said } of points) {
            const state = stateAt(calls, step, address);
            seen.add(state);
            expect(color, `${state} at ${address.toString(16)}, step ${step}`).toBe(colors[state]);
            expect(said.includes(': live')).toBe(state === 'live');
          }
        }
        expect(seen.size).toBe(3);
      },
      { colorScheme: scheme, viewport: { width: 700, height: 1000 } },
    ));

  test('the second malloc has its own map', () =>
    inPage(
      file,
      async (page) => {
        await scrubTo(page, 8);
        const points = await samples(page, 32, 1);
        expect(new Set(points.map(({ color }) => color)).size).toBeGreaterThan(1);
        for (const { address, color } of points)
          expect(color, address.toString(16)).toBe(colors[stateAt(other, 4, address)]);
      },
      { colorScheme: scheme, viewport: { width: 700, height: 1000 } },
    ));

  test('by size, age and thread, live blocks have the colours of the legend', () =>
    inPage(
      file,
      async (page) => {
        await scrubTo(page, 8);
        const at = async (by: string, address: number): Promise<string | undefined> => {
          await page.selectOption('#color', by);
          const points = await samples(page, 32);
          return points.find((point) => point.address >= address)?.color;
        };
        expect(await at('size', base + 0x1000)).toBe(viridis.half);
        expect(await at('thread', base + 0x1000)).toBe(distinct[0]);
        expect(await at('age', base + 0x1000)).toBe('94 201 98'); // born by the third of eight
        expect(await at('size', base + 0x4100)).toBe(colors.never);
        const bars = await page
          .locator('.panel >> nth=0 >> .legend i')
          .evaluateAll((all) => all.map((each) => (each as HTMLElement).style.background));
        expect(bars[0]).toBe(`rgb(${viridis.young.replaceAll(' ', ', ')})`);
        await page.selectOption('#color', 'state');
        const legend = await page
          .locator('.panel >> nth=0 >> .legend span')
          .evaluateAll((all) =>
            all.map((each) => [each.textContent, each.querySelector('i')?.style.background]),
          );
        const rgb = (name: string): string => `rgb(${colors[name]?.replaceAll(' ', ', ')})`;
        expect(legend).toEqual([
          ['live', rgb('live')],
          ['used before, no live block', rgb('freed')],
          ['never used', rgb('never')],
        ]);
      },
      { colorScheme: scheme, viewport: { width: 700, height: 1000 } },
    ));
});

test.each([
  ['light', light],
  ['dark', dark],
] as const)('in %s, no two states have similar colours', (_, colors) => {
  const states = ['paper', 'never', 'freed', 'live', 'resident', 'header', 'cached', 'remote'];
  const numbers = (name: string): number[] => colors[name]?.split(' ').map(Number) ?? [];
  for (const [i, a] of states.entries())
    for (const b of states.slice(0, i)) {
      const far = Math.hypot(...numbers(a).map((value, k) => value - (numbers(b)[k] ?? 0)));
      const faint = [a, b].sort().join() === 'never,paper';
      expect(far, `${a} and ${b}`).toBeGreaterThan(faint ? 15 : 40);
    }
});

test.each([
  ['light', light],
  ['dark', dark],
] as const)(
  'in %s, every kind of chunk has its colour, class and owner',
  async (scheme, colors) => {
    const base = 0x200000000;
    const kinds = ['header', 'live', 'free', 'fresh', 'cached', 'remote', 'live'] as const;
    const heap = await heapOf(
      writeTrace(scratch('kinds.trace'), [{ op: 'malloc', address: base, size: 0x7000 }]),
    );
    const column = (value: (i: number) => number) => Float64Array.from(kinds, (_, i) => value(i));
    heap.facts.walks = [{ at: 1, chunks: kinds.length }];
    heap.columns.chunks = {
      start: column((i) => base + 0x1000 * i),
      extent: column(() => 0x1000),
      kind: column((i) => chunkKinds.indexOf(kinds[i] ?? 'fresh')),
      sizeClass: column((i) => (i === 6 ? 256 : 0)),
      owner: column((i) => (i === 6 ? 2 : 1)),
    };
    const file = scratch(`kinds-${scheme}.html`);
    writeFileSync(file, pageOf([heap]));
    const names = { free: 'freed', fresh: 'never' } as Record<string, string>;
    const live = { state: [colors.live, colors.live], size: [viridis.half, viridis.quarter] };
    return inPage(
      file,
      async (page) => {
        await scrubTo(page, 1);
        await page.check('#walk');
        for (const [by, [first, last]] of Object.entries({ ...live, thread: distinct })) {
          await page.selectOption('#color', by);
          const points = await samples(page, 8);
          expect(points.length).toBeGreaterThan(50);
          for (const { address, color, said } of points) {
            const i = Math.floor((address - base) / 0x1000);
            const kind = kinds[i] ?? '?';
            expect(said).toContain(`${kind} 0x${(base + 0x1000 * i).toString(16)} of 4 KiB`);
            if (i === 6) expect(said).toContain('class 256, heap 2');
            const plain = colors[names[kind] ?? kind];
            expect(color, `${by}: ${said}`).toBe(kind !== 'live' ? plain : i === 1 ? first : last);
          }
        }
      },
      { colorScheme: scheme, viewport: { width: 700, height: 1000 } },
    );
  },
);

// The page draws the walks of all mallocs in the same way, so without LONG one is enough.
describe.each(long ? ['list', 'paged', 'sharded'] : ['sharded'])("%s's own view", (name) => {
  const file = scratch(`walk-${name}.html`);
  let heap: HeapData;
  beforeAll(async () => {
    const trace = scratch(`walk-${name}.trace`);
    const command = [compileProgram('traced.c'), 'threads', '3', '300'];
    await launch(resolveMalloc(name), command, { trace: `sites,snapshots=50,${trace}` });
    heap = await heapOf(trace);
    writeFileSync(file, pageOf([heap]));
  });

  /** The kind and owner of the innermost chunk around an address in the last walk. */
  const chunkAt = (address: number): { kind: string; owner: number } | undefined => {
    const { start, extent, kind, owner } = heap.columns.chunks;
    const last = start.length - (heap.facts.walks.at(-1)?.chunks ?? 0);
    for (let i = start.length - 1; i >= last; i--) {
      const [from = 0, bytes = 0, what = 0] = [start[i], extent[i], kind[i]];
      if (what >= 2 && from <= address && address < from + bytes)
        return { kind: chunkKinds[what] as string, owner: owner[i] ?? 0 };
    }
    return undefined;
  };
  const colorOf = { header: 'header', live: 'live', free: 'freed', fresh: 'never' } as const;

  test('colours and names each byte as the malloc reported it, by state and by owner', () =>
    inPage(
      file,
      async (page: Page) => {
        await scrubTo(page, heap.facts.events);
        await page.check('#walk');
        await page.focus('.map');
        for (let i = 0; i < 3; i++) await page.keyboard.press('ArrowRight');
        for (let i = 0; i < 30; i++) await page.keyboard.press('+');
        const [kinds, owners] = [new Set<string>(), new Set<string>()];
        for (let i = 0; i < 4; i++) {
          for (const by of ['state', 'thread']) {
            await page.selectOption('#color', by);
            // Every 8th of 64 bytes, from the 4th on, because no chunk begins there.
            for (const { said, color } of await samples(page, 8)) {
              const address = Number(/^0x[0-9a-f]+/.exec(said)?.[0]);
              const chunk = chunkAt(address);
              const what = chunk?.kind ?? 'fresh';
              if (chunk) expect(said).toContain(`${chunk.kind} 0x`);
              if (!(what in colorOf)) continue;
              kinds.add(what);
              const state = light[colorOf[what as keyof typeof colorOf]];
              const owner = distinct[Math.max(0, (chunk?.owner ?? 0) - 1) % 8];
              const owned = by === 'thread' && what === 'live';
              if (owned) owners.add(color);
              expect(color, said).toBe(owned ? owner : state);
            }
          }
          for (let k = 0; k < 8; k++) await page.keyboard.press('ArrowRight');
        }
        expect([...kinds]).toContain('live');
        expect(owners.size).toBeGreaterThan(0);
      },
      { viewport: { width: 700, height: 1000 } },
    ));

  test('the details of the block at the keyboard cursor name its call site', () =>
    inPage(file, async (page) => {
      await scrubTo(page, Math.floor(heap.facts.events / 2));
      await page.focus('.map');
      const { address, birth, death, stack } = heap.columns.blocks;
      for (let i = 0; i < 6; i++) {
        await page.keyboard.press('ArrowRight');
        const said = (await page.textContent('.detail')) ?? '';
        const [, at = '', by = ''] = /^(0x\w+): .*handed out by call ([\d,]+)/.exec(said) ?? [];
        const row = address.findIndex(
          (each, k) =>
            each === Number(at) &&
            birth[k] === Number(by.replaceAll(',', '')) - 1 &&
            (death[k] ?? 0) > heap.facts.events / 2 - 1,
        );
        expect(row, said).toBeGreaterThanOrEqual(0);
        const from = siteNames(heap)[stack[row] ?? 0];
        expect(from).toMatch(/\+0x|\(/);
        expect(said).toContain(`from ${from}`);
        const { threads } = heap.facts;
        expect(said).toContain(`thread ${threads[heap.columns.blocks.thread[row] ?? -1]}, from`);
      }
    }));

  test('by thread and by call site, the legend names those with most bytes', () =>
    inPage(file, async (page) => {
      const { thread, stack, size } = heap.columns.blocks;
      const { frame } = heap.columns.stacks;
      const site = stack.map((node) => frame[node] ?? 0);
      for (const [by, column, names] of [
        ['thread', thread, heap.facts.threads.map((id) => `thread ${id}`)],
        [
          'site',
          site,
          heap.facts.frames.map((each, i) => (i > 0 ? describeFrame(each) : 'unknown call site')),
        ],
      ] as const) {
        const sums = new Map<number, number>();
        for (const [i, which] of column.entries())
          sums.set(which, (sums.get(which) ?? 0) + (size[i] ?? 0));
        const most = [...sums].sort(([, a], [, b]) => b - a).slice(0, 7);
        await page.selectOption('#color', by);
        const shown = await page
          .locator('.legend span')
          .evaluateAll((all) =>
            all.map((each) => [each.textContent, each.querySelector('i')?.style.background]),
          );
        for (const [i, [which]] of most.entries()) {
          expect(shown[i]?.[0]).toBe(names[which]);
          if (i < distinct.length)
            expect(shown[i]?.[1]).toBe(`rgb(${distinct[i]?.replaceAll(' ', ', ')})`);
        }
        expect(shown.some(([text]) => /^\d+ others$/.test(text ?? ''))).toBe(sums.size > 7);
      }
    }));

  test('shows the last walk before the moment', () =>
    inPage(file, async (page) => {
      const { walks, events } = heap.facts;
      expect(walks.length).toBeGreaterThan(2);
      await page.check('#walk');
      for (const step of [0.3, 0.6, 1].map((share) => Math.floor(share * events))) {
        await scrubTo(page, step);
        await page.evaluate(
          () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),
        );
        const at = walks.findLast((walk) => walk.at <= step)?.at ?? 0;
        expect(await page.textContent('.window')).toContain(
          `as of call ${at.toLocaleString('en')}`,
        );
      }
    }));
});
