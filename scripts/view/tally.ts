// Counts what each call stack allocated: in all, live at the peak and at the end, and freed at once.

import type { Figures } from './callers.ts';

/** Counts of blocks and events fit into 32 bits, which saves memory: there may be a million stacks. */
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
 * Figures by stack; stacks are numbered from 0 as they occur. Each event costs a few additions,
 * because a new peak copies nothing: a stack's live bytes at the peak are noted when the stack
 * changes for the first time after it.
 */
export class Tally {
  /** The position at which most bytes were live so far. */
  peakAt = 0;
  count = 0;
  #columns = make(FIRST);

  /** Makes room for a stack. */
  add(): number {
    if (this.count === this.#columns.bytes.length) {
      const more = make(Math.ceil(1.5 * this.count));
      for (const name of Object.keys(figures) as Name[]) more[name].set(this.#columns[name]);
      this.#columns = more;
    }
    return this.count++;
  }

  /** The event at `position` made a block live; `again` if it was live before a realloc that failed. */
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

  /** A block ended after `life` nanoseconds; `short`: its thread allocated nothing in between. */
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

  /** Called while the stack's live bytes are still those at the peak. */
  #note(stack: number): void {
    const { peakBytes, peakBlocks, liveBytes, liveBlocks } = this.#columns;
    peakBytes[stack] = liveBytes[stack] as number;
    peakBlocks[stack] = liveBlocks[stack] as number;
  }

  /** Returns every figure at the end; `life` is the sum of all lives. */
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
