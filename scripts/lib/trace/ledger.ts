// Who is alive: events become blocks.

import { isAllocation, isRelease, Op } from './format.ts';
import type { TraceEvent } from './trace.ts';

/** A block that was handed out. */
export interface TraceBlock {
  address: number;
  /** Bytes asked for. */
  size: number;
  alignment: number;
  /** The function that handed it out. */
  op: number;
  /** Nanoseconds since time 0. */
  born: number;
  /** TraceEvent.index of its allocation. */
  index: number;
  thread: number;
  site: number;
}

/** What an event did to the blocks. */
export interface Change {
  born?: TraceBlock;
  died?: TraceBlock;
}

/**
 * Keeps the live blocks of one process. A realloc is a death (Op.release) and a birth (Op.realloc);
 * where it fails, the old block comes back as it was. Memory: that of the live blocks.
 */
export class Ledger {
  readonly live: Map<number, TraceBlock> = new Map();
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
  readonly #begun = new Map<number, TraceBlock[]>();

  /** Takes in the next event, in the order of the trace. */
  apply(event: TraceEvent): Change {
    if (isRelease(event.op)) return this.#release(event);
    return isAllocation(event.op) ? this.#allocate(event) : {};
  }

  #release(event: TraceEvent): Change {
    if (event.address === 0) return {};
    const died = this.live.get(event.address);
    if (!died) {
      this.strays++;
      return {};
    }
    this.#bury(died);
    this.releases++;
    if (event.op !== Op.release) return { died };
    const begun = this.#begun.get(event.thread);
    if (begun) begun.push(died);
    else this.#begun.set(event.thread, [died]);
    return { died };
  }

  #allocate(event: TraceEvent): Change {
    const old = event.old === 0 ? undefined : this.#ended(event);
    if (event.address === 0) {
      if (event.old === 0 || event.size > 0) this.failures++;
      if (!old || event.size === 0) return {};
      this.releases--;
      this.#enter(old);
      return { born: old };
    }
    const { address, size, alignment, op, time, index, thread, site } = event;
    const born = { address, size, alignment, op, born: time, index, thread, site };
    const before = this.live.get(address);
    if (before) {
      this.overlaps++;
      this.#bury(before);
    }
    this.#enter(born);
    this.allocations++;
    this.totalBytes += size;
    return before ? { born, died: before } : { born };
  }

  /** The block of the realloc that ends here, if it was a live one. */
  #ended(event: TraceEvent): TraceBlock | undefined {
    const begun = this.#begun.get(event.thread);
    return begun?.at(-1)?.address === event.old ? begun.pop() : undefined;
  }

  #enter(block: TraceBlock): void {
    this.live.set(block.address, block);
    this.liveBytes += block.size;
    if (this.liveBytes > this.peakBytes) this.peakBytes = this.liveBytes;
    if (this.live.size > this.peakBlocks) this.peakBlocks = this.live.size;
  }

  #bury(block: TraceBlock): void {
    this.live.delete(block.address);
    this.liveBytes -= block.size;
  }
}
