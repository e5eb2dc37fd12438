/** The expected state of a heap: a record of live blocks, and the rules of a walk. */
import assert from 'node:assert/strict';
import type { Chunk, MallocLibrary, Pointer } from '../../scripts/ffi/index.ts';
import { allAre, firstOther, must } from './mallocs.ts';

const hex = (at: bigint): string => `0x${at.toString(16)}`;
const endOf = (chunk: Chunk): bigint => chunk.start + BigInt(chunk.extent);

interface Entry {
  size: number;
  usable: number;
  fill: number;
}

/** Every live block with its size; its bytes hold a pattern that must not change. */
export class Shadow {
  readonly #m: MallocLibrary;
  readonly #live = new Map<Pointer, Entry>();
  #filled = 0;

  constructor(m: MallocLibrary) {
    this.#m = m;
  }

  get blocks(): Pointer[] {
    return [...this.#live.keys()];
  }

  /** Bytes that were asked for and not freed. */
  get bytes(): number {
    return [...this.#live.values()].reduce((sum, { size }) => sum + size, 0);
  }

  sizeOf(block: Pointer): number {
    return this.#entry(block).size;
  }

  /** Enters a block that the malloc just handed out, and fills it. */
  add(block: Pointer, size: number, alignment = 16): void {
    assert.equal(
      block % BigInt(Math.max(alignment, 16)),
      0n,
      `${hex(block)} is not aligned to ${alignment}`,
    );
    const usable = this.#m.usableSize(block);
    assert.ok(usable >= size, `${usable} usable bytes for ${size}`);
    for (const [other, { usable: length }] of this.#live)
      assert.ok(
        block + BigInt(usable) <= other || other + BigInt(length) <= block,
        `${hex(block)} (${usable} bytes) overlaps the live ${hex(other)} (${length} bytes)`,
      );
    const fill = (this.#filled++ % 255) + 1;
    this.#m.bytes(block, usable).fill(fill);
    this.#live.set(block, { size, usable, fill });
  }

  /** Checks a block's content and removes it from the record; call it before the block is freed. */
  remove(block: Pointer): void {
    this.verify(block);
    this.#live.delete(block);
  }

  /** A realloc moved `old`, with its first `kept` bytes, to `block`. */
  move(old: Pointer, block: Pointer, size: number): void {
    const { fill, size: had } = this.#entry(old);
    this.#live.delete(old);
    this.#expect(block, Math.min(had, size), fill, 'realloc lost content');
    this.add(block, size);
  }

  verify(block: Pointer): void {
    const { usable, fill } = this.#entry(block);
    assert.equal(this.#m.usableSize(block), usable, `the size of ${hex(block)} changed`);
    this.#expect(block, usable, fill, 'somebody else wrote');
  }

  verifyAll(): void {
    for (const block of this.#live.keys()) this.verify(block);
  }

  /** The live chunks of a walk are exactly the recorded blocks, with their sizes. */
  compare(walk: Chunk[]): void {
    const seen = walk.filter(({ kind }) => kind === 'live');
    for (const { user, usable } of seen) {
      const known = user === null ? undefined : this.#live.get(user);
      assert.ok(
        known,
        `the walk shows a live block at ${hex(user ?? 0n)} that was never handed out`,
      );
      assert.equal(usable, known.usable, `the walk's size of ${hex(user as bigint)}`);
    }
    assert.equal(seen.length, this.#live.size, 'live blocks in the walk');
  }

  #entry(block: Pointer): Entry {
    const entry = this.#live.get(block);
    assert.ok(entry, `${hex(block)} is not live`);
    return entry;
  }

  #expect(block: Pointer, length: number, fill: number, complaint: string): void {
    if (allAre(this.#m, block, length, fill)) return;
    const at = firstOther(this.#m, block, length, fill);
    assert.fail(`${complaint}: byte ${at} of ${length} at ${hex(block)}`);
  }
}

/**
 * The rules of every walk: address order, containers before their content, leaves that tile their
 * region without gap or overlap, spans inside one region, blocks inside their chunk.
 */
export function lawful(walk: Chunk[]): void {
  let region: Chunk | undefined;
  let span: Chunk | undefined;
  let next = 0n; // where the next leaf has to begin
  const close = (): void => {
    if (region)
      assert.equal(
        next,
        endOf(region),
        `the region at ${hex(region.start)} is not tiled to its end`,
      );
  };
  for (const chunk of walk) {
    assert.ok(chunk.extent > 0, `an empty chunk at ${hex(chunk.start)}`);
    if (chunk.kind === 'region') {
      close();
      assert.ok(
        region === undefined || chunk.start >= endOf(region),
        'regions overlap or are out of order',
      );
      region = chunk;
      span = undefined;
      next = chunk.start;
      continue;
    }
    assert.ok(region, `a ${chunk.kind} outside of any region`);
    assert.equal(
      chunk.start,
      next,
      `a gap or an overlap before the ${chunk.kind} at ${hex(chunk.start)}`,
    );
    assert.ok(
      endOf(chunk) <= endOf(region),
      `the ${chunk.kind} at ${hex(chunk.start)} leaves its region`,
    );
    if (chunk.kind === 'span') {
      assert.ok(
        span === undefined || chunk.start >= endOf(span),
        `spans overlap at ${hex(chunk.start)}`,
      );
      span = chunk;
      continue;
    }
    if (span && chunk.start < endOf(span))
      assert.ok(
        endOf(chunk) <= endOf(span),
        `the ${chunk.kind} at ${hex(chunk.start)} leaves its span`,
      );
    blockLiesInside(chunk);
    next = endOf(chunk);
  }
  close();
}

function blockLiesInside(chunk: Chunk): void {
  if (chunk.kind !== 'live' && chunk.kind !== 'free') return;
  const { user, usable } = chunk;
  assert.ok(user !== null, `a ${chunk.kind} chunk without a block at ${hex(chunk.start)}`);
  assert.ok(
    user >= chunk.start && user + BigInt(usable) <= endOf(chunk),
    `the block of the chunk at ${hex(chunk.start)} lies outside of it`,
  );
}

/** No two free chunks stand side by side: they would have been merged. */
export function merged(walk: Chunk[]): void {
  for (const [i, chunk] of walk.entries()) {
    const following = walk[i + 1];
    if (chunk.kind !== 'free' || following?.kind !== 'free') continue;
    assert.notEqual(endOf(chunk), following.start, `free neighbours at ${hex(chunk.start)}`);
  }
}

/** `count` blocks of `size` bytes. */
export const blocksOf = (m: MallocLibrary, size: number, count: number): Pointer[] =>
  Array.from({ length: count }, () => must(m.malloc(size)));

/** Frees blocks of one class, and expects them to be the next ones that are handed out. */
export function reusesFreed(m: MallocLibrary): void {
  const freed = blocksOf(m, 200, 50).filter((_, i) => i % 3 === 0);
  for (const block of freed) m.free(block);
  const again = blocksOf(m, 200, freed.length);
  assert.deepEqual([...again].sort(), [...freed].sort());
}

/** The chunk of a walk whose block is `block`. */
export const at = (walk: Chunk[], block: Pointer): Chunk => {
  const chunk = walk.find(({ user }) => user === block);
  assert.ok(chunk, `no chunk with a block at 0x${block.toString(16)}`);
  return chunk;
};
/** The leaf that begins where `chunk` ends. */
export const after = (walk: Chunk[], chunk: Chunk): Chunk | undefined =>
  walk.find(
    ({ start, kind }) =>
      kind !== 'region' && kind !== 'span' && start === chunk.start + BigInt(chunk.extent),
  );
/** What follows a block in its region. */
export const kindAfter = (m: MallocLibrary, block: Pointer): string | undefined => {
  const walk = m.walk();
  return after(walk, at(walk, block))?.kind;
};
export const regions = (m: MallocLibrary): Chunk[] =>
  m.walk().filter(({ kind }) => kind === 'region');
