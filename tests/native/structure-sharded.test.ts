/** How sharded carves pages, keeps runs and returns memory, seen through `walk`. */
import assert from 'node:assert/strict';
import {
  type Chunk,
  type MallocLibrary,
  openMalloc,
  type Pointer,
} from '../../scripts/ffi/index.ts';
import { type Declare, isolated } from '../lib/child.ts';
import { keeps } from '../lib/keeps.ts';
import { allAre, KiB, MiB, must, resident } from '../lib/mallocs.ts';
import { randomFrom } from '../lib/random.ts';
import { at, blocksOf, lawful, reusesFreed } from '../lib/shadow.ts';

const GRANULE = 64 * KiB;
const SMALL = 32 * KiB;
const HUGE = 40 * MiB;
/** The largest distance of a large block from its run's start. */
const COLORED = 4 * KiB;
const open = (): MallocLibrary => openMalloc('sharded', { fresh: true });

const bytesOf = (walk: Chunk[], kind: string): number =>
  walk.filter((chunk) => chunk.kind === kind).reduce((sum, { extent }) => sum + extent, 0);

const spanOf = (walk: Chunk[], block: Pointer): Chunk => {
  const span = walk.find(
    ({ kind, start, extent }) =>
      kind === 'span' && start <= block && block < start + BigInt(extent),
  );
  assert.ok(span, 'no span holds the block');
  return span;
};

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A heap of many pages: in a small one, sizes share pages up to a power of two. */
function grown(): MallocLibrary {
  const m = open();
  blocksOf(m, SMALL, 400);
  return m;
}

