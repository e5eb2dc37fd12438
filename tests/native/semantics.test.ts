/** What every malloc must get right, asked of every variant through the FFI. */
import assert from 'node:assert/strict';
import {
  type MallocLibrary,
  openMalloc,
  type Pointer,
  type Size,
} from '../../scripts/ffi/index.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { type Declare, isolated } from '../lib/child.ts';
import {
  allAre,
  ENOMEM,
  firstOther,
  gap,
  impossible,
  KiB,
  largest,
  liveChunk,
  MiB,
  must,
  resident,
  SIZE_MAX,
} from '../lib/mallocs.ts';

/** Every way to ask for a block of `size` bytes, by name. */
const ways = (m: MallocLibrary): Record<string, (size: Size) => Pointer | null> => ({
  malloc: (size) => m.malloc(size),
  calloc: (size) => m.calloc(1, size),
  'calloc by bytes': (size) => m.calloc(size, 1),
  'realloc(NULL)': (size) => m.realloc(null, size),
  'reallocarray(NULL)': (size) => m.reallocarray(null, 1, size),
  'reallocarray(NULL) by bytes': (size) => m.reallocarray(null, size, 1),
  posix_memalign: (size) => m.posixMemalign(64, size).block,
  aligned_alloc: (size) => m.alignedAlloc(64, size),
  memalign: (size) => m.memalign(64, size),
  valloc: (size) => m.valloc(size),
  pvalloc: (size) => m.pvalloc(size),
});

/** Products beyond 2^64 that wrap around to something harmless, or to zero. */
const overflows: [bigint, bigint][] = [
  [1n << 32n, 1n << 32n],
  [(1n << 32n) + 1n, 1n << 32n],
  [1n << 63n, 2n],
  [2n, (1n << 63n) + 8n],
  [SIZE_MAX, SIZE_MAX],
  [3n, SIZE_MAX / 3n + 1n],
];

/** Sizes around every boundary that a malloc could have, up to what this variant serves. */
function sizesFor(variant: string): number[] {
  const around = [16, 32, 64, 128, 1 * KiB, 4 * KiB, 32 * KiB, 64 * KiB, 128 * KiB, 1 * MiB];
  const sizes = [1, 2, 7, 8, 24, 100, 1000, 5000, 100_000, 300_000, 5 * MiB];
  return [...sizes, ...around.flatMap((n) => [n - 1, n, n + 1])]
    .filter((n) => n <= largest(variant))
    .sort((a, b) => a - b);
}

