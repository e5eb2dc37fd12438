/** The heap of every variant that can show it, seen through `walk` after every step. */
import assert from 'node:assert/strict';
import { openMalloc } from '../../scripts/ffi/index.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { type Declare, isolated } from '../lib/child.ts';
import { gap } from '../lib/mallocs.ts';
import { seeds } from '../lib/random.ts';
import { randomSequence } from '../lib/sequence.ts';
import { blocksOf, lawful, regions } from '../lib/shadow.ts';

function cases(variant: string, it: Declare): void {
  for (const seed of seeds(3))
    it(
      `after every step of a random sequence the heap is sound (SEED=${seed})`,
      () => {
        randomSequence(variant, seed);
      },
      { timeout: 60 },
    );

  it('an empty heap has no live block, and a walk of it is lawful', () => {
    const m = openMalloc(variant, { fresh: true });
    lawful(m.walk());
    assert.equal(m.stats().liveBlocks, 0);
    assert.deepEqual(m.check(), []);
  });

  it('stats add up to what walk shows', () => {
    const m = openMalloc(variant, { fresh: true });
    const blocks = [1, 100, 5000, 200_000].flatMap((size) => blocksOf(m, size, 5));
    for (const block of blocks.filter((_, i) => i % 2)) m.free(block);
    const walk = m.walk();
    const sum = (kind: string, field: 'extent' | 'usable'): number =>
      walk.filter((chunk) => chunk.kind === kind).reduce((total, chunk) => total + chunk[field], 0);
    const stats = m.stats();
    assert.equal(stats.liveBlocks, 10);
    assert.equal(stats.liveBytes, sum('live', 'usable'));
    assert.equal(stats.mapped, sum('region', 'extent'));
    assert.equal(stats.regions, regions(m).length);
    assert.equal(stats.freshBytes, sum('fresh', 'extent'));
  });
}

for (const variant of variants())
  await isolated(import.meta.url, variant, (it) => {
    const reason = gap(variant, 'chunks');
    if (reason) it.skip('after every step of a random sequence the heap is sound', reason);
    else cases(variant, it);
  });
