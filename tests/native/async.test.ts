/** Many threads at once: `.async` runs on the pool of libuv, which has several. */
import assert from 'node:assert/strict';
import { type MallocLibrary, openMalloc, type Pointer } from '../../scripts/ffi/index.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { type Declare, isolated } from '../lib/child.ts';
import { allAre, gap, KiB, MiB, must } from '../lib/mallocs.ts';
import { randomFrom, seeds } from '../lib/random.ts';
import { lawful, Shadow } from '../lib/shadow.ts';

const THREADS = '8';
const ROUNDS = 15;
const BATCH = 200;

/** A batch of calls at once, each on whatever thread of the pool is idle. */
const atOnce = <T>(count: number, call: (i: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => call(i)));

/** A size that the variant serves; for dumb there are few blocks, because it never reuses one. */
const sizeFor = (variant: string, size: number): number =>
  gap(variant, 'sizes') ? Math.min(size, 64 * KiB) : size;

function cases(variant: string, it: Declare): void {
  const open = (): MallocLibrary => openMalloc(variant, { fresh: true });
  const inspect = (m: MallocLibrary, book: Shadow): void => {
    const walk = m.walk();
    lawful(walk);
    if (!gap(variant, 'chunks') && !gap(variant, 'othersExact')) book.compare(walk);
    live(m, book.blocks.length);
    assert.deepEqual(m.check(), []);
  };
  /** Expects this many live blocks, or more of a malloc that learns late of remote frees. */
  const live = (m: MallocLibrary, count: number): void => {
    const { liveBlocks } = m.stats();
    if (gap(variant, 'chunks')) return;
    if (gap(variant, 'othersExact')) assert.ok(liveBlocks >= count, `${liveBlocks} of ${count}`);
    else assert.equal(liveBlocks, count);
  };
  const rounds = gap(variant, 'reuse') ? 5 : ROUNDS;

  for (const seed of seeds(2))
    it(
      `blocks from many threads are all different, and all their own (SEED=${seed})`,
      async () => {
        const m = open();
        const random = randomFrom(seed);
        const book = new Shadow(m);
        for (let round = 0; round < rounds; round++) {
          const sizes = Array.from({ length: BATCH }, () =>
            sizeFor(variant, random.size(random.oneIn(20) ? MiB : 2 * KiB)),
          );
          const asked = await atOnce(BATCH, (i) => m.async.malloc(sizes[i] as number));
          for (const [i, block] of asked.entries()) book.add(must(block), sizes[i] as number);
          inspect(m, book);
          const leaving = book.blocks.filter(() => !random.oneIn(4));
          for (const block of leaving) book.remove(block);
          await atOnce(leaving.length, (i) => m.async.free(leaving[i] as Pointer));
          inspect(m, book);
        }
        book.verifyAll();
      },
      { timeout: 60 },
    );

  it(
    'malloc, calloc, realloc, aligned requests and free, all at once',
    async () => {
      const m = open();
      const random = randomFrom(11);
      let blocks: Pointer[] = [];
      const sizes = new Map<Pointer, number>();
      for (let round = 0; round < rounds; round++) {
        const [old, kept] = [
          blocks.filter((_, i) => i % 2 === 0),
          blocks.filter((_, i) => i % 2 === 1),
        ];
        for (const block of kept)
          assert.ok(allAre(m, block, sizes.get(block) ?? 0, 0x3c), 'a block changed');
        const size = 16 + random.below(3 * KiB);
        const [plain, zeroed, aligned, resized] = await Promise.all([
          atOnce(40, () => m.async.malloc(size)),
          atOnce(40, () => m.async.calloc(4, size)),
          atOnce(40, () => m.async.posixMemalign(256, size)),
          atOnce(kept.length, (i) => m.async.realloc(kept[i] as Pointer, 2 * size)),
          atOnce(old.length, (i) => m.async.free(old[i] as Pointer)),
        ]);
        for (const block of zeroed)
          assert.ok(allAre(m, must(block), 4 * size, 0), 'calloc is not zero');
        for (const { block } of aligned) assert.equal(must(block) % 256n, 0n);
        for (const [i, block] of resized.entries()) {
          const had = Math.min(sizes.get(kept[i] as Pointer) ?? 0, 2 * size);
          assert.ok(allAre(m, must(block), had, 0x3c), 'realloc lost content');
        }
        blocks = [...plain, ...zeroed, ...aligned.map(({ block }) => block), ...resized].map(must);
        assert.equal(new Set(blocks).size, blocks.length, 'one address twice');
        sizes.clear();
        for (const block of blocks) {
          m.bytes(block, size).fill(0x3c);
          sizes.set(block, size);
        }
        blocks = await halve(m, blocks);
        lawful(m.walk());
        assert.deepEqual(m.check(), []);
      }
    },
    { timeout: 60 },
  );

  it('one size from all threads at once, where they meet most often', async () => {
    const m = open();
    const crowd = gap(variant, 'reuse') ? 500 : 4000;
    let blocks: Pointer[] = [];
    for (let round = 0; round < 8; round++) {
      const asked = atOnce(crowd, () => m.async.malloc(48));
      const freed = atOnce(blocks.length, (i) => m.async.free(blocks[i] as Pointer));
      [blocks] = await Promise.all([asked.then((list) => list.map(must)), freed]);
      assert.equal(new Set(blocks).size, crowd, 'one address twice');
      assert.deepEqual(m.check(), []);
      live(m, crowd);
    }
  });

  it(
    'walk and stats answer while other threads allocate and free',
    async () => {
      const m = open();
      let done = false;
      const churn = atOnce(8, async () => {
        for (let i = 0; i < 8 * rounds; i++) {
          const block = must(await m.async.malloc(100 + i));
          await m.async.free(block);
        }
      }).finally(() => {
        done = true;
      });
      let walks = 0;
      while (!done) {
        lawful(m.walk());
        assert.deepEqual(m.check(), []);
        assert.ok(m.stats().mapped >= 0);
        walks++;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await churn;
      assert.ok(walks > 5, `only ${walks} walks`);
      live(m, 0);
    },
    { timeout: 60 },
  );

  it('a refusal on another thread gives that thread ENOMEM, and errno reaches us', async () => {
    const m = open();
    m.errno(0);
    assert.equal(await m.async.malloc(1n << 62n), null);
    assert.equal(m.errno(), 12);
    m.errno(0);
    assert.deepEqual(await m.async.posixMemalign(3, 1), { error: 22, block: null });
  });
}

/** Frees every third block, so that the next round finds holes. */
async function halve(m: MallocLibrary, blocks: Pointer[]): Promise<Pointer[]> {
  const leaving = blocks.filter((_, i) => i % 3 === 0 || i >= 150);
  await atOnce(leaving.length, (i) => m.async.free(leaving[i] as Pointer));
  const gone = new Set(leaving);
  return blocks.filter((block) => !gone.has(block));
}

for (const variant of variants())
  await isolated(import.meta.url, variant, (it) => cases(variant, it), {
    env: { UV_THREADPOOL_SIZE: THREADS },
  });

await isolated(
  import.meta.url,
  'the queue',
  (it) => {
    it('thousands of calls at once wait for their turn, where koffi alone would throw', async () => {
      const m = openMalloc('glibc');
      const blocks = await atOnce(3000, (i) => m.async.malloc(i));
      assert.equal(new Set(blocks).size, 3000);
      await atOnce(3000, (i) => m.async.free(blocks[i] as Pointer));
    });
  },
  { env: { UV_THREADPOOL_SIZE: THREADS } },
);
