/** Random sequences of calls, with the whole heap inspected after every step. */
import assert from 'node:assert/strict';
import { type MallocLibrary, openMalloc } from '../../scripts/ffi/index.ts';
import { allAre, KiB, MiB, must } from './mallocs.ts';
import { type Random, randomFrom } from './random.ts';
import { lawful, merged, Shadow } from './shadow.ts';

const STEPS = 1200;
const LIVE_BLOCKS = 150;

/** One step of a random sequence: its name, and its effect on both heap and shadow. */
type Step = (m: MallocLibrary, book: Shadow, random: Random) => void;

const takeAligned = (m: MallocLibrary, book: Shadow, random: Random): void => {
  const alignment = 2 ** (3 + random.below(12));
  const size = random.size(20 * KiB);
  const ask = random.pick([
    m.alignedAlloc,
    m.memalign,
    (a: number, n: number) => m.posixMemalign(a, n).block,
  ]);
  book.add(must(ask(alignment, size)), size, alignment);
};

const steps: Record<string, Step> = {
  malloc(m, book, random) {
    const size = random.size(random.oneIn(8) ? 2 * MiB : 4 * KiB);
    book.add(must(m.malloc(size)), size);
  },
  calloc(m, book, random) {
    const size = random.size(random.oneIn(8) ? 2 * MiB : 4 * KiB);
    const block = must(m.calloc(1, size));
    assert.ok(allAre(m, block, size, 0), `calloc of ${size} bytes is not zero`);
    book.add(block, size);
  },
  aligned: takeAligned,
  resize(m, book, random) {
    const block = random.pick(book.blocks);
    const size = 1 + random.size(random.oneIn(8) ? 2 * MiB : 4 * KiB);
    book.verify(block);
    book.move(block, must(m.realloc(block, size)), size);
  },
  'resize a little'(m, book, random) {
    const block = random.pick(book.blocks);
    const size = Math.max(1, book.sizeOf(block) + random.below(129) - 64);
    book.verify(block);
    book.move(block, must(m.realloc(block, size)), size);
  },
  free(m, book, random) {
    const block = random.pick(book.blocks);
    book.remove(block);
    m.free(block);
  },
  'free many'(m, book, random) {
    for (const block of book.blocks.filter(() => random.oneIn(2))) {
      book.remove(block);
      m.free(block);
    }
  },
  'refused realloc'(m, book, random) {
    const block = random.pick(book.blocks);
    assert.equal(m.realloc(block, 1n << 62n), null);
    book.verify(block);
  },
  trim(m, _book, random) {
    m.mallocTrim(random.size(MiB));
  },
};

/** Grows the heap to its full number of blocks, then keeps it there. */
function pickStep(book: Shadow, random: Random): string {
  const live = book.blocks.length;
  if (live === 0) return random.pick(['malloc', 'calloc', 'aligned']);
  if (random.oneIn(100)) return random.pick(['free many', 'trim', 'refused realloc']);
  if (random.below(LIVE_BLOCKS) >= live)
    return random.pick(['malloc', 'malloc', 'calloc', 'aligned']);
  return random.pick(['free', 'free', 'resize', 'resize a little']);
}

/** Runs one sequence on a fresh heap; `between` happens before each step. A failure names seed and step. */
export function randomSequence(
  variant: string,
  seed: number,
  between: (random: Random) => void = () => {},
): void {
  const m = openMalloc(variant, { fresh: true });
  const random = randomFrom(seed);
  const book = new Shadow(m);
  for (let step = 0; step < STEPS; step++) {
    const name = pickStep(book, random);
    try {
      between(random);
      (steps[name] as Step)(m, book, random);
      inspect(variant, m, book);
      if (step % 50 === 0) book.verifyAll();
    } catch (cause) {
      const where = `SEED=${seed}, step ${step} (${name}), ${book.blocks.length} live blocks`;
      throw new Error(`${where}: ${(cause as Error).message}`, { cause });
    }
  }
  for (const block of book.blocks) {
    book.remove(block);
    m.free(block);
  }
  inspect(variant, m, book);
  m.close();
}

function inspect(variant: string, m: MallocLibrary, book: Shadow): void {
  const walk = m.walk();
  lawful(walk);
  book.compare(walk);
  if (variant === 'list') merged(walk);
  assert.deepEqual(m.check(), []);
}
