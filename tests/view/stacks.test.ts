// Who allocated, according to `view`: every figure of every stack equals a plain count.

import { describe, expect, test } from 'vitest';
import { openTrace, type TraceProcess } from '../../scripts/trace/trace.ts';
import { addressesOf, select, treeOf } from '../../scripts/view/callers.ts';
import { CallTree } from '../../scripts/view/calltree.ts';
import type { HeapData, StackFigure } from '../../scripts/view/data.ts';
import { gather } from '../../scripts/view/gather.ts';
import { Keeper } from '../../scripts/view/keeper.ts';
import { HeapModel } from '../../scripts/view/model.ts';
import { commandOf, nameOf, startersOf } from '../../scripts/view/starters.ts';
import { chosenOverTime, less, type What, weigh } from '../../scripts/view/weights.ts';
import { scratch } from '../lib/folder.ts';
import { type Call, type Node, randomCalls, writeTrace } from '../lib/handmade.ts';

// Two roots; 4 and 6 are one function with different callers.
const nodes: Node[] = [
  { address: 0x1000, parent: 0 },
  { address: 0x2000, parent: 1 },
  { address: 0x3000, parent: 1 },
  { address: 0x4000, parent: 2 },
  { address: 0x5000, parent: 3 },
  { address: 0x4000, parent: 5 },
  { address: 0x6000, parent: 0 },
];
const calls: Call[] = randomCalls(3000).map((call, i) =>
  call.op === 'malloc' ? { ...call, stack: (5 * i + (i >> 3)) % 8 } : call,
);
const real = calls.filter(({ op }) => op !== 'footprint');

async function gathered(list: readonly Call[], keeper?: Keeper): Promise<HeapData> {
  const trace = openTrace(writeTrace(scratch('stacks.trace'), list, 'libmalloc-toy.so', nodes));
  try {
    return await gather(trace, keeper && { keeper });
  } finally {
    trace.close();
  }
}

interface Sum {
  bytes: number;
  blocks: number;
}

/** A plain count, by stack, of the blocks that are live after `events` calls. */
function liveByStack(list: readonly Call[], events: number): Map<number, Sum> {
  const live = new Map<number, Call>();
  for (const call of list.slice(0, events)) {
    if (call.op === 'malloc') live.set(call.address ?? 0, call);
    else live.delete(call.address ?? 0);
  }
  return byStack([...live.values()]);
}

function byStack(blocks: readonly Call[]): Map<number, Sum> {
  const sums = new Map<number, Sum>();
  for (const { stack = 0, size = 0 } of blocks) {
    const sum = sums.get(stack) ?? { bytes: 0, blocks: 0 };
    sums.set(stack, { bytes: sum.bytes + size, blocks: sum.blocks + 1 });
  }
  return sums;
}

/** The addresses of a stack, outermost first, as the names that the tree gives them. */
const pathOf = (stack: number): string[] => {
  const node = nodes[stack - 1];
  return node ? [...pathOf(node.parent), `0x${node.address.toString(16)}`] : [];
};

/** By path, so that it can be compared with a tree. */
const byPath = (sums: Map<number, Sum>): Map<string, Sum> =>
  new Map([...sums].map(([stack, sum]) => [pathOf(stack).join(' '), sum]));

/** The sums of a column, or of weights, by path; without paths that have no block. */
function saidByPath(model: HeapModel, bytes: Float64Array, blocks: Float64Array) {
  const tree = new CallTree(model, true);
  const found = new Map<string, Sum>();
  for (const [i, count] of blocks.entries()) {
    if (count === 0) continue;
    const path = tree.pathOf(tree.of[i] ?? 0).map((node) => tree.nameOf(node));
    found.set(path.join(' '), { bytes: bytes[i] ?? 0, blocks: count });
  }
  return found;
}

/** Blocks that their thread frees before it allocates again; there is one thread, and no realloc. */
function shortLived(list: readonly Call[]): Call[] {
  return list.filter((call, i) => {
    const end = list.slice(i + 1).findIndex(({ address }) => address === call.address);
    const between = list.slice(i + 1, i + 1 + Math.max(0, end));
    return call.op === 'malloc' && end >= 0 && between.every(({ op }) => op === 'free');
  });
}

