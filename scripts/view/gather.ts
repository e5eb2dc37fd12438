// Reduces a trace to the data that the page shows, in one pass and bounded memory.

import { basename } from 'node:path';
import { Failure } from '../lib/errors.ts';
import {
  isAllocation,
  isRelease,
  Ledger,
  NONE,
  Op,
  type Trace,
  type TraceEvent,
  type TraceProcess,
} from '../trace/trace.ts';
import { Stacks } from './block-stacks.ts';
import { type HeapData, type HeapFacts, NEVER } from './data.ts';
import { Histogram } from './histogram.ts';
import { Keeper } from './keeper.ts';
import { commandOf, nameOf } from './starters.ts';
import { Touched } from './touched.ts';
import { readWalks } from './walks.ts';

export interface GatherOptions {
  /** The number of a process in the trace; by default the one with most calls. */
  process?: number | undefined;
  /** Called from time to time with the share that is done. */
  progress?: ((share: number) => void) | undefined;
  keeper?: Keeper;
  /** Accept a process without any call. */
  silent?: boolean;
}

/** How many frees of pointers to no live block the page lists. */
const MOST_WRONG = 20;
const none = new Float64Array();

/** Throws a Failure if the trace has no such process, or the process no call. */
export async function gather(trace: Trace, options: GatherOptions = {}): Promise<HeapData> {
  const process = chooseProcess(trace, options.process);
  const gatherer = new Gatherer(options.keeper ?? new Keeper(process.records));
  const step = Math.max(1, Math.floor(process.records / 200));
  let seen = 0;
  for (const event of trace.events(process)) {
    gatherer.take(event);
    if (++seen % step === 0) options.progress?.(Math.min(1, seen / process.records));
  }
  if (gatherer.position === 0 && !options.silent)
    throw new Failure(`${trace.file} has no call of malloc or free`, {
      hint: trace.damage[0] ?? 'is the program static, or did it end before its first call?',
    });
  return gatherer.finish(trace, process);
}

/** Throws a Failure if the trace has no such process. */
export function chooseProcess(trace: Trace, number: number | undefined): TraceProcess {
  const found =
    number === undefined ? trace.busiest : trace.processes.find((each) => each.number === number);
  if (found !== undefined) return found;
  const known = trace.processes.map(
    ({ number, executable }) => `${number} (${basename(executable)})`,
  );
  throw new Failure(
    number === undefined
      ? `${trace.file} contains no process`
      : `${trace.file}: no process ${number}`,
    {
      hint:
        known.length > 0
          ? `there are: ${known.join(', ')}`
          : (trace.damage[0] ?? 'record it again'),
    },
  );
}

/** Takes events in the order of the trace. Footprints and walks do not count as calls. */
class Gatherer {
  /** Calls seen so far. */
  position = 0;
  readonly #ledger = new Ledger();
  readonly #keeper: Keeper;
  readonly #touched = new Touched();
  readonly #stacks = new Stacks();
  readonly #sizes = new Histogram();
  readonly #lifetimes = new Histogram();
  readonly #walks: { number: number; at: number }[] = [];
  readonly #wrongFrees: HeapFacts['wrongFrees'] = [];
  #resident = 0;
  #time = 0;
  #start = 0;
  #peak = 0;

  constructor(keeper: Keeper) {
    this.#keeper = keeper;
  }

  take(event: TraceEvent): void {
    if (this.position === 0) this.#start = event.time;
    this.#time = event.time - this.#start;
    if (this.position === 0) this.#keeper.stop(0, this.#state());
    if (isAllocation(event.op) || isRelease(event.op)) {
      this.#call(event);
      return;
    }
    if (event.op === Op.footprint) this.#resident = event.size;
    if (event.op === Op.snapshot) this.#walks.push({ number: event.size, at: this.position });
  }

  #state() {
    const { liveBytes, liveBlocks } = this.#ledger;
    return { time: this.#time, bytes: liveBytes, blocks: liveBlocks, resident: this.#resident };
  }

