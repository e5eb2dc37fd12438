// `libmalloc view`: what it keeps of a trace is exact, whatever its length; it reports damage.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../scripts/lib/errors.ts';
import { root } from '../../scripts/lib/paths.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import { describe as describeFrame } from '../../scripts/view/calltree.ts';
import { type HeapData, NEVER, pack, unpack } from '../../scripts/view/data.ts';
import { gather } from '../../scripts/view/gather.ts';
import { heapPicture } from '../../scripts/view/heap-picture.ts';
import { Keeper } from '../../scripts/view/keeper.ts';
import { HeapModel } from '../../scripts/view/model.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { bytesIn, type Call, liveAfter, randomCalls, writeTrace } from '../lib/handmade.ts';
import { need } from '../lib/need.ts';
import { attributesIn } from '../lib/svg.ts';

async function gathered(calls: readonly Call[], keeper?: Keeper): Promise<HeapData> {
  const trace = openTrace(writeTrace(scratch('gathered.trace'), calls));
  try {
    return await gather(trace, keeper && { keeper });
  } finally {
    trace.close();
  }
}

describe('the data gathered from a trace', () => {
  const calls = randomCalls(3000);

  test('has the right numbers after every call', async () => {
    const { facts, columns } = await gathered(calls);
    const real = calls.filter(({ op }) => op !== 'footprint');
    expect(facts).toMatchObject({ malloc: 'toy', command: 'toy --play', pid: 4711, every: 1 });
    expect(facts.events).toBe(real.length);
    expect(facts.allocations).toBe(real.filter(({ op }) => op === 'malloc').length);
    const expected = Array.from({ length: real.length + 1 }, (_, i) => liveAfter(calls, i));
    expect([...columns.stops.bytes]).toEqual(expected.map(bytesIn));
    expect([...columns.stops.blocks]).toEqual(expected.map((live) => live.size));
    expect(facts.peakBytes).toBe(Math.max(...columns.stops.bytes));
    expect(columns.stops.bytes[facts.peakAt]).toBe(facts.peakBytes);
  });

  test('has the live blocks and their addresses at each position', async () => {
    const model = new HeapModel(await gathered(calls));
    for (const position of [0, 1, 500, 1999, model.facts.events]) {
      const live = liveAfter(calls, position);
      const shown = new Map<number, number>();
      for (let i = 0; i < model.blocks; i++)
        if (model.isLive(i, position)) shown.set(model.block(i).address, model.block(i).size);
      expect(shown).toEqual(live);
      const grain = 4096;
      const { live: painted } = model.paint(position, 0, grain, Math.ceil(model.extent / grain));
      expect(painted.reduce((sum, bytes) => sum + bytes, 0)).toBeCloseTo(bytesIn(live), 0);
      for (const [address, size] of live) {
        const found = model.blockAt(model.placeOf(address + size - 1), position);
        expect(found !== undefined && model.block(found).address).toBe(address);
      }
    }
  });

  test('is exact at the remaining positions when it is thinned, and small', async () => {
    const data = await gathered(calls, new Keeper(calls.length, 64, 10_000));
    const { every, events } = data.facts;
    expect(every).toBeGreaterThan(32);
    const model = new HeapModel(data);
    expect(model.count).toBeLessThanOrEqual(66);
    for (let stop = 0; stop < model.count; stop++) {
      const position = model.positionOf(stop);
      const live = liveAfter(calls, position);
      expect(model.stops.bytes[stop]).toBe(bytesIn(live));
      let sum = 0;
      for (let i = 0; i < model.blocks; i++)
        if (model.isLive(i, position)) sum += model.block(i).size;
      expect(sum).toBe(bytesIn(live));
    }
    expect(model.positionOf(model.count - 1)).toBe(events);
  });

  test('blurs small blocks when there are too many, and loses none of their bytes', async () => {
    const many = Array.from({ length: 3000 }, (_, i): Call => {
      return { op: 'malloc', address: 0x200000000 + 512 * i, size: 100 + (i % 300) };
    });
    const data = await gathered(many, new Keeper(many.length, 64, 500));
    expect(data.columns.blocks.address.length).toBeLessThanOrEqual(500);
    expect(data.facts.blurred + data.columns.blocks.address.length).toBe(3000);
    const model = new HeapModel(data);
    const { live } = model.paint(3000, 0, 65_536, Math.ceil(model.extent / 65_536));
    const painted = live.reduce((sum, bytes) => sum + bytes, 0);
    expect(Math.abs(painted / bytesIn(liveAfter(many, 3000)) - 1)).toBeLessThan(0.02);
  });

  test('is the same after packing and unpacking, NEVER included', async () => {
    const data = await gathered(calls);
    expect(data.columns.blocks.death).toContain(NEVER);
    expect(unpack(pack(data))).toEqual(data);
  });

  test('counts wrong frees of a program, and all else correctly', async () => {
    const wild: Call[] = [
      { op: 'free', address: 0x1234 },
      { op: 'malloc', address: 0x4000, size: 10 },
      { op: 'malloc', address: 0x4000, size: 20 },
      { op: 'free', address: 0x4000 },
      { op: 'free', address: 0x4000 },
    ];
    expect((await gathered(wild)).facts).toMatchObject({
      strays: 2,
      overlaps: 1,
      events: 5,
      peakBytes: 20,
    });
  });
});