describe('by stack', () => {
  test('counts exactly all blocks, those live at the peak and at the end, and those freed at once', async () => {
    const model = new HeapModel(await gathered(calls));
    const { stacks, facts } = model;
    expect(facts.known).toBe('stacks');
    const said = (name: 'all' | 'peak' | 'end' | 'short') => {
      const prefix = name === 'all' ? '' : name;
      const column = (what: string) =>
        stacks[(prefix === '' ? what.toLowerCase() : prefix + what) as StackFigure];
      return saidByPath(model, column('Bytes'), column('Blocks'));
    };
    expect(said('all')).toEqual(byPath(byStack(real.filter(({ op }) => op === 'malloc'))));
    expect(said('peak')).toEqual(byPath(liveByStack(real, facts.peakAt)));
    expect(said('end')).toEqual(byPath(liveByStack(real, real.length)));
    const short = shortLived(real);
    expect(short.length).toBeGreaterThan(5);
    expect(said('short')).toEqual(byPath(byStack(short)));
    const ended = stacks.ended.reduce((a, b) => a + b, 0);
    expect(ended).toBe(facts.releases);
    // Calls are a microsecond apart.
    const lives = stacks.ended.reduce((sum, n, i) => sum + n * (stacks.life[i] ?? 0), 0);
    const birth = new Map<number, number>();
    let expected = 0;
    for (const [i, { op, address = 0 }] of calls.entries()) {
      if (op === 'malloc') birth.set(address, i);
      if (op === 'free') expected += 1000 * (i - (birth.get(address) ?? 0));
    }
    expect(Math.abs(lives / expected - 1)).toBeLessThan(1e-5);
  });

  test('counts exactly what is live at a position, and what grew between two', async () => {
    const model = new HeapModel(await gathered(calls));
    const at = (what: What, position: number, mark = 0) => {
      const { bytes, blocks } = weigh(model, what, position, mark);
      return saidByPath(model, bytes, blocks);
    };
    for (const position of [0, 1, 700, 2100, real.length])
      expect(at('live', position)).toEqual(byPath(liveByStack(real, position)));
    const [before, after] = [liveByStack(real, 700), liveByStack(real, 2100)];
    for (const [path, { bytes, blocks }] of at('grown', 2100, 700)) {
      const stack = [...after.keys()].find((each) => pathOf(each).join(' ') === path) ?? -1;
      const more = (name: 'bytes' | 'blocks') =>
        Math.max(0, (after.get(stack)?.[name] ?? 0) - (before.get(stack)?.[name] ?? 0));
      expect([bytes, blocks]).toEqual([more('bytes'), more('blocks')]);
    }
    expect(at('grown', 700, 2100)).toEqual(at('grown', 2100, 700));
  });

  test('blurred blocks keep their stacks', async () => {
    const many = Array.from({ length: 3000 }, (_, i): Call => {
      return { op: 'malloc', address: 0x200000000 + 512 * i, size: 100, stack: 1 + (i % 7) };
    });
    const model = new HeapModel(await gathered(many, new Keeper(many.length, 64, 500)));
    expect(model.facts.blurred).toBeGreaterThan(2000);
    const { bytes, blocks } = weigh(model, 'live', 3000, 0);
    const frame = model.facts.density.frames.at(-1) ?? 0;
    const expected = byPath(liveByStack(many, Math.min(3000, frame)));
    for (const [path, sum] of saidByPath(model, bytes, blocks))
      expect(Math.abs(sum.blocks - (expected.get(path)?.blocks ?? 0))).toBeLessThanOrEqual(1);
    const all = chosenOverTime(model, new Uint8Array(model.stacks.parent.length).fill(1));
    expect(Math.abs((all.at(-1) ?? 0) / 300_000 - 1)).toBeLessThan(0.02);
  });

  test('a choice gets, at each stop, the live bytes of its stacks', async () => {
    for (const keeper of [undefined, new Keeper(calls.length, 64, 10_000)]) {
      const model = new HeapModel(await gathered(calls, keeper));
      const tree = new CallTree(model, false);
      const mask = tree.mask((node) => tree.nameOf(node) === '0x3000');
      const bytes = chosenOverTime(model, mask);
      for (let stop = 0; stop < model.count; stop += stop < 40 ? 1 : 97) {
        const live = liveByStack(real, model.positionOf(stop));
        const expected = [3, 5, 6].reduce((sum, i) => sum + (live.get(i)?.bytes ?? 0), 0);
        expect(bytes[stop]).toBe(expected);
      }
    }
  });
});

