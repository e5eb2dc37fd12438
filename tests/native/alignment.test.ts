/** The calls that take an alignment, asked of every variant through the FFI. */
import assert from 'node:assert/strict';
import { type MallocLibrary, openMalloc } from '../../scripts/ffi/index.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { type Declare, isolated } from '../lib/child.ts';
import {
  allAre,
  EINVAL,
  ENOMEM,
  impossible,
  KiB,
  largest,
  MiB,
  must,
  PAGE,
  SIZE_MAX,
} from '../lib/mallocs.ts';

function cases(variant: string, it: Declare): void {
  let opened: MallocLibrary | undefined;
  const always = (name: string, body: (m: MallocLibrary) => void): void =>
    it(name, () => {
      opened ??= openMalloc(variant);
      body(opened);
    });

  always(
    'posix_memalign: EINVAL for what is no power of two of pointers; errno and *out stay',
    (m) => {
      const other = must(m.malloc(1));
      for (const alignment of [
        0,
        1,
        2,
        3,
        4,
        7,
        12,
        24,
        40,
        48,
        96,
        4095,
        (1n << 63n) + 8n,
        SIZE_MAX,
      ]) {
        m.errno(77);
        const { error, block } = m.posixMemalign(alignment, 100, other);
        assert.equal(error, EINVAL, `alignment ${alignment}`);
        assert.equal(block, other, 'the out variable changed');
        assert.equal(m.errno(), 77, 'errno changed');
      }
      m.free(other);
    },
  );

  always('posix_memalign: ENOMEM for what cannot be had; errno and *out stay', (m) => {
    const other = must(m.malloc(1));
    const alignments = [8n, 64n, 4096n, 1n << 20n, 1n << 62n, 1n << 63n];
    for (const alignment of alignments)
      for (const size of impossible) {
        m.errno(77);
        const { error, block } = m.posixMemalign(alignment, size, other);
        assert.equal(error, ENOMEM, `${size} bytes at ${alignment}`);
        assert.equal(block, other, 'the out variable changed');
        assert.equal(m.errno(), 77, 'errno changed');
      }
    m.free(other);
  });

  const alignments = [8, 16, 32, 64, 256, 4 * KiB, 64 * KiB, 128 * KiB, 2 * MiB];

  always(
    'posix_memalign, aligned_alloc, memalign: the block is aligned, whatever its size',
    (m) => {
      for (const alignment of alignments)
        for (const ask of [
          (size: number) => m.posixMemalign(alignment, size).block,
          (size: number) => m.alignedAlloc(alignment, size),
          (size: number) => m.memalign(alignment, size),
        ])
          for (const size of [1, 24, 100, 1000, 5000, 50_000].filter(
            (n) => n <= largest(variant),
          )) {
            const block = must(ask(size));
            assert.equal(block % BigInt(alignment), 0n, `${size} bytes at ${alignment}`);
            const usable = m.usableSize(block);
            assert.ok(usable >= size);
            m.bytes(block, usable).fill(3);
            const bigger = must(m.realloc(block, size + 100));
            assert.ok(allAre(m, bigger, size, 3), 'realloc of an aligned block lost its content');
            m.free(bigger);
          }
      assert.deepEqual(m.check(), []);
    },
  );

  always('posix_memalign keeps errno when it succeeds', (m) => {
    m.errno(77);
    const { error, block } = m.posixMemalign(4096, 10_000);
    assert.deepEqual([error, m.errno()], [0, 77]);
    m.free(block);
  });

  always('aligned_alloc: EINVAL for what is no power of two', (m) => {
    for (const alignment of [0, 3, 5, 6, 7, 12, 24, 100, 4095, (1n << 63n) + 1n, SIZE_MAX]) {
      m.errno(0);
      assert.equal(m.alignedAlloc(alignment, 64), null, `alignment ${alignment}`);
      assert.equal(m.errno(), EINVAL, `errno for alignment ${alignment}`);
    }
  });

  always('aligned_alloc and memalign: ENOMEM for alignments beyond all memory', (m) => {
    for (const alignment of [1n << 62n, 1n << 63n])
      for (const ask of [m.alignedAlloc, m.memalign]) {
        m.errno(0);
        assert.equal(ask(alignment, 64), null);
        assert.equal(m.errno(), ENOMEM);
      }
  });

  always('memalign: rounds the alignment up to a power of two, as glibc', (m) => {
    for (const [alignment, rounded] of [
      [0, 16],
      [1, 16],
      [3, 16],
      [17, 32],
      [24, 32],
      [33, 64],
      [100, 128],
      [4097, 8192],
    ] as const)
      for (let i = 0; i < 8; i++) {
        const block = must(m.memalign(alignment, 40));
        assert.equal(block % BigInt(rounded), 0n, `alignment ${alignment}`);
        m.free(i % 2 ? block : null); // every other one stays, so that addresses vary
      }
    for (const alignment of [(1n << 63n) + 1n, SIZE_MAX]) {
      m.errno(0);
      assert.equal(m.memalign(alignment, 40), null);
      assert.equal(m.errno(), EINVAL);
    }
  });

  always('valloc and pvalloc: aligned to a page; pvalloc holds whole pages', (m) => {
    for (const size of [0, 1, 100, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE + 7]) {
      const [plain, whole] = [must(m.valloc(size)), must(m.pvalloc(size))];
      assert.equal(plain % BigInt(PAGE), 0n);
      assert.equal(whole % BigInt(PAGE), 0n);
      assert.ok(m.usableSize(whole) >= Math.ceil(size / PAGE) * PAGE, `pvalloc(${size})`);
      m.free(plain);
      m.free(whole);
    }
  });
}

for (const variant of variants())
  await isolated(import.meta.url, variant, (it) => cases(variant, it));
