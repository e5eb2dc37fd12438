// The table of live blocks on typed arrays, compared with a Map, and through every outcome of a realloc.

import { describe, expect, test } from 'vitest';
import { Addresses } from '../../scripts/trace/addresses.ts';
import { blankEvent } from '../../scripts/trace/event.ts';
import { Ledger, NONE, Op, type TraceEvent } from '../../scripts/trace/trace.ts';
import { randomFrom } from '../lib/random.ts';

describe('the table of addresses', () => {
  const places: [string, (n: number) => number][] = [
    ['16 bytes apart', (n) => 0x7f00_0000_0000 + 16 * n],
    ['a page apart', (n) => 0x5500_0000_0000 + 4096 * n],
    ['64 GiB apart, or wild', (n) => (n % 2 ? n * 2 ** 36 : n * 2 ** 40 + 7 * n)],
  ];
  test.each(places)('is a Map, for blocks %s', (_, place) => {
    const random = randomFrom(6);
    const [table, map] = [new Addresses(), new Map<number, number>()];
    for (let i = 0; i < 60_000; i++) {
      const address = place(random.below(i < 30_000 ? 8_000 : 500));
      if (random.below(2) === 0) {
        expect(table.delete(address)).toBe(map.get(address) ?? -1);
        map.delete(address);
      } else {
        table.set(address, i);
        map.set(address, i);
      }
    }
    expect(table.size).toBe(map.size);
    expect([...table.values()].sort()).toEqual([...map.values()].sort());
    for (const [address, value] of map) expect(table.get(address)).toBe(value);
    expect(table.get(3)).toBe(-1);
  });
});

describe('the ledger', () => {
  const event = (op: number, address: number, more: Partial<TraceEvent> = {}): TraceEvent => ({
    ...blankEvent(),
    op,
    address,
    ...more,
  });

  test('a realloc that fails leaves the block as it was; to 0 bytes it ends it', () => {
    const ledger = new Ledger();
    ledger.apply(event(Op.malloc, 0x1000, { size: 10, time: 5 }));
    const first = ledger.born;
    ledger.rows.mark[first] = 42;
    ledger.apply(event(Op.release, 0x1000));
    expect([ledger.died, ledger.liveBytes]).toEqual([first, 0]);
    ledger.apply(event(Op.malloc, 0x2000, { size: 1 }));
    ledger.apply(event(Op.realloc, 0, { old: 0x1000, size: 2 ** 40 }));
    expect(ledger).toMatchObject({ born: first, revived: true, liveBytes: 11, failures: 1 });
    expect([ledger.rows.mark[first], ledger.rows.born[first]]).toEqual([42, 5]);
    ledger.apply(event(Op.release, 0x1000));
    ledger.apply(event(Op.realloc, 0, { old: 0x1000 }));
    expect(ledger).toMatchObject({ born: NONE, liveBytes: 1, liveBlocks: 1, failures: 1 });
  });

  test('rows are used again, and not before their block has ended', () => {
    const ledger = new Ledger();
    for (let i = 0; i < 5_000; i++)
      ledger.apply(event(Op.malloc, 16 * (i + 1), { size: i, thread: i % 3 }));
    for (let i = 1; i < 5_000; i += 2) ledger.apply(event(Op.free, 16 * (i + 1)));
    for (let i = 1; i < 5_000; i += 2) ledger.apply(event(Op.malloc, 2 ** 40 + i, { size: 1 }));
    for (let i = 0; i < 5_000; i++) {
      ledger.apply(event(Op.release, 16));
      ledger.apply(event(Op.realloc, 16, { old: 16, size: 0 }));
    }
    const rows = [...ledger.live()];
    expect(new Set(rows).size).toBe(5_000);
    expect(Math.max(...rows)).toBeLessThan(5_001);
    const sum = rows.reduce((bytes, row) => bytes + (ledger.rows.size[row] ?? 0), 0);
    expect(ledger.liveBytes).toBe(sum);
    expect(ledger.peakBytes).toBe((5_000 * 4_999) / 2);
  });
});
