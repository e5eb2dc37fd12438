// Writes steps as a plan for native/tools/replay.c, which defines the format.

import { closeSync, openSync, writeSync } from 'node:fs';
import { setImmediate as turn } from 'node:timers/promises';
import { CHeader } from './header.ts';
import type { Step, StepKind } from './steps.ts';

const header = new CHeader('tools/replay.c');
const NONE = header.constant('PLAN_NONE');
const MOST = header.constant('PLAN_PIECE');
const STEP_BYTES = header.size('plan_step');
const SPAWN = header.constant('PLAN_SPAWN');
const kinds: Record<StepKind, number> = {
  malloc: header.constant('PLAN_MALLOC'),
  calloc: header.constant('PLAN_CALLOC'),
  aligned: header.constant('PLAN_ALIGNED'),
  realloc: header.constant('PLAN_REALLOC'),
  free: header.constant('PLAN_FREE'),
  nothing: header.constant('PLAN_FREE'),
};

/** What is known of a plan when it is written: the same for every malloc that plays it. */
export interface PlanFigures {
  calls: number;
  threads: number;
  /** Bytes asked for, of the blocks alive at a time: the most there ever were. */
  peakLive: number;
  peakBlocks: number;
  /** Live blocks met by all allocations together: what a first-fit list would walk past. */
  walked: number;
}

/** A thread's steps, until there are enough of them for a piece. */
interface Pending {
  bytes: Buffer;
  used: number;
  pieces: { place: number; steps: number }[];
}

const FIRST_PIECE = 64;

class PlanWriter {
  readonly figures: PlanFigures = {
    calls: 0,
    threads: 0,
    peakLive: 0,
    peakBlocks: 0,
    walked: 0,
  };
  readonly #fd: number;
  readonly #threads: Pending[] = [];
  /** Bytes in each slot. */
  readonly #sizes: number[] = [];
  /** Blocks that each slot has held, the present one included. */
  readonly #turns: number[] = [];
  #live = 0;
  #blocks = 0;
  #end = header.size('plan_header');
  #last = 0;

  constructor(file: string) {
    this.#fd = openSync(file, 'w');
  }

  add(step: Step): void {
    if (this.#threads[step.thread] === undefined) this.#begin(step.thread);
    this.#last = step.thread;
    this.#count(step);
    const slot = step.kind === 'nothing' ? NONE : step.slot;
    const log2 = step.alignment > 1 ? Math.ceil(Math.log2(step.alignment)) : 0;
    this.#put(step.thread, slot, kinds[step.kind], step.size, Math.min(log2, 47), step.old);
  }

  /** The thread that did something last begins it, because that thread runs. */
  #begin(thread: number): void {
    this.#threads[thread] = { bytes: Buffer.alloc(FIRST_PIECE * STEP_BYTES), used: 0, pieces: [] };
    this.figures.threads++;
    if (thread > 0) this.#put(this.#last, thread, SPAWN);
  }

  #count(step: Step): void {
    const { figures } = this;
    figures.calls++;
    if (step.kind === 'nothing') return;
    if (step.kind === 'free') {
      this.#remove(step.slot);
      return;
    }
    figures.walked += this.#blocks;
    if (step.kind === 'realloc') this.#remove(step.old);
    this.#sizes[step.slot] = step.size;
    this.#turns[step.slot] = (this.#turns[step.slot] ?? 0) + 1;
    this.#live += step.size;
    this.#blocks++;
    if (this.#live > figures.peakLive) figures.peakLive = this.#live;
    if (this.#blocks > figures.peakBlocks) figures.peakBlocks = this.#blocks;
  }

  #remove(slot: number): void {
    this.#live -= this.#sizes[slot] ?? 0;
    this.#blocks--;
  }

  /** Which of the blocks of a slot is in it. */
  #turnOf(slot: number): number {
    return Math.max((this.#turns[slot] ?? 0) - 1, 0);
  }

  #put(thread: number, slot: number, kind: number, size = 0, log2 = 0, old = -1): void {
    const pending = this.#threads[thread] as Pending;
    const { bytes, used } = pending;
    bytes.writeUInt32LE(slot, used);
    bytes.writeUInt32LE(kind === SPAWN ? 0 : this.#turnOf(slot), used + 4);
    bytes.writeUInt32LE(Math.max(old, 0), used + 8);
    bytes.writeUInt32LE(old < 0 ? 0 : this.#turnOf(old), used + 12);
    bytes.writeUIntLE(size, used + 16, 6);
    bytes[used + 22] = kind;
    bytes[used + 23] = log2;
    pending.used += STEP_BYTES;
    if (pending.used === bytes.length) this.#flush(pending);
  }

  /** Pieces grow with their thread: there may be thousands that do little. */
  #flush(pending: Pending): void {
    const { bytes, used, pieces } = pending;
    if (used === 0) return;
    writeSync(this.#fd, bytes, 0, used, this.#end);
    pieces.push({ place: this.#end, steps: used / STEP_BYTES });
    this.#end += used;
    pending.used = 0;
    const next = Math.min(bytes.length * 2, MOST * STEP_BYTES);
    if (next > bytes.length) pending.bytes = Buffer.alloc(next);
  }

  finish(): PlanFigures {
    for (const pending of this.#threads) this.#flush(pending);
    const pieces = this.#threads.flatMap((pending) => pending.pieces);
    const size = header.size('plan_piece');
    const table = Buffer.alloc(pieces.length * size + this.#threads.length * 4);
    for (const [i, { place, steps }] of pieces.entries()) {
      table.writeBigUInt64LE(BigInt(place), i * size);
      table.writeBigUInt64LE(BigInt(steps), i * size + 8);
    }
    for (const [i, pending] of this.#threads.entries())
      table.writeUInt32LE(pending.pieces.length, pieces.length * size + i * 4);
    writeSync(this.#fd, table, 0, table.length, this.#end);
    const head = Buffer.alloc(header.size('plan_header'));
    head.write('LMPLAN1\0', 'latin1');
    head.writeUInt32LE(this.#threads.length, header.offset('plan_header', 'threads'));
    head.writeUInt32LE(this.#sizes.length, header.offset('plan_header', 'slots'));
    head.writeBigUInt64LE(BigInt(pieces.length), header.offset('plan_header', 'pieces'));
    head.writeBigUInt64LE(BigInt(this.#end), header.offset('plan_header', 'table'));
    writeSync(this.#fd, head, 0, head.length, 0);
    return this.figures;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** So many steps take some ten milliseconds; then signals get their turn. */
const STEPS_A_TURN = 20_000;

/** Writes the plan of these steps; `progress` is told how many there were, now and then. */
export async function writePlan(
  file: string,
  steps: Iterable<Step>,
  progress: (steps: number) => void = () => {},
): Promise<PlanFigures> {
  const writer = new PlanWriter(file);
  try {
    for (const step of steps) {
      writer.add(step);
      if (writer.figures.calls % STEPS_A_TURN > 0) continue;
      progress(writer.figures.calls);
      await turn();
    }
    return writer.finish();
  } finally {
    writer.close();
  }
}
