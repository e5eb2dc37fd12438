// Turns events into live blocks.

import { Addresses } from './addresses.ts';
import type { TraceEvent } from './event.ts';
import { isAllocation, isRelease, Op } from './format.ts';

/** Blocks as columns: a block is a row, as long as it lives and until the next event. */
export interface Rows {
  address: Float64Array;
  /** Bytes asked for. */
  size: Float64Array;
  /** Nanoseconds since time 0. */
  born: Float64Array;
  thread: Uint32Array;
  site: Float64Array;
  /** The number of the stack that asked for it; 0 where that is not known. */
  stack: Uint32Array;
  /** For the reader's own use: what it wants to know about a block when it is freed. */
  mark: Float64Array;
}

const FIRST = 2 ** 10;
export const NONE = -1;

/**
 * Keeps the live blocks of one process. A realloc is a death (Op.release) and a birth (Op.realloc);
 * where it fails, the old block comes back as it was. Memory: about 48 bytes for each of the blocks
 * that were alive at once, and what Addresses takes.
 */
export class Ledger {
  /** What the last event did: rows, or NONE. A block that came back is born, too. */
  born: number = NONE;
  died: number = NONE;
  /** True when `born` is a block that a failed realloc left as it was. */
  revived = false;
  rows: Rows = grown(FIRST);
  /** Bytes asked for, of the live blocks. */
  liveBytes = 0;
  peakBytes = 0;
  peakBlocks = 0;
  /** All bytes ever asked for and got. */
  totalBytes = 0;
  allocations = 0;
  releases = 0;
  /** Allocations that failed. */
  failures = 0;
  /** Releases of what is no live block: inherited over fork, invalid, or lost in a damaged part. */
  strays = 0;
  /** Blocks handed out while they were alive: never in a whole trace of a correct malloc. */
  overlaps = 0;
  readonly #at = new Addresses();
  /** Rows to be used again: not before the next event. */
  readonly #free: number[] = [];
  #used = 0;
  /** Blocks of reallocs that have begun, by thread. */
  readonly #begun: number[][] = [];

  get liveBlocks(): number {
    return this.#at.size;
  }

  /** The rows of the live blocks, in no order. */
  live(): Iterable<number> {
    return this.#at.values();
  }

  /** Takes in the next event, in the order of the trace. */
  apply(event: TraceEvent): void {
    this.born = NONE;
    this.died = NONE;
    this.revived = false;
    if (isRelease(event.op)) this.#release(event);
    else if (isAllocation(event.op)) this.#allocate(event);
  }

  #release({ op, address, thread }: TraceEvent): void {
    if (address === 0) return;
    const row = this.#at.delete(address);
    if (row === NONE) {
      this.strays++;
      return;
    }
    this.died = row;
    this.liveBytes -= this.rows.size[row] as number;
    this.releases++;
    if (op !== Op.release) {
      this.#free.push(row);
      return;
    }
    const begun = this.#begun[thread];
    if (begun) begun.push(row);
    else this.#begun[thread] = [row];
  }

  #allocate(event: TraceEvent): void {
    const old = event.old === 0 ? NONE : this.#ended(event);
    if (event.address === 0) {
      if (event.old === 0 || event.size > 0) this.failures++;
      if (old === NONE) return;
      if (event.size > 0) {
        this.releases--;
        this.revived = true;
        this.#enter(old);
      } else this.#free.push(old);
      return;
    }
    const before = this.#at.get(event.address);
    if (before !== NONE) {
      this.overlaps++;
      this.died = before;
      this.liveBytes -= this.rows.size[before] as number;
    }
    this.#enter(this.#write(event));
    if (before !== NONE) this.#free.push(before);
    if (old !== NONE) this.#free.push(old);
    this.allocations++;
    this.totalBytes += event.size;
  }

  /** The block of the realloc that ends here, if it was a live one. */
  #ended({ thread, old }: TraceEvent): number {
    const begun = this.#begun[thread];
    const row = begun?.at(-1);
    if (begun === undefined || row === undefined || this.rows.address[row] !== old) return NONE;
    begun.pop();
    return row;
  }

  #write({ address, size, time, thread, site, stack }: TraceEvent): number {
    const row = this.#free.pop() ?? this.#used++;
    if (row === this.rows.address.length) this.rows = grown(2 * row, this.rows);
    const { rows } = this;
    rows.address[row] = address;
    rows.size[row] = size;
    rows.born[row] = time;
    rows.thread[row] = thread;
    rows.site[row] = site;
    rows.stack[row] = stack;
    return row;
  }

  #enter(row: number): void {
    this.born = row;
    this.#at.set(this.rows.address[row] as number, row);
    this.liveBytes += this.rows.size[row] as number;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
    if (this.#at.size > this.peakBlocks) this.peakBlocks = this.#at.size;
  }
}

/** Columns for so many rows, with what is in `from`. */
function grown(length: number, from?: Rows): Rows {
  const rows: Rows = {
    address: new Float64Array(length),
    size: new Float64Array(length),
    born: new Float64Array(length),
    thread: new Uint32Array(length),
    site: new Float64Array(length),
    stack: new Uint32Array(length),
    mark: new Float64Array(length),
  };
  if (from) for (const name of Object.keys(rows) as (keyof Rows)[]) rows[name].set(from[name]);
  return rows;
}
