// One stream of one process, record by record.

import { FIRST_NOTE, isAllocation, Op, opName, RECORD_BYTES, SEGMENT_BYTES } from './format.ts';
import type { Content, SegmentFile, SegmentHead } from './segments.ts';

const HIGH = 2 ** 32;
const SITES = 2 ** 10;

/**
 * Stands on one event at a time; `advance` goes on to the next. Where the next segment has not been
 * read yet, `loaded` is false and `time` is a lower bound.
 */
export class Cursor {
  op = 0;
  address = 0;
  old = 0;
  size = 0;
  alignment = 0;
  /** Ticks since time 0. */
  ticks = 0;
  thread = 0;
  /** Counts the threads that this stream has served. */
  tenant = 0;
  site = 0;
  /** The number of the stack, in the tree of calls of the process. */
  stack = 0;
  loaded = false;

  readonly #file: SegmentFile;
  readonly #segments: SegmentHead[];
  readonly #sites = new Float64Array(SITES);
  readonly #stacks = new Float64Array(SITES);
  #next = 0;
  #order = -1;
  #content: Content | undefined;
  #buffer: Buffer | undefined;
  #at = 0;
  #base = 0;
  #wide = -1;
  #far = -1;
  /** Blocks of reallocs that have begun: more than one where a signal handler allocates. */
  #begun: number[] = [];

  /** `segments` are those of one stream, in order; there is at least one. */
  constructor(file: SegmentFile, segments: SegmentHead[]) {
    this.#file = file;
    this.#segments = segments;
    this.ticks = segments[0]?.base ?? 0;
  }

  /** Advances to the next event; false at the end of the stream. */
  advance(): boolean {
    const content = this.#content;
    if (content) {
      while (this.#at < content.length / 4) if (this.#decode(content.words)) return true;
      this.#content = undefined;
    }
    this.loaded = false;
    const next = this.#segments[this.#next];
    if (next) {
      this.ticks = Math.max(this.ticks, next.base);
      return true;
    }
    this.#buffer = undefined;
    return false;
  }

  /** Reads the next segment and stands on its first event; false when there is none any more. */
  load(): boolean {
    const head = this.#segments[this.#next++];
    if (!head) return false;
    this.#buffer ??= Buffer.alloc(SEGMENT_BYTES);
    this.#content = this.#file.content(head, this.#buffer);
    if (!this.#content || head.order !== this.#order + 1) this.#begun.length = 0;
    this.#order = head.order;
    this.#at = 0;
    this.#base = head.base;
    this.#sites.fill(0);
    this.#stacks.fill(0);
    this.#wide = -1;
    this.#far = -1;
    if (head.thread !== this.thread) this.#serve(head.thread);
    this.loaded = true;
    return this.advance();
  }

  #serve(thread: number): void {
    this.thread = thread;
    this.tenant++;
    this.#begun.length = 0;
  }

  /** True when the record is an event that the reader is to see. */
  #decode(words: Uint32Array): boolean {
    const i = this.#at;
    this.#at = i + RECORD_BYTES / 4;
    const high = words[i + 1] as number;
    const low = words[i + 2] as number;
    const op = (high >>> 16) & 0x3f;
    const address = (high & 0x7fff) * HIGH + (words[i] as number);
    if (op >= FIRST_NOTE) return this.#note(op, address, high >>> 22, words, i);
    if (opName(op) === undefined) return this.#broken(op);
    this.op = op;
    this.ticks = this.#base + (words[i + 3] as number);
    this.size = low;
    this.site = this.#sites[high >>> 22] as number;
    this.stack = this.#stacks[high >>> 22] as number;
    this.address = address;
    this.alignment = 0;
    this.old = 0;
    if (this.#wide >= 0) {
      this.size = (words[this.#wide + 3] as number) * HIGH + (words[this.#wide + 2] as number);
      const above = (words[this.#wide + 1] as number) & 0x7fff;
      this.alignment = above * HIGH + (words[this.#wide] as number);
      this.#wide = -1;
    }
    if (this.#far >= 0) {
      this.address = (words[this.#far + 3] as number) * HIGH + (words[this.#far + 2] as number);
      this.#far = -1;
    }
    if (op === Op.release) this.#begun.push(this.address);
    else if (op === Op.realloc || op === Op.reallocarray) this.old = this.#begun.pop() ?? 0;
    return true;
  }

  #note(op: number, address: number, site: number, words: Uint32Array, i: number): boolean {
    const much = (words[i + 3] as number) * HIGH + (words[i + 2] as number);
    if (op === Op.base) this.#base = much;
    else if (op === Op.wide) this.#wide = i;
    else if (op === Op.far) this.#far = i;
    else if (op === Op.site) {
      this.#sites[site] = Math.floor(much / 2 ** 32) * 2 ** 47 + address;
      this.#stacks[site] = much % 2 ** 32;
    } else if (op === Op.thread) this.#serve(much);
    else if (op === Op.footprint || op === Op.snapshot) {
      this.op = op;
      this.size = much;
      this.address = address;
      this.alignment = 0;
      this.old = 0;
      this.site = 0;
      this.stack = 0;
      return true;
    }
    return false;
  }

  /** After a broken record, the rest of the segment cannot be trusted. */
  #broken(op: number): boolean {
    const { index } = this.#segments[this.#next - 1] as SegmentHead;
    const record = this.#at / (RECORD_BYTES / 4) - 1;
    this.#file.damage.add(`segment ${index} is damaged from record ${record} on (op ${op})`);
    this.#at = Number.MAX_SAFE_INTEGER;
    return false;
  }

  /** At equal times, releases come before allocations. */
  get later(): boolean {
    return isAllocation(this.op);
  }
}