describe('the call tree', () => {
  test('adds callees to their callers, and counts recursion once', async () => {
    const recursive = [1, 2, 3, 4].map((i) => ({ address: 0x7000, parent: i - 1 }));
    const list = [1, 2, 4].map((stack, i): Call => {
      return { op: 'malloc', address: 0x300000000 + 4096 * i, size: 10 ** i, stack };
    });
    const file = writeTrace(scratch('deep.trace'), list, 'libmalloc-toy.so', recursive);
    const trace = openTrace(file);
    const model = new HeapModel(await gather(trace));
    trace.close();
    const tree = new CallTree(model, false);
    const { own, all } = tree.sum(weigh(model, 'all', 0, 0));
    expect([...all.bytes]).toEqual([111, 111, 110, 100, 100]);
    expect([...own.bytes]).toEqual([0, 1, 10, 0, 100]);
    expect([...tree.outermost]).toEqual([1, 1, 0, 0, 0]);
  });

  test('is thinned without losing a byte, or the function that allocated it', () => {
    const wide = Array.from({ length: 200 }, (_, i) => ({
      address: 0x1000 + 16 * (i % 50),
      parent: Math.floor(i / 3),
    }));
    const tree = {
      address: Float64Array.from([0, ...wide.map(({ address }) => address)]),
      parent: Uint32Array.from([0, ...wide.map(({ parent }) => parent)]),
      length: wide.length + 1,
    };
    const stacks = Uint32Array.from({ length: 201 }, (_, i) => i);
    const values = Float64Array.from(stacks, (i) => (i * i) % 97);
    const names = ['bytes', 'blocks', 'peakBytes', 'peakBlocks', 'endBytes', 'endBlocks'] as const;
    const others = ['shortBytes', 'shortBlocks', 'ended', 'life'] as const;
    const figures = Object.fromEntries([...names, ...others].map((name) => [name, values]));
    const selection = select(tree, stacks, figures as never, 20);
    const kept = [...selection.kept].filter((each) => each === 1).length;
    expect(kept).toBeLessThanOrEqual(20);
    expect(kept).toBeGreaterThan(10);
    for (let node = 1; node < tree.length; node++)
      if (selection.kept[node] === 1) expect(selection.kept[tree.parent[node] ?? 0]).toBe(1);
    const named = new Map(
      addressesOf(selection).map((each) => [each, [{ name: `f${each}`, place: '' }]]),
    );
    const { frames, stacks: columns, nodeOf } = treeOf(selection, named, figures as never);
    expect(columns.bytes.reduce((a, b) => a + b, 0)).toBe(values.reduce((a, b) => a + b, 0));
    expect(frames.map(({ name }) => name)).toContain('…');
    for (let stack = 1; stack < 201; stack++)
      expect(frames[columns.frame[nodeOf[stack] ?? 0] ?? 0]?.name).toBe(`f${tree.address[stack]}`);
  });

  test('finds the same paths in another trace, and by how much one exceeds the other', async () => {
    const [one, two] = [
      new HeapModel(await gathered(calls)),
      new HeapModel(await gathered(calls.slice(0, 1500))),
    ];
    const [a, b] = [new CallTree(one, false), new CallTree(two, false)];
    const match = a.matchesIn(b);
    for (const [node, other] of match.entries())
      if (node > 0 && other >= 0)
        expect(b.pathOf(other).map((each) => b.nameOf(each))).toEqual(
          a.pathOf(node).map((each) => a.nameOf(each)),
        );
    expect([...match].filter((each) => each >= 0).length).toBeGreaterThan(5);
    const more = less(
      { bytes: Float64Array.of(5, 2), blocks: Float64Array.of(1, 1) },
      { bytes: Float64Array.of(3, 9), blocks: Float64Array.of(1, 0) },
    );
    expect([[...more.bytes], [...more.blocks]]).toEqual([
      [2, 0],
      [0, 1],
    ]);
  });
});

test('processes have the names that they were started by, and the process that started them', () => {
  const process = (number: number, pid: number, more: Partial<TraceProcess>): TraceProcess => ({
    number,
    pid,
    parentPid: 0,
    parent: 0,
    pageSize: 4096,
    executable: '/usr/bin/x86_64-linux-gnu-g++-12',
    providers: [],
    command: [],
    start: 0,
    records: 1,
    ...more,
  });
  const all = [
    process(1, 10, { parentPid: 1, command: ['/usr/bin/g++', '-c', 'a.cc'] }),
    process(2, 11, { parentPid: 10, parent: 1 }),
    process(3, 11, { parentPid: 10, command: ['-as'] }),
    process(4, 12, { parentPid: 11 }),
  ];
  expect([...startersOf(all)]).toEqual([
    [1, 0],
    [2, 1],
    [3, 2],
    [4, 3],
  ]);
  expect(all.map(nameOf)).toEqual([
    'g++',
    'x86_64-linux-gnu-g++-12',
    'as',
    'x86_64-linux-gnu-g++-12',
  ]);
  expect(commandOf(all[0] as TraceProcess)).toBe('g++ -c a.cc');
});