describe('a call site is', () => {
  const sitesOf = async (flags: string[], gone = false): Promise<string[]> => {
    need('addr2line');
    const program = scratch(`sketch${flags.join('')}`);
    copyFileSync(compileProgram('sketch.c', { flags }), program);
    chmodSync(program, 0o755);
    const file = scratch('sites.trace');
    rmSync(file, { force: true });
    await launch(resolveMalloc('glibc'), [program], { trace: `sites,${file}` });
    if (gone) rmSync(program);
    const trace = openTrace(file);
    try {
      const { frames } = (await gather(trace)).facts;
      return frames.map(describeFrame).sort();
    } finally {
      trace.close();
    }
  };
  const source = readFileSync(join(root, 'tests', 'programs', 'sketch.c'), 'utf8').split('\n');
  const lines = source.flatMap((text, i) => (text.includes('malloc(') ? [i + 1] : []));

  test.each(['-no-pie', '-pie'])('a function and a line (%s)', async (flag) => {
    expect(await sitesOf([flag])).toEqual(['', ...lines.map((n) => `main (sketch.c:${n})`)]);
  });

  test('a function if there are no lines; a place in the file if it is stripped or gone', async () => {
    expect(new Set(await sitesOf(['-g0']))).toEqual(new Set(['', 'main (sketch-g0)']));
    for (const sites of [await sitesOf(['-s']), await sitesOf(['-pie'], true)]) {
      expect(sites).toHaveLength(lines.length + 1);
      for (const site of sites.slice(1)) expect(site).toMatch(/^sketch-\w+\+0x[0-9a-f]+$/);
    }
  });
});

test('a picture is an SVG with the figures of the moment with most live bytes', async () => {
  const calls = randomCalls(2000);
  const data = await gathered(calls);
  const svg = heapPicture([data, data]);
  const { peakAt, events } = data.facts;
  expect(svg).toMatch(/^<svg .*<\/svg>\n$/s);
  expect(svg.match(/after [\d,]+ of/g)).toHaveLength(2);
  const words = `after ${peakAt.toLocaleString('en')} of ${events.toLocaleString('en')} calls`;
  expect(svg).toContain(`${liveAfter(calls, peakAt).size.toLocaleString('en')} blocks`);
  expect(svg).toContain(words);
  // Its time line is marked there: 876 pixels from 12 on.
  const mark = attributesIn(svg, 'path[stroke]')[0]?.d ?? '';
  expect(Number(/^M([\d.]+) \d+v56$/.exec(mark)?.[1])).toBeCloseTo(12 + (876 * peakAt) / events, 0);
});