function cases(it: Declare): void {
  it('classes: rounding up wastes less than an eighth of a block, or 16 bytes', () => {
    const m = grown();
    for (let size = 1; size <= SMALL; size += 1 + (size >> 6)) {
      const block = must(m.malloc(size));
      const waste = m.usableSize(block) - size;
      assert.ok(waste < Math.max(16, m.usableSize(block) / 8), `${waste} of ${size} bytes`);
      m.free(block);
    }
  });

  it('large blocks: rounding up wastes less than 68 KiB', () => {
    const m = open();
    for (const size of [SMALL + 1, 200_000, 1 * MiB, 1 * MiB + 1, HUGE + 5]) {
      const block = must(m.malloc(size));
      const waste = m.usableSize(block) - size;
      assert.ok(waste < GRANULE + COLORED, `${waste} of ${size} bytes`);
      m.free(block);
    }
  });

  it('pages: blocks of one class lie side by side in a span, without headers', () => {
    const m = grown();
    for (const size of [16, 48, 1000, 20_000]) {
      const blocks = blocksOf(m, size, 30);
      const walk = m.walk();
      lawful(walk);
      for (const block of blocks) {
        const [chunk, span] = [at(walk, block), spanOf(walk, block)];
        assert.equal(chunk.extent, chunk.usable, 'a header costs the user memory');
        assert.equal(chunk.extent, span.sizeClass, 'a block of another class in the span');
        assert.equal((block - span.start) % BigInt(chunk.extent), 0n, 'between two blocks');
      }
    }
  });

  it('pages: a heap that is small shares them among classes, and stays small', () => {
    const m = open();
    for (let size = 16; size <= 1024; size += 16) must(m.malloc(size));
    const spans = m.walk().filter(({ kind }) => kind === 'span');
    assert.ok(spans.length <= 16, `${spans.length} pages for 64 blocks`);
  });

  it('reuse: a freed block is the next one of its class', () => {
    const m = grown();
    blocksOf(m, 200, 100);
    reusesFreed(m);
  });

  it('give-back: pages without a live block are cached, and return to the system by trim', () => {
    const m = open();
    must(m.malloc(1000));
    const blocks = blocksOf(m, 1000, 20_000);
    for (const block of blocks) m.bytes(block, 1000).fill(1);
    const full = resident();
    const random = randomFrom(7);
    blocks.sort(() => random.below(3) - 1);
    for (const block of blocks) m.free(block);
    assert.ok(bytesOf(m.walk(), 'cached') >= 4 * MiB, 'pages are kept for a while');
    assert.equal(m.mallocTrim(0), 1);
    assert.equal(bytesOf(m.walk(), 'cached'), 0, 'a trim leaves none');
    assert.ok(full - resident() >= 15 * MiB, `only ${full - resident()} bytes went back`);
    assert.equal(m.stats().liveBlocks, 1);
    assert.deepEqual(m.check(), []);
  });

  it('give-back: what nobody wanted for some time goes while small calls go on', async () => {
    const m = open();
    const idle = must(m.malloc(3 * MiB));
    m.bytes(idle, 3 * MiB).fill(1);
    m.free(idle);
    assert.ok(bytesOf(m.walk(), 'cached') >= 3 * MiB, 'it is kept for a while');
    for (let i = 0; i < 50 && bytesOf(m.walk(), 'cached') > MiB; i++) {
      for (let call = 0; call < 8192; call++) m.free(must(m.malloc(100)));
      await sleep(100);
    }
    assert.ok(bytesOf(m.walk(), 'cached') <= MiB, 'idle memory stays');
  });

  it('give-back: what is used of a run now and then does not keep the rest of it', async () => {
    const m = open();
    m.free(must(m.malloc(20 * MiB)));
    for (let i = 0; i < 40; i++) {
      await sleep(100);
      m.free(must(m.malloc(300 * KiB))); // out of the idle run, and back into it
    }
    const left = bytesOf(m.walk(), 'cached');
    assert.ok(left <= MiB, `${left} bytes stay, of which nobody wanted more than 300 KiB`);
  });

  it('large blocks: a freed one is used again as it is, and calloc still hands out zeroes', () => {
    const m = open();
    for (const size of [100 * KiB, 3 * MiB]) {
      const block = must(m.malloc(size));
      must(m.malloc(16 * KiB));
      m.bytes(block, size).fill(9);
      m.free(block);
      const again = must(m.calloc(1, size));
      assert.equal(again, block);
      assert.ok(allAre(m, again, size, 0), 'calloc is not zero');
    }
  });

  it('large blocks: neighbours that are free become one', () => {
    const m = open();
    const blocks = blocksOf(m, MiB, 3).sort();
    must(m.malloc(MiB));
    for (const i of [0, 2, 1]) m.free(blocks[i] as Pointer);
    const one = must(m.malloc(3 * MiB));
    assert.equal(
      spanOf(m.walk(), one).start / BigInt(GRANULE),
      (blocks[0] as Pointer) / BigInt(GRANULE),
    );
    assert.deepEqual(m.check(), []);
  });

  it('large blocks: realloc grows where there is room, and gives the end back', () => {
    const m = open();
    const block = must(m.malloc(MiB));
    m.bytes(block, MiB).fill(3);
    assert.equal(m.realloc(block, 1.5 * MiB), block, 'nothing stood behind it');
    assert.ok(allAre(m, block, MiB, 3));
    assert.equal(m.realloc(block, 200 * KiB), block);
    assert.ok(m.usableSize(block) < 200 * KiB + GRANULE, 'the end was not given back');
    assert.ok(allAre(m, block, 200 * KiB, 3));
    assert.deepEqual(m.check(), []);
  });

  it('huge blocks: a mapping each, gone when freed', () => {
    const m = open();
    m.free(must(m.malloc(1)));
    const { mapped } = m.stats();
    const blocks = blocksOf(m, HUGE, 3);
    const more = m.stats().mapped - mapped;
    assert.ok(more >= 3 * HUGE && more <= 3 * (HUGE + GRANULE), `${more} bytes more are mapped`);
    lawful(m.walk());
    for (const block of blocks) m.free(block);
    assert.equal(m.stats().mapped, mapped);
  });

  it('huge blocks: realloc moves pages, not bytes: a sparse block stays sparse', () => {
    const m = open();
    let block = must(m.calloc(1, 256 * MiB));
    m.bytes((block + BigInt(100 * MiB)) as Pointer, 1).fill(42);
    const wall = must(m.malloc(256 * MiB)); // so that growing in place is not always possible
    const before = resident();
    for (const size of [512, 1024, 2048, 300]) block = must(m.realloc(block, size * MiB));
    assert.ok(resident() - before < 16 * MiB, `${resident() - before} bytes were touched`);
    assert.equal(m.bytes((block + BigInt(100 * MiB)) as Pointer, 1)[0], 42);
    m.free(wall);
    m.free(block);
    assert.deepEqual(m.check(), []);
  });

  it('realloc: within its class a block stays where it is; one that shrinks far moves', () => {
    const m = grown();
    const block = must(m.malloc(100));
    const usable = m.usableSize(block);
    assert.equal(m.realloc(block, usable), block);
    assert.equal(m.realloc(block, usable - 5), block);
    for (const size of [1 * KiB, 100 * KiB, 8 * MiB]) {
      const small = must(m.realloc(must(m.malloc(size)), 16));
      assert.ok(m.usableSize(small) <= size / 2, `${m.usableSize(small)} bytes kept for 16`);
    }
  });

  it('aligned blocks cost little more than their size or their alignment', () => {
    const m = grown();
    for (const alignment of [32, 256, 4 * KiB, GRANULE, 1 * MiB]) {
      const block = must(m.memalign(alignment, 100));
      const { extent } = at(m.walk(), block);
      assert.equal(block % BigInt(alignment), 0n);
      assert.ok(
        extent <= Math.max(2 * alignment, GRANULE),
        `${extent} bytes for 100 at ${alignment}`,
      );
      m.free(block);
    }
    assert.deepEqual(m.check(), []);
  });

  it('check names a free block that was written to, at any of its first 8 bytes', () => {
    const m = grown();
    for (const size of [16, 100, 20_000]) {
      const blocks = blocksOf(m, size, 40);
      const victim = blocks[20] as Pointer;
      m.free(victim);
      for (let i = 0; i < 8; i++) {
        const byte = m.bytes((victim + BigInt(i)) as Pointer, 1);
        byte[0] = (byte[0] as number) ^ 0x40;
        const found = m.check().join('\n');
        assert.match(found, new RegExp(`0x${victim.toString(16)}\\b`), `byte ${i} of ${size}`);
        byte[0] = (byte[0] as number) ^ 0x40;
        assert.deepEqual(m.check(), [], `byte ${i} of ${size}, put right again`);
      }
      for (const block of blocks) if (block !== victim) m.free(block);
    }
  });

  it(
    'other threads: once they have ended, walk and stats know every block of theirs',
    () => keeps('sharded', 'threads-left', { args: [30] }),
    { timeout: 90 },
  );

  it(
    'other threads: what they freed comes back in order',
    () => keeps('sharded', 'remote-order', { args: [1000, 6] }),
    { timeout: 60 },
  );

  it(
    'other threads: a page that they empty is forgotten by its owner before its record is used again',
    () => keeps('sharded', 'sharded-fresh'),
    { timeout: 60 },
  );

  it(
    'arenas: where one fills the gap between two, every block behind it is still known',
    () => keeps('sharded', 'sharded-between', { flags: ['-rdynamic'] }),
    { timeout: 60 },
  );

  it(
    'huge blocks: a mapping that the kernel refuses to unmap goes back later',
    () => keeps('sharded', 'exhaustion-mappings', { args: [12, 34 * MiB - 8 * KiB, 3] }),
    { timeout: 240 },
  );
}

await isolated(import.meta.url, 'sharded', cases);
