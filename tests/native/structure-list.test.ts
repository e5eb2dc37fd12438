/** How list splits, merges, finds and returns chunks, seen through `walk`. */
import assert from 'node:assert/strict';
import {
  type Chunk,
  type MallocLibrary,
  openMalloc,
  type Pointer,
} from '../../scripts/ffi/index.ts';
import { type Declare, isolated } from '../lib/child.ts';
import { allAre, KiB, MiB, moveBreak, must } from '../lib/mallocs.ts';
import { seeds } from '../lib/random.ts';
import { randomSequence } from '../lib/sequence.ts';
import { after, at, blocksOf, kindAfter, lawful, merged, regions } from '../lib/shadow.ts';

const HEADER = 32;
const open = (): MallocLibrary => openMalloc('list', { fresh: true });

function cases(it: Declare): void {
  it('split: a block from a larger free chunk leaves the rest free', () => {
    const m = open();
    const [hole, guard] = blocksOf(m, 1008, 2) as [Pointer, Pointer];
    m.free(hole);
    assert.equal(m.malloc(112), hole, 'first fit takes the first chunk that is large enough');
    const walk = m.walk();
    assert.equal(at(walk, hole).usable, 112);
    const rest = after(walk, at(walk, hole));
    assert.equal(rest?.kind, 'free');
    assert.equal(rest?.usable, 1008 - 112 - HEADER);
    assert.equal(after(walk, rest as Chunk)?.user, guard);
  });

  it('split: a rest too small for a header and data stays with the block', () => {
    const m = open();
    const [hole] = blocksOf(m, 1008, 2) as [Pointer];
    m.free(hole);
    assert.equal(m.malloc(1008 - HEADER), hole);
    assert.equal(m.usableSize(hole), 1008);
  });

  it('first fit: the lowest free chunk that is large enough, not the best', () => {
    const m = open();
    const [a, , b, , c] = [2000, 16, 500, 16, 1000, 16].map((size) => must(m.malloc(size)));
    for (const block of [c, b, a]) m.free(block as Pointer);
    assert.equal(m.malloc(500), a);
  });

  const orders = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ];
  for (const order of orders)
    it(`merge: three neighbours freed in the order ${order.join(' ')} become one chunk`, () => {
      const m = open();
      const blocks = blocksOf(m, 208, 4);
      for (const i of order) m.free(blocks[i] as Pointer);
      const walk = m.walk();
      const whole = at(walk, blocks[0] as Pointer);
      assert.equal(whole.kind, 'free');
      assert.equal(whole.extent, 3 * (HEADER + 208));
      assert.equal(after(walk, whole)?.user, blocks[3]);
    });

  it('give-back: the tail goes back to the system when it is large', () => {
    const m = open();
    must(m.malloc(16));
    const before = moveBreak(0);
    const big = must(m.malloc(4 * MiB));
    assert.ok(moveBreak(0) - before >= 4n * BigInt(MiB));
    m.free(big);
    assert.ok(moveBreak(0) - before < 512n * BigInt(KiB), `${moveBreak(0) - before} bytes kept`);
    assert.deepEqual(m.check(), []);
  });

  it('give-back: malloc_trim(0) returns the free tail but for the smallest chunk; a second finds nothing', () => {
    const m = open();
    const SMALLEST = HEADER + 16;
    const first = must(m.malloc(16));
    m.free(must(m.malloc(40 * KiB)));
    assert.equal(m.mallocTrim(0), 1);
    assert.ok(m.stats().mapped <= 2 * SMALLEST, `${m.stats().mapped} bytes for a block of 16`);
    assert.equal(m.mallocTrim(0), 0);
    m.free(first);
    m.mallocTrim(0);
    assert.ok(m.stats().mapped <= SMALLEST, `${m.stats().mapped} bytes for no block at all`);
    assert.ok(m.malloc(100 * KiB), 'the heap works after it was empty');
    assert.deepEqual(m.check(), []);
  });

  it('give-back: malloc_trim keeps as much slack as it was told', () => {
    const m = open();
    must(m.malloc(16));
    m.free(must(m.malloc(100 * KiB)));
    assert.equal(m.mallocTrim(50 * KiB), 1);
    const kept = m.stats().freeBytes;
    assert.ok(kept >= 50 * KiB && kept < 51 * KiB, `${kept} bytes kept`);
  });

  it('realloc: grows in place into a free neighbour, as far as it needs', () => {
    const m = open();
    const [block, hole] = blocksOf(m, 208, 3) as [Pointer, Pointer];
    m.free(hole);
    assert.equal(m.realloc(block, 304), block);
    assert.equal(m.usableSize(block), 304);
    assert.equal(kindAfter(m, block), 'free', 'the rest of the neighbour stays free');
    assert.deepEqual(m.check(), []);
  });

  it('realloc: grows in place at the end of the heap', () => {
    const m = open();
    const block = must(m.malloc(100));
    m.bytes(block, 100).fill(5);
    for (const size of [1 * KiB, 100 * KiB, 1 * MiB, 8 * MiB])
      assert.equal(m.realloc(block, size), block);
    assert.ok(allAre(m, block, 100, 5));
    assert.equal(m.stats().liveBlocks, 1);
  });

  it('realloc: shrinks in place and frees what is over', () => {
    const m = open();
    const [block, neighbour, guard] = blocksOf(m, 1008, 3) as [Pointer, Pointer, Pointer];
    m.free(neighbour);
    assert.equal(m.realloc(block, 208), block);
    const walk = m.walk();
    const rest = after(walk, at(walk, block)) as Chunk;
    assert.equal(rest.kind, 'free', 'and it merges with the free neighbour');
    assert.equal(after(walk, rest)?.user, guard);
  });

  it('aligned blocks waste nothing: what lies before and behind them stays free', () => {
    const m = open();
    must(m.malloc(16));
    const block = must(m.memalign(4096, 208));
    const walk = m.walk();
    assert.equal(at(walk, block).usable, 208, 'the block itself is no larger than asked');
    assert.equal(after(walk, at(walk, block))?.kind, 'free');
    const inFront = must(m.malloc(16));
    assert.ok(inFront < block, 'the bytes in front of the aligned block are handed out');
    m.free(block);
    assert.deepEqual(m.check(), []);
    merged(m.walk());
  });

  it('somebody else moves the break: his memory stays his, and no chunk spans it', () => {
    const m = open();
    const before = must(m.malloc(1000));
    const his = moveBreak(8 * KiB) as Pointer;
    m.bytes(his, 8 * KiB).fill(0x77);
    const blocks = blocksOf(m, 100 * KiB, 5);
    for (const block of blocks) m.bytes(block, 100 * KiB).fill(0x11);
    lawful(m.walk());
    assert.equal(regions(m).length, 2, 'his piece lies between two of ours');
    for (const block of blocks) m.free(block);
    m.free(before);
    assert.ok(allAre(m, his, 8 * KiB, 0x77), 'his memory was written to');
    lawful(m.walk());
    assert.deepEqual(m.check(), []);
  });

  it('somebody else owns the break: our tail stays, and goes back when he has gone', () => {
    const m = open();
    must(m.malloc(16));
    const big = must(m.malloc(4 * MiB));
    const end = moveBreak(4 * KiB);
    m.free(big);
    assert.equal(m.mallocTrim(0), 0, 'nothing can go back');
    assert.equal(moveBreak(0), end + BigInt(4 * KiB), 'his memory was given away');
    moveBreak(-4 * KiB);
    assert.equal(m.mallocTrim(0), 1);
    assert.ok(moveBreak(0) < end - BigInt(3 * MiB));
  });

  for (const seed of seeds(2))
    it(
      `a random sequence while somebody else moves the break (SEED=${seed})`,
      () => {
        const his: { at: Pointer; length: number }[] = [];
        const probe = openMalloc('list', { fresh: true });
        randomSequence('list', seed, (random) => {
          if (!random.oneIn(40)) return;
          const length = 1 + random.size(8 * KiB); // odd lengths, too: the break need not be aligned
          const at = moveBreak(length) as Pointer;
          probe.bytes(at, length).fill(0x77);
          his.push({ at, length });
        });
        for (const { at, length } of his)
          assert.ok(allAre(probe, at, length, 0x77), 'his memory was written to');
      },
      { timeout: 60 },
    );
}

await isolated(import.meta.url, 'list', cases);
