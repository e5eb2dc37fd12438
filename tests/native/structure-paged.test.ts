/** How paged carves spans, reuses blocks and returns memory, seen through `walk`. */
import assert from 'node:assert/strict';
import { type MallocLibrary, openMalloc, type Pointer } from '../../scripts/ffi/index.ts';
import { type Declare, isolated } from '../lib/child.ts';
import { allAre, KiB, MiB, must, resident } from '../lib/mallocs.ts';
import { randomFrom } from '../lib/random.ts';
import { at, blocksOf, regions, reusesFreed } from '../lib/shadow.ts';

const LARGEST_CLASS = 128 * KiB;
const open = (): MallocLibrary => openMalloc('paged', { fresh: true });

function cases(it: Declare): void {
  it('classes: rounding up wastes at most a fifth of a block, or 16 bytes', () => {
    const m = open();
    for (let size = 1; size <= LARGEST_CLASS; size += 1 + (size >> 6)) {
      const block = must(m.malloc(size));
      const waste = m.usableSize(block) - size;
      assert.ok(waste <= Math.max(16, m.usableSize(block) / 5), `${waste} of ${size} bytes`);
      m.free(block);
    }
  });

  it('large blocks: rounding up wastes less than 64 KiB', () => {
    const m = open();
    for (const size of [LARGEST_CLASS + 1, 200_000, 1 * MiB, 1 * MiB + 1, 33 * MiB + 5]) {
      const block = must(m.malloc(size));
      assert.ok(
        m.usableSize(block) - size < 64 * KiB,
        `${m.usableSize(block)} usable bytes for ${size}`,
      );
      m.free(block);
    }
  });

  it('spans: blocks of one class lie side by side in a span, without headers', () => {
    const m = open();
    const blocks = blocksOf(m, 48, 100).sort();
    const walk = m.walk();
    const chunk = at(walk, blocks[0] as Pointer);
    assert.equal(chunk.extent, chunk.usable, 'a header costs the user memory');
    for (const [i, block] of blocks.entries())
      assert.equal(block, (blocks[0] as bigint) + BigInt(i * chunk.extent));
    const span = walk.find(
      ({ kind, start, extent }) =>
        kind === 'span' && start <= chunk.start && chunk.start < start + BigInt(extent),
    );
    assert.ok(span, 'no span holds the blocks');
    assert.equal(span.sizeClass, chunk.usable);
  });

  it('reuse: a freed block is the next one of its class', () => reusesFreed(open()));

  it('give-back: spans without a live block return to the system, whatever the order of frees', () => {
    const m = open();
    must(m.malloc(1000));
    const before = m.stats().mapped;
    const blocks = blocksOf(m, 1000, 20_000);
    assert.ok(m.stats().mapped - before >= 20_000 * 1000);
    const random = randomFrom(7);
    blocks.sort(() => random.below(3) - 1);
    for (const block of blocks) m.free(block);
    assert.ok(m.stats().mapped - before <= 2 * MiB, `${m.stats().mapped - before} bytes kept`);
    m.mallocTrim(0);
    assert.ok(
      m.stats().mapped <= before + 64 * KiB,
      `${m.stats().mapped - before} bytes kept after a trim`,
    );
    assert.deepEqual(m.check(), []);
  });

  it('hysteresis: a class keeps one empty span, until it is trimmed', () => {
    const m = open();
    m.free(must(m.malloc(3000)));
    const kept = regions(m);
    assert.equal(kept.length, 1, 'the empty span is kept');
    for (let i = 0; i < 100; i++) m.free(must(m.malloc(3000)));
    assert.deepEqual(regions(m), kept, 'and used again');
    assert.equal(m.mallocTrim(0), 1);
    assert.deepEqual(m.walk(), []);
    assert.equal(m.mallocTrim(0), 0);
  });

  it('large blocks: a mapping each, gone when freed', () => {
    const m = open();
    m.free(must(m.malloc(1)));
    const before = m.stats().mapped;
    const blocks = blocksOf(m, 3 * MiB, 4);
    assert.ok(
      m.stats().mapped - before <= 4 * (3 * MiB + 128 * KiB),
      'a large block costs much more than itself',
    );
    for (const block of blocks) m.free(block);
    assert.equal(m.stats().mapped, before);
  });

  it('large blocks: realloc moves pages, not bytes: a sparse block stays sparse', () => {
    const m = open();
    let block = must(m.calloc(1, 256 * MiB));
    const middle = 100 * MiB;
    m.bytes((block + BigInt(middle)) as Pointer, 1).fill(42);
    const wall = must(m.malloc(256 * MiB)); // so that growing in place is not always possible
    const before = resident();
    for (const size of [512, 1024, 2048, 64]) block = must(m.realloc(block, size * MiB));
    assert.ok(resident() - before < 16 * MiB, `${resident() - before} bytes were touched`);
    block = must(m.realloc(block, 300 * MiB));
    m.free(wall);
    m.free(block);
    assert.deepEqual(m.check(), []);
  });

  it('large blocks: shrinking gives the end back', () => {
    const m = open();
    const block = must(m.malloc(32 * MiB));
    m.bytes(block, MiB).fill(8);
    const before = m.stats().mapped;
    const small = must(m.realloc(block, 1 * MiB));
    assert.ok(before - m.stats().mapped >= 30 * MiB);
    assert.ok(allAre(m, small, MiB, 8));
  });

  it('realloc: within its class a block stays where it is', () => {
    const m = open();
    const block = must(m.malloc(100));
    const usable = m.usableSize(block);
    assert.equal(m.realloc(block, usable), block);
    assert.equal(m.realloc(block, usable - 5), block);
  });

  it('realloc: a block that shrinks far does not keep its old size', () => {
    const m = open();
    for (const size of [1 * KiB, 100 * KiB, 8 * MiB]) {
      const block = must(m.malloc(size));
      m.bytes(block, 16).fill(6);
      const small = must(m.realloc(block, 16));
      assert.ok(
        m.usableSize(small) <= size / 2,
        `${m.usableSize(small)} of ${size} bytes kept for 16`,
      );
      assert.ok(allAre(m, small, 16, 6));
    }
    assert.equal(m.stats().liveBlocks, 3);
  });

  it('aligned blocks cost little more than their size or their alignment', () => {
    const m = open();
    for (const alignment of [32, 256, 4 * KiB, 64 * KiB, 1 * MiB]) {
      const block = must(m.memalign(alignment, 100));
      const chunk = at(m.walk(), block);
      assert.ok(
        chunk.extent <= Math.max(2 * alignment, 128 * KiB),
        `${chunk.extent} bytes for 100 at ${alignment}`,
      );
      m.free(block);
    }
    assert.deepEqual(m.check(), []);
  });
}

await isolated(import.meta.url, 'paged', cases);