  #call(event: TraceEvent): void {
    const ledger = this.#ledger;
    const { strays } = ledger;
    ledger.apply(event);
    if (ledger.strays > strays) this.#wrongFree(event);
    const { born, died, rows } = ledger;
    if (died !== NONE) {
      const lived = Math.max(0, event.time - (rows.born[died] as number));
      this.#lifetimes.add(lived, rows.size[died] as number);
      this.#keep(died, this.position);
      this.#stacks.died(ledger, event, this.position + 1, lived);
    }
    if (born !== NONE) {
      const size = rows.size[born] as number;
      this.#stacks.born(ledger, event, this.position + 1);
      rows.mark[born] = this.position;
      this.#touched.add(rows.address[born] as number, size, this.position);
      if (!ledger.revived) this.#sizes.add(size, size);
    }
    this.position++;
    if (ledger.liveBytes > this.#peak) {
      this.#peak = ledger.liveBytes;
      this.#stacks.tally.peakAt = this.position;
    }
    this.#keeper.most(ledger.liveBytes);
    if (this.position % this.#keeper.every === 0) this.#keeper.stop(this.position, this.#state());
  }

  #wrongFree(event: TraceEvent): void {
    if (this.#wrongFrees.length === MOST_WRONG) return;
    const stack = this.#stacks.number(event);
    this.#wrongFrees.push({ at: this.position + 1, address: event.address, stack });
  }

  /** The mark of a row is the position at which its block became live. */
  #keep(row: number, death: number): void {
    const { address, size, thread, mark } = this.#ledger.rows;
    const birth = mark[row] as number;
    if (!this.#keeper.shown(birth, death)) return;
    this.#keeper.block(
      address[row] as number,
      size[row] as number,
      birth,
      death,
      thread[row] as number,
      this.#stacks.of(row),
    );
  }

  async finish(trace: Trace, process: TraceProcess): Promise<HeapData> {
    this.#keeper.end(this.position, this.#state());
    for (const row of this.#ledger.live()) this.#keep(row, NEVER);
    this.#keeper.settle();
    const { walks, chunks } = readWalks(trace, process, this.#walks, this.#stacks.tally.peakAt);
    const { stops, blocks, every, blurred, density, crowd } = this.#keeper;
    const { frames, stacks, nodeOf, known, remarks } = await this.#stacks.finish(trace, process);
    const node = (stack: number): number => nodeOf[stack] ?? 0;
    const facts = {
      ...this.#facts(trace, process),
      wrongFrees: this.#wrongFrees.map((each) => ({ ...each, stack: node(each.stack) })),
      frames,
      known,
      remarks,
      every,
      blurred,
      density: { cell: density?.cell ?? 0, frames: [...(density?.frames ?? [])] },
      walks,
    };
    const columns = {
      stops,
      blocks: { ...blocks, stack: blocks.stack.map(node) },
      stacks,
      crowd: crowd?.columns(node) ?? { stack: none, bytes: none, blocks: none },
      pages: this.#touched.runs(every),
      density: density?.columns() ?? { start: none, bytes: none },
      chunks,
    };
    return { facts, columns };
  }

  #facts(
    trace: Trace,
    process: TraceProcess,
  ): Omit<
    HeapFacts,
    'every' | 'blurred' | 'density' | 'walks' | 'wrongFrees' | 'frames' | 'known' | 'remarks'
  > {
    const ledger = this.#ledger;
    return {
      malloc: mallocName(process.providers[0] ?? ''),
      command: commandOf(process),
      name: nameOf(process),
      pid: process.pid,
      process: process.number,
      file: basename(trace.file),
      events: this.position,
      allocations: ledger.allocations,
      releases: ledger.releases,
      failures: ledger.failures,
      strays: ledger.strays,
      overlaps: ledger.overlaps,
      totalBytes: ledger.totalBytes,
      peakBytes: ledger.peakBytes,
      peakBlocks: ledger.peakBlocks,
      peakAt: this.#stacks.tally.peakAt,
      nanoseconds: Math.round(this.#time),
      threads: [...trace.threads],
      damage: trace.damage,
      sizes: this.#sizes.bins(),
      lifetimes: this.#lifetimes.bins(),
    };
  }
}

/** `list` for …/libmalloc-list.so, `glibc` for libc.so.6, else the file's own name. */
function mallocName(provider: string): string {
  const file = basename(provider);
  if (/^libc[.-]/.test(file)) return 'glibc';
  if (file === '' || file === '?') return 'unknown malloc';
  return /^lib(?:malloc-)?(\w+?)(?:_minimal)?\.so/.exec(file)?.[1] ?? file;
}
