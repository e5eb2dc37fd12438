// Which snapshots of the heap a page keeps if there is no room for all.

import { expect, test } from 'vitest';
import { chooseWalks } from '../../scripts/view/walks.ts';

const walks = (count: number, chunks: number) =>
  Array.from({ length: count }, (_, i) => ({ number: i, at: 1000 * (i + 1), chunks }));

test('keeps all if there is room', () => {
  expect(chooseWalks(walks(10, 10), 3000, 100)).toEqual(walks(10, 10));
  expect(chooseWalks([], 0)).toEqual([]);
});

test.each([0, 1, 36, 37, 62, 99])(
  'always keeps the one nearest to the peak and the last (%d)',
  (peak) => {
    const found = walks(100, 10);
    const kept = chooseWalks(found, 1000 * (peak + 1) + 3, 150);
    const numbers = kept.map(({ number }) => number);
    expect(numbers).toContain(peak);
    expect(numbers).toContain(99);
    expect(kept.length).toBeGreaterThan(5);
    expect(kept.length).toBeLessThanOrEqual(15);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  },
);

test('keeps these two even if they are too large', () => {
  const kept = chooseWalks(walks(9, 1000), 4000, 100);
  expect(kept.map(({ number }) => number)).toEqual([3, 8]);
});