function cases(variant: string, it: Declare): void {
  let opened: MallocLibrary | undefined;
  const open = (): MallocLibrary => (opened ??= openMalloc(variant));
  const sizes = sizesFor(variant);
  const unless = (
    feature: Parameters<typeof gap>[1],
    name: string,
    body: (m: MallocLibrary) => void,
  ): void => {
    const reason = gap(variant, feature);
    if (reason) it.skip(name, reason);
    else it(name, () => body(open()));
  };
  const always = (name: string, body: (m: MallocLibrary) => void): void =>
    it(name, () => body(open()));

  for (const way of Object.keys(ways(null as never))) {
    const ask = (m: MallocLibrary) => ways(m)[way] as (size: Size) => Pointer | null;

    always(`${way}: every block is aligned to 16 bytes, even one of 1 byte`, (m) => {
      for (const size of [...Array(40).keys(), ...sizes]) {
        const block = must(ask(m)(size));
        assert.equal(block % 16n, 0n, `${size} bytes at 0x${block.toString(16)}`);
        m.free(block);
      }
    });

    always(
      `${way}: a block holds what was asked for, all usable bytes of it, beside others`,
      (m) => {
        const blocks = sizes.map((size, i) => {
          const block = must(ask(m)(size));
          const usable = m.usableSize(block);
          assert.ok(usable >= size, `${usable} usable bytes for ${size}`);
          m.bytes(block, usable).fill(i + 1);
          return { block, usable };
        });
        for (const [i, { block, usable }] of blocks.entries())
          assert.ok(
            allAre(m, block, usable, i + 1),
            `block ${i} of ${usable} bytes was overwritten`,
          );
        assert.deepEqual(m.check(), []);
        for (const { block } of blocks) m.free(block);
      },
    );

    always(`${way}: the block is our heap's, not glibc's`, (m) => {
      const before = m.stats().liveBytes;
      const block = must(ask(m)(1000));
      const chunk = liveChunk(m.walk(), block);
      assert.ok(chunk, 'no live chunk of our heap holds the block');
      if (!gap(variant, 'chunks')) assert.equal(chunk.user, block);
      assert.ok(m.stats().liveBytes >= before + 1000, 'the live bytes did not grow');
      m.free(block);
      if (!gap(variant, 'chunks')) assert.equal(liveChunk(m.walk(), block), undefined);
    });

    always(`${way}: NULL with ENOMEM at PTRDIFF_MAX and beyond`, (m) => {
      for (const size of impossible) {
        m.errno(0);
        assert.equal(ask(m)(size), null, `a block of ${size} bytes`);
        if (way !== 'posix_memalign') assert.equal(m.errno(), ENOMEM, `errno for ${size} bytes`);
      }
      assert.deepEqual(m.check(), []);
    });

    always(`${way}: zero bytes are a block of their own`, (m) => {
      const blocks = Array.from({ length: 20 }, () => must(ask(m)(0)));
      assert.equal(new Set(blocks).size, blocks.length, 'two blocks at one address');
      for (const block of blocks) m.free(block);
      assert.deepEqual(m.check(), []);
    });
  }

  always('calloc and reallocarray: NULL with ENOMEM when the product overflows', (m) => {
    const block = must(m.malloc(100));
    m.bytes(block, 100).fill(9);
    for (const [count, size] of overflows) {
      m.errno(0);
      assert.equal(m.calloc(count, size), null, `calloc(${count}, ${size})`);
      assert.equal(m.errno(), ENOMEM, 'errno of calloc');
      for (const old of [null, block]) {
        m.errno(0);
        assert.equal(m.reallocarray(old, count, size), null, `reallocarray(${count}, ${size})`);
        assert.equal(m.errno(), ENOMEM, 'errno of reallocarray');
      }
    }
    assert.ok(allAre(m, block, 100, 9), 'a refused reallocarray touched the block');
    m.free(block);
  });

  always('realloc: a refusal leaves the block as it was', (m) => {
    for (const size of sizes) {
      const block = must(m.malloc(size));
      const usable = m.usableSize(block);
      m.bytes(block, usable).fill(0xa5);
      for (const wanted of impossible) {
        m.errno(0);
        assert.equal(m.realloc(block, wanted), null);
        assert.equal(m.errno(), ENOMEM);
      }
      assert.equal(m.usableSize(block), usable, 'the block has another size now');
      assert.ok(allAre(m, block, usable, 0xa5), `the block of ${size} bytes changed`);
      assert.ok(liveChunk(m.walk(), block), 'the block is not live any more');
      m.free(block);
    }
  });

  always('realloc and reallocarray: the content moves along, growing and shrinking', (m) => {
    for (const resize of [
      (block: Pointer | null, size: number) => m.realloc(block, size),
      (block: Pointer | null, size: number) => m.reallocarray(block, size, 1),
    ]) {
      let block: Pointer | null = null;
      let had = 0;
      for (const size of [
        ...sizes,
        ...sizes.toReversed(),
        ...sizes.filter((_, i) => i % 7 === 0),
      ]) {
        block = must(resize(block, size));
        assert.equal(block % 16n, 0n);
        assert.ok(m.usableSize(block) >= size);
        assert.ok(allAre(m, block, Math.min(had, size), 0x5a), `from ${had} to ${size} bytes`);
        m.bytes(block, size).fill(0x5a);
        had = size;
      }
      m.free(block);
    }
    assert.deepEqual(m.check(), []);
  });

  always(
    'realloc(p, 0) and reallocarray(p, 0, n) free the block and return NULL, as glibc',
    (m) => {
      for (const release of [
        (block: Pointer) => m.realloc(block, 0),
        (block: Pointer) => m.reallocarray(block, 0, 8),
        (block: Pointer) => m.reallocarray(block, 8, 0),
      ]) {
        const block = must(m.malloc(1000));
        assert.equal(release(block), null);
        if (gap(variant, 'chunks')) continue;
        assert.equal(liveChunk(m.walk(), block), undefined, 'the block is still live');
      }
    },
  );

  always('free, free_sized, free_aligned_sized: NULL is nothing to do', (m) => {
    m.free(null);
    m.freeSized(null, 100);
    m.freeAlignedSized(null, 64, 100);
    assert.equal(m.usableSize(null), 0);
    assert.deepEqual(m.check(), []);
  });

  always('free, free_sized, free_aligned_sized keep errno', (m) => {
    for (const size of sizes)
      for (const release of [
        (block: Pointer) => m.free(block),
        (block: Pointer) => m.freeSized(block, size),
        (block: Pointer) => m.freeAlignedSized(block, 32, size),
      ]) {
        const block = must(m.alignedAlloc(32, size));
        m.errno(1234);
        release(block);
        assert.equal(m.errno(), 1234, `a block of ${size} bytes`);
      }
  });

  unless('chunks', 'free, free_sized, free_aligned_sized take the block back', (m) => {
    for (const size of sizes)
      for (const release of [
        (block: Pointer) => m.free(block),
        (block: Pointer) => m.freeSized(block, size),
        (block: Pointer) => m.freeAlignedSized(block, 32, size),
      ]) {
        const before = m.stats();
        const block = must(m.alignedAlloc(32, size));
        assert.equal(m.stats().liveBlocks, before.liveBlocks + 1);
        release(block);
        assert.equal(m.stats().liveBlocks, before.liveBlocks);
        assert.equal(m.stats().liveBytes, before.liveBytes);
      }
  });

  always('calloc: zero, also where a freed block was full of other things', (m) => {
    const dirty = new Set<Pointer>();
    let recycled = 0;
    for (let round = 0; round < 3; round++)
      for (const size of sizes) {
        const blocks = Array.from({ length: 3 }, () => must(m.malloc(size)));
        for (const block of blocks) m.bytes(block, m.usableSize(block)).fill(0xff);
        for (const block of blocks) m.free(dirty.add(block) && block);
        const clean = must(m.calloc(size, 1));
        if (dirty.has(clean)) recycled++;
        const other = firstOther(m, clean, Math.min(size, 4 * KiB), 0);
        assert.equal(other, -1, `byte ${other} of ${size}`);
        assert.ok(allAre(m, clean, size, 0), `somewhere in ${size} bytes`);
        m.bytes(clean, size).fill(0xff);
        m.free(clean);
      }
    if (!gap(variant, 'reuse'))
      assert.ok(recycled > 0, 'no block was recycled, so nothing was tested');
  });

  unless('lazyCalloc', 'calloc does not touch memory that is fresh', (m) => {
    const before = resident();
    const block = must(m.calloc(1, 1024 * MiB));
    assert.ok(resident() - before < 16 * MiB, `${(resident() - before) / MiB} MiB were touched`);
    m.free(block);
  });

  unless(
    'reuse',
    'freed memory is handed out again: a loop of malloc and free maps nothing new',
    (m) => {
      for (const size of sizes) m.free(must(m.malloc(size)));
      const before = m.stats().mapped;
      for (let i = 0; i < 200; i++) for (const size of sizes) m.free(must(m.malloc(size)));
      assert.ok(m.stats().mapped <= before + 8 * MiB, `${m.stats().mapped - before} bytes more`);
    },
  );
}

for (const variant of variants())
  await isolated(import.meta.url, variant, (it) => cases(variant, it));
