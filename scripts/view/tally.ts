// What each call stack has allocated: in all, at the peak, at the end, and for a moment only.

import type { Figures } from './callers.ts';

/** Counts of blocks and of events fit into 32 bits; there may be a million stacks. */
const figures = {
  bytes: Float64Array,
  blocks: Uint32Array,
  peakBytes: Float64Array,
  peakBlocks: Uint32Array,
  liveBytes: Float64Array,
  liveBlocks: Uint32Array,
  shortBytes: Float64Array,
  shortBlocks: Uint32Array,
  ended: Uint32Array,
  lived: Float64Array,
  changed: Uint32Array,
} as const;
type Name = keyof typeof figures;
type Columns = { [name in Name]: InstanceType<(typeof figures)[name]> };

const FIRST = 256;

/**
 * Figures by stack, for stacks numbered from 0 as they come. Each event costs a few additions: what
 * was live at the peak is not copied at each new peak, but noted when a stack changes for the first
 * time after it.
 */
export class Tally {
  /** After how many events most bytes were live, so far. */
  peakAt = 0;
  count = 0;
  #columns: Columns;

  /** `room` for so many stacks costs memory only as they come: fresh pages are not touched before. */
  constructor(room: number = FIRST) {
    this.#columns = make(Math.max(FIRST, room));
  }

  /** Makes room for a stack. */
  add(): number {
    if (this.count === this.#columns.bytes.length) {
      const more = make(Math.ceil(1.5 * this.count));
      for (const name of Object.keys(figures) as Name[]) more[name].set(this.#columns[name]);
      this.#columns = more;
    }
    return this.count++;
  }

  /** A block is handed out by the event that `position` counts; `again` when a realloc failed. */
  born(stack: number, size: number, position: number, again = false): void {
    this.#change(stack, position);
    const { bytes, blocks, liveBytes, liveBlocks } = this.#columns;
    if (!again) {
      bytes[stack] = (bytes[stack] as number) + size;
      blocks[stack] = (blocks[stack] as number) + 1;
    }
    liveBytes[stack] = (liveBytes[stack] as number) + size;
    liveBlocks[stack] = (liveBlocks[stack] as number) + 1;
  }

  /** A block has ended after so many nanoseconds; `short`: its thread had allocated nothing since. */
  died(stack: number, size: number, position: number, life: number, short: boolean): void {
    this.#change(stack, position);
    const { liveBytes, liveBlocks, ended, lived, shortBytes, shortBlocks } = this.#columns;
    liveBytes[stack] = (liveBytes[stack] as number) - size;
    liveBlocks[stack] = (liveBlocks[stack] as number) - 1;
    ended[stack] = (ended[stack] as number) + 1;
    lived[stack] = (lived[stack] as number) + life;
    if (!short) return;
    shortBytes[stack] = (shortBytes[stack] as number) + size;
    shortBlocks[stack] = (shortBlocks[stack] as number) + 1;
  }

  #change(stack: number, position: number): void {
    const { changed } = this.#columns;
    if ((changed[stack] as number) <= this.peakAt) this.#note(stack);
    changed[stack] = position;
  }

  /** What is live has been so since before the peak. */
  #note(stack: number): void {
    const { peakBytes, peakBlocks, liveBytes, liveBlocks } = this.#columns;
    peakBytes[stack] = liveBytes[stack] as number;
    peakBlocks[stack] = liveBlocks[stack] as number;
  }

  /** At the end: every figure, and the sum of all lives as `life`. */
  finish(): Figures {
    const { changed } = this.#columns;
    for (let stack = 0; stack < this.count; stack++)
      if ((changed[stack] as number) <= this.peakAt) this.#note(stack);
    const { liveBytes: endBytes, liveBlocks: endBlocks, lived: life, ...rest } = this.#columns;
    const { changed: _, ...kept } = { ...rest, endBytes, endBlocks, life };
    return kept;
  }
}

function make(length: number): Columns {
  const columns = Object.entries(figures).map(([name, Kind]) => [name, new Kind(length)] as const);
  return Object.fromEntries(columns) as Columns;
}
