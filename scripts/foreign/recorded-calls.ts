// Calls as other tools recorded them, as events of a trace.

import { blankEvent, type TraceEvent } from '../trace/event.ts';
import { Op } from '../trace/format.ts';

/** Makes events: the same object each time, to be read before the next. */
export class Calls {
  readonly event: TraceEvent = { ...blankEvent(), index: -1 };
  readonly #threads: string[] = [];

  /** The number of the thread that some tool calls `name`. */
  threadOf(name: string): number {
    const known = this.#threads.indexOf(name);
    return known >= 0 ? known : this.#threads.push(name) - 1;
  }

  #next(op: number, thread: number, address: number): TraceEvent {
    const { event } = this;
    event.index++;
    event.op = op;
    event.thread = thread;
    event.address = address;
    event.old = event.size = event.alignment = 0;
    return event;
  }

  made(op: number, address: number, size: number, thread = 0, alignment = 0): TraceEvent {
    const event = this.#next(op, thread, address);
    event.size = size;
    event.alignment = alignment;
    return event;
  }

  freed(address: number, thread = 0): TraceEvent {
    return this.#next(Op.free, thread, address);
  }

  /** A realloc is two events: what it was called with, and what came of it. */
  *resized(old: number, address: number, size: number, thread = 0): Generator<TraceEvent, void> {
    if (old !== 0) yield this.#next(Op.release, thread, old);
    const event = this.#next(Op.realloc, thread, address);
    event.old = old;
    event.size = size;
    yield event;
  }
}