test('the time lines of a picture have one scale: half as many bytes are half as high', async () => {
  const one: Call[] = [{ op: 'malloc', address: 0x100000000, size: 4096 }];
  const two: Call[] = [...one, { op: 'malloc', address: 0x100001000, size: 4096 }];
  const svg = heapPicture([await gathered(one), await gathered(two)]);
  const tops = attributesIn(svg, 'path[fill="#4269d0"]:not([fill-opacity])').map(({ d = '' }) => {
    const [base = 0, ...heights] = [...d.matchAll(/ ([\d.]+)/g)].map(([, y]) => Number(y));
    return base - Math.min(...heights);
  });
  expect(tops).toEqual([28, 56]);
});

test('the map of a picture shows its moment: live, freed and never used', async () => {
  const base = 0x100000000;
  const made = (at: number, size: number): Call => ({ op: 'malloc', address: base + at, size });
  const ended = (at: number): Call => ({ op: 'free', address: base + at });
  // Most is live when the second page has been freed and the fourth not been used.
  const calls = [
    made(0, 4096),
    made(0x1000, 4096),
    ended(0x1000),
    made(0x2000, 4096),
    made(0x4000, 4096),
    ended(0x2000),
    ended(0x4000),
    made(0x5000, 4096),
  ];
  const svg = heapPicture([await gathered(calls)]);
  const area = (color: string): number =>
    attributesIn(svg, `path[fill="${color}"]`)
      .flatMap(({ d = '' }) => [...d.matchAll(/h(\d+)v8h/g)])
      .reduce((sum, [, width]) => sum + Number(width), 0);
  const page = (4096 / 16) * 2;
  expect([area('#4269d0'), area('#f3c9a5'), area('#eef1f4')]).toEqual([3 * page, page, page * 2]);
});

test('the time line includes the most live bytes between two positions', async () => {
  const burst = (i: number): Call[] => [
    { op: 'malloc', address: 0x1000 * (i + 1), size: 3000 - i },
    { op: 'free', address: 0x1000 * (i + 1) },
  ];
  const calls = Array.from({ length: 1000 }, (_, i) => burst(i)).flat();
  const { facts, columns } = await gathered(calls, new Keeper(calls.length, 51, 10_000));
  const { bytes, over } = columns.stops;
  expect(facts.every).toBeGreaterThan(32);
  expect(Math.max(...bytes)).toBe(0);
  const most = bytes.map((live, i) => live + (over[i] ?? 0));
  const expected = Array.from(bytes, (_, stop) => {
    const before = Math.min(stop * facts.every, calls.length);
    const from = Math.max(0, (stop - 1) * facts.every);
    const sizes = calls.slice(from, before).map(({ size = 0 }) => size);
    return Math.max(0, ...sizes);
  });
  expect([...most]).toEqual(expected);
  expect([...(await gathered(calls)).columns.stops.over].every((each) => each === 0)).toBe(true);
});

