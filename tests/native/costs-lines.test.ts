/**
 * Counts the cache lines that a call writes and another core reads, load by load and store by store,
 * with two threads that take turns. Such lines make one thread wait for another, on two cores as on
 * 256; docs/scaling.md draws its conclusions from them.
 */
import { describe, expect, test } from 'vitest';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { measureSharing, type Sharing, type Turns } from '../lib/lines.ts';

async function sharing(malloc: string, plan: Turns): Promise<[Sharing, Sharing]> {
  const [first, second] = await measureSharing(resolveMalloc(malloc), plan);
  if (first === undefined || second === undefined) throw new Error('two threads were watched');
  return [first, second];
}

const nothing: Sharing = { bothStore: 0, otherReads: 0, transfers: 0, inBlocks: 0 };
// As many blocks as fit into a page: an empty page may pass to another thread, with all its lines.
const local: Turns = { who: 'local', size: 32, blocks: 64, turns: 4 };
const remote: Turns = { who: 'remote', size: 32, blocks: 640, turns: 2 };

describe('sharded, when threads free their own blocks', () => {
  test.each([32, 1000])('shares no cache line that a thread writes (%i bytes)', async (size) => {
    for (const thread of await sharing('sharded', { ...local, size }))
      expect(thread).toEqual(nothing);
  });
});

describe('sharded, when one thread frees blocks of another', () => {
  test.each([32, 1000])(
    'writes to few shared lines: once in 24 calls, or the two bytes of each place (%i bytes)',
    async (size) => {
      const [maker, freer] = await sharing('sharded', { ...remote, size });
      for (const thread of [maker, freer]) {
        expect(thread.bothStore).toBeLessThanOrEqual(size < 100 ? 1 / 24 : 2.1);
        expect(thread.transfers).toBeLessThanOrEqual(1 / 10);
        expect(thread.otherReads, 'the place of each block that is carved').toBeLessThanOrEqual(4);
      }
      expect(freer.bothStore, 'none at all: no block can have been returned').toBeGreaterThan(0);
    },
  );

  test('transfers no page record when both use the same page, block by block', async () => {
    for (const thread of await sharing('sharded', { ...remote, blocks: 1, turns: 16 }))
      expect(thread).toEqual({ ...nothing, inBlocks: thread.inBlocks });
  });
});

describe('by the same count', () => {
  test("paged writes its lock's line in each call", async () => {
    for (const thread of await sharing('paged', { ...local, blocks: 32 }))
      expect(thread.bothStore).toBeGreaterThanOrEqual(2);
  });

  test('glibc writes to shared lines in each call, if blocks pass between threads', async () => {
    const [, freer] = await sharing('glibc', { ...remote, blocks: 64 });
    expect(freer.bothStore).toBeGreaterThanOrEqual(1);
  });
});
