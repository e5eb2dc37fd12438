// A trace as what has to be done to play it: blocks in slots, instead of addresses.

import { Addresses } from './addresses.ts';
import type { TraceEvent } from './event.ts';
import { isAllocation, isRelease, Op } from './format.ts';

export type StepKind = 'malloc' | 'calloc' | 'aligned' | 'realloc' | 'free' | 'nothing';

/** One thing to do. The same object each time. `nothing` is free(NULL). */
export interface Step {
  kind: StepKind;
  /** Threads are numbered from 0, in the order of their first step. */
  thread: number;
  /** Where the block is, or is to be. */
  slot: number;
  /** Realloc: where the block was, another slot. */
  old: number;
  /** Bytes asked for. */
  size: number;
  alignment: number;
}

/** Calls that cannot be played again. */
export interface LeftOut {
  /** Allocations that failed. */
  failed: number;
  /** Releases of blocks that the process had before (fork), never had, or lost with a damaged part. */
  strays: number;
}

/**
 * A free slot is reused only after this many others, so that threads of a replay need not wait for
 * each other.
 */
const REST = 4096;
const NONE = -1;

/** Hands out slots, the one that has been free longest first, and no more than are needed. */
export class Slots {
  count = 0;
  #free: number[] = [];
  #first = 0;

  take(): number {
    if (this.#free.length - this.#first <= REST) return this.count++;
    const slot = this.#free[this.#first++] as number;
    if (this.#first > REST && this.#first * 2 > this.#free.length) {
      this.#free = this.#free.slice(this.#first);
      this.#first = 0;
    }
    return slot;
  }

  give(slot: number): void {
    this.#free.push(slot);
  }
}

/** The steps of events in the order of time; counts in `left` what is none. */
export function* stepsOfEvents(events: Iterable<TraceEvent>, left: LeftOut): Generator<Step, void> {
  const player = new Player(left);
  for (const event of events) if (player.take(event)) yield player.step;
}

/** Keeps which address is in which slot. */
class Player {
  readonly step: Step = {
    kind: 'nothing',
    thread: 0,
    slot: 0,
    old: 0,
    size: 0,
    alignment: 0,
  };
  readonly #left: LeftOut;
  readonly #slots = new Slots();
  readonly #at = new Addresses();
  /** Slots of reallocs that have begun, by thread. */
  readonly #begun: number[][] = [];

  constructor(left: LeftOut) {
    this.#left = left;
  }

  /** True when the event is a step: it is in `step` then. */
  take(event: TraceEvent): boolean {
    this.step.thread = event.thread;
    if (event.op === Op.release) return this.#begin(event);
    if (isRelease(event.op)) return this.#free(event);
    if (!isAllocation(event.op)) return false;
    const old = event.old === 0 ? NONE : (this.#begun[event.thread]?.pop() ?? NONE);
    if (event.address === 0) return this.#nothing(event, old);
    const realloc = event.op === Op.realloc || event.op === Op.reallocarray;
    if (realloc && old !== NONE) return this.#make(event, 'realloc', old);
    const aligned = event.op >= Op.posix_memalign;
    return this.#make(
      event,
      event.op === Op.calloc ? 'calloc' : aligned ? 'aligned' : 'malloc',
      NONE,
    );
  }

  #begin(event: TraceEvent): boolean {
    if (event.address === 0) return false;
    const slot = this.#at.delete(event.address);
    if (slot === NONE) this.#left.strays++;
    const begun = this.#begun[event.thread];
    if (begun) begun.push(slot);
    else this.#begun[event.thread] = [slot];
    return false;
  }

  #free(event: TraceEvent): boolean {
    if (event.address === 0) return this.#set('nothing', 0, 0, 0, 0);
    const slot = this.#at.delete(event.address);
    if (slot === NONE) {
      this.#left.strays++;
      return false;
    }
    this.#slots.give(slot);
    return this.#set('free', slot, 0, 0, 0);
  }

  /** NULL came back: a realloc to 0 bytes has freed the block, any other has left it alone. */
  #nothing(event: TraceEvent, old: number): boolean {
    if (old === NONE || event.size > 0) this.#left.failed++;
    if (old === NONE) return false;
    if (event.size > 0) {
      this.#at.set(event.old, old);
      return false;
    }
    this.#slots.give(old);
    return this.#set('free', old, 0, 0, 0);
  }

  #make(event: TraceEvent, kind: StepKind, old: number): boolean {
    const slot = this.#slots.take();
    // In a damaged trace its release may be missing: then the one before stays for ever.
    this.#at.set(event.address, slot);
    if (old >= 0) this.#slots.give(old);
    const page = event.op === Op.valloc || event.op === Op.pvalloc;
    return this.#set(kind, slot, old, event.size, page ? 4096 : event.alignment);
  }

  #set(kind: StepKind, slot: number, old: number, size: number, alignment: number): boolean {
    const { step } = this;
    step.kind = kind;
    step.slot = slot;
    step.old = old;
    step.size = size;
    step.alignment = alignment;
    return true;
  }
}