describe('the command', () => {
  const view = (...args: string[]) => libmalloc(['view', ...args]);

  test('writes page, pictures and figures', async () => {
    const file = writeTrace(scratch('small.trace'), randomCalls(1000));
    const [page, svg, png] = [scratch('p.html'), scratch('p.svg'), scratch('p.png')];
    const args = [file, '-o', page, '--svg', svg, '--png', png, '--json', '-'];
    const { status, stdout, stderr } = await view(...args);
    expect(status, stderr).toBe(0);
    const { schema, heaps } = JSON.parse(stdout);
    expect(schema).toBe('libmalloc/view/1');
    expect(heaps[0].events).toBe(randomCalls(1000).filter(({ op }) => op !== 'footprint').length);
    const html = readFileSync(page, 'utf8');
    expect(html).toMatch(/^<!doctype html>/);
    expect(html.match(/(src|href)=|https?:(?!\/\/www\.w3\.org)|@import/g), 'offline').toBeNull();
    expect(readFileSync(svg, 'utf8')).toMatch(/^<svg /);
    expect(readFileSync(png).subarray(1, 4).toString()).toBe('PNG');
  });

  test('shows what is left of a cut trace, and says that it is cut', async () => {
    const file = writeTrace(scratch('cut.trace'), randomCalls(10_000));
    truncateSync(file, statSync(file).size - 70_000);
    const { status, stdout, stderr } = await view(file, '--json', '-');
    expect(status).toBe(0);
    const [heap] = JSON.parse(stdout).heaps;
    expect(heap.events).toBeGreaterThan(3000);
    expect(heap.events).toBeLessThan(9000);
    expect(heap.damage.join()).toMatch(/cut/);
    expect(stderr).toContain('cut.trace: cut');
  });

  test('says of a stripped program once, for all its processes, that it has no names', async () => {
    const [program, file] = [scratch('bare'), scratch('bare.trace')];
    copyFileSync(compileProgram('traced.c', { flags: ['-s'] }), program);
    chmodSync(program, 0o755);
    rmSync(file, { force: true });
    await launch(resolveMalloc('glibc'), [program, 'fork'], { trace: `sites,${file}` });
    const { stderr } = await view(file, '-o', scratch('bare.html'));
    expect(stderr.match(/bare has neither debug information nor symbols/g)).toHaveLength(1);
  });

  test('shows a trace of version 2 like a current one, without callers', async () => {
    const bytes = readFileSync(writeTrace(scratch('new.trace'), randomCalls(500)));
    bytes.writeUInt32LE(2, 8);
    writeFileSync(scratch('old.trace'), bytes);
    const trace = openTrace(scratch('old.trace'));
    const { facts, columns } = await gather(trace);
    trace.close();
    const today = await gathered(randomCalls(500));
    expect(facts.known).toBe('nothing');
    expect(facts.damage).toEqual([]);
    expect(columns).toEqual(today.columns);
  });

  test('refuses a file that is no trace, with the reason and status 125', async () => {
    const refused = async (content: Uint8Array | string, process?: number): Promise<string> => {
      writeFileSync(scratch('refused'), content);
      try {
        const trace = openTrace(scratch('refused'));
        await gather(trace, { process });
      } catch (error) {
        if (error instanceof Failure) return `${error.message}: ${error.hint}`;
        throw error;
      }
      throw new Error('not refused');
    };
    const whole = readFileSync(writeTrace(scratch('whole.trace'), randomCalls(10)));
    const newer = Buffer.from(whole);
    newer.writeUInt32LE(99, 8);
    expect(await refused('hello, world')).toContain('is not a trace');
    expect(await refused(newer)).toContain('version 99');
    expect(await refused(readFileSync(writeTrace(scratch('none.trace'), [])))).toContain(
      'has no call',
    );
    expect(await refused(whole, 9)).toContain('no process 9: there are: 1 (toy)');
    writeFileSync(scratch('empty'), '');
    const { status, stderr } = await view(scratch('empty'), '-o', scratch('never.html'));
    expect([status, stderr]).toEqual([125, expect.stringContaining('is empty')]);
    expect(existsSync(scratch('never.html'))).toBe(false);
  });

  test('never crashes on flipped bits', async () => {
    const whole = readFileSync(writeTrace(scratch('flip.trace'), randomCalls(2000)));
    for (let seed = 1; seed <= 60; seed++) {
      const broken = Buffer.from(whole);
      const at = (seed * 7919 * 31) % broken.length;
      // Flips every other bit in the head of a segment, where it does most damage.
      const place = seed % 2 ? at : Math.floor(at / 65_536) * 65_536 + (seed % 64);
      broken[place] = (broken[place] ?? 0) ^ (1 << (seed % 8));
      writeFileSync(scratch('flipped.trace'), broken);
      try {
        const trace = openTrace(scratch('flipped.trace'));
        try {
          heapPicture([await gather(trace)]);
        } finally {
          trace.close();
        }
      } catch (error) {
        expect((error as Error).name, `seed ${seed}: ${(error as Error).stack}`).toBe('Failure');
      }
    }
  });
});
