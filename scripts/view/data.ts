// The data of a page or a picture: one process's heap over time, reduced to a size that a browser
// draws fast. Node packs it, and the page unpacks it.

/** A bar of a histogram: `count` values from `from` to below `2 * from` (or 0). */
export interface Bin {
  from: number;
  count: number;
  bytes: number;
}

/** A function of a call stack, as far as we know it: `{ name: 'main', place: 'list.c:12' }`. */
export interface FrameName {
  name: string;
  /** File and line, or the module; empty if `name` suffices. */
  place: string;
}

/** A process of a trace, as the list of processes shows it. */
export interface ProcessFacts {
  /** Its number in the trace. */
  number: number;
  pid: number;
  /** The number of the process that started it; 0 if that one is not in the trace. */
  starter: number;
  name: string;
  command: string;
  calls: number;
  peakBytes: number;
}

/** The facts about one trace. Positions count the events applied, from 0 to `events`. */
export interface HeapFacts {
  malloc: string;
  command: string;
  /** The name that the program was started by. */
  name: string;
  pid: number;
  /** The number of the process in its trace. */
  process: number;
  file: string;
  events: number;
  allocations: number;
  releases: number;
  failures: number;
  /** `strays`: frees of pointers to no live block. `overlaps`: blocks that overlapped live ones. */
  strays: number;
  overlaps: number;
  /** The first strays: the position, the address, and the node of `stacks` that freed it. */
  wrongFrees: { at: number; address: number; stack: number }[];
  totalBytes: number;
  peakBytes: number;
  peakBlocks: number;
  /** The position at which most bytes were live. */
  peakAt: number;
  nanoseconds: number;
  /** For a profile, which has moments instead of calls: the name of each position, from 0 on. */
  moments?: string[];
  /** Where the figures come from, if readers need to know: a sentence each. */
  notes?: string[];
  /** The page can show positions that are multiples of this, and the last one. */
  every: number;
  /** How many small blocks are not drawn one by one, but as a density. */
  blurred: number;
  /** The bytes of a cell of the density, and the positions at which it was taken. */
  density: { cell: number; frames: number[] };
  threads: number[];
  /** The functions in call stacks, by index; the first stands for unknown ones. */
  frames: FrameName[];
  /** Whether the trace has call stacks, single call sites only, or neither. */
  known: 'stacks' | 'sites' | 'nothing';
  /** `damage`: what is wrong with the trace. `remarks`: why functions of a file have no names. */
  damage: string[];
  remarks: string[];
  sizes: Bin[];
  lifetimes: Bin[];
  /** Walks of the heap by the malloc itself: the position, and the number of chunks. */
  walks: { at: number; chunks: number }[];
}

/** A column of whole numbers from 0 to 2^53. */
type Column = Float64Array;

/** The figures of a stack's blocks that do not depend on the position. */
export type StackFigure =
  | 'bytes'
  | 'blocks'
  | 'peakBytes'
  | 'peakBlocks'
  | 'endBytes'
  | 'endBlocks'
  | 'shortBytes'
  | 'shortBlocks'
  | 'ended'
  | 'life';

export interface HeapColumns {
  /** One entry for each position that the page can show, from 0 on. */
  stops: {
    time: Column;
    bytes: Column;
    blocks: Column;
    resident: Column;
    /** The most live bytes since the previous position, minus those at this position. */
    over: Column;
  };
  /** Sorted by address, then birth. A block is live at positions above `birth`, up to `death`. */
  blocks: {
    address: Column;
    size: Column;
    birth: Column;
    /** `NEVER` for blocks that were live at the end. */
    death: Column;
    thread: Column;
    /** A node of `stacks`. */
    stack: Column;
  };
  /**
   * Call stacks as a tree: a node is a function with a certain caller, and comes after its caller.
   * The first is the root, which stands for unknown callers. The figures count the blocks that the
   * node allocated itself; `life` is the mean life of those that ended, in nanoseconds.
   */
  stacks: Record<'parent' | 'frame' | StackFigure, Column>;
  /** Blurred blocks by stack; `bytes` and `blocks` have a value for each frame of the density. */
  crowd: { stack: Column; bytes: Column; blocks: Column };
  /** Runs of pages that were ever part of a block, in address order. */
  pages: { start: Column; length: Column; first: Column };
  /** Cells that contain blurred blocks; `bytes` has a value for each frame of each cell. */
  density: { start: Column; bytes: Column };
  /** The chunks of all walks, one walk after the other. */
  chunks: { start: Column; extent: Column; kind: Column; sizeClass: Column; owner: Column };
}

export interface HeapData {
  facts: HeapFacts;
  columns: HeapColumns;
}

export const NEVER: number = 2 ** 40;

const layout = {
  stops: ['time', 'bytes', 'blocks', 'resident', 'over'],
  blocks: ['address', 'size', 'birth', 'death', 'thread', 'stack'],
  stacks: [
    'parent',
    'frame',
    'bytes',
    'blocks',
    'peakBytes',
    'peakBlocks',
    'endBytes',
    'endBlocks',
    'shortBytes',
    'shortBlocks',
    'ended',
    'life',
  ],
  crowd: ['stack', 'bytes', 'blocks'],
  pages: ['start', 'length', 'first'],
  density: ['start', 'bytes'],
  chunks: ['start', 'extent', 'kind', 'sizeClass', 'owner'],
} as const;

type Table = Record<string, Column>;

/**
 * Encodes as bytes: the length of the facts and the facts as JSON; then, for each column, the number
 * of its values and their differences in base 128. This compresses well, because neighbouring values
 * are similar.
 */
export function pack({ facts, columns }: HeapData): Uint8Array {
  const writer = new Writer();
  const json = new TextEncoder().encode(JSON.stringify(facts));
  writer.number(json.length);
  writer.bytes(json);
  for (const [table, names] of Object.entries(layout)) {
    for (const name of names) {
      const values = (columns[table as keyof HeapColumns] as Table)[name] ?? new Float64Array();
      writer.number(values.length);
      let before = 0;
      for (const value of values) {
        const step = value - before;
        writer.number(step < 0 ? -2 * step - 1 : 2 * step);
        before = value;
      }
    }
  }
  return writer.done();
}

export function unpack(bytes: Uint8Array): HeapData {
  let at = 0;
  const number = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  const length = number();
  const facts = JSON.parse(new TextDecoder().decode(bytes.subarray(at, at + length)));
  at += length;
  const columns: Record<string, Table> = {};
  for (const [table, names] of Object.entries(layout)) {
    const filled: Table = {};
    columns[table] = filled;
    for (const name of names) {
      const values = new Float64Array(number());
      let before = 0;
      for (let i = 0; i < values.length; i++) {
        const step = number();
        before += step % 2 === 1 ? -(step + 1) / 2 : step / 2;
        values[i] = before;
      }
      filled[name] = values;
    }
  }
  return { facts, columns: columns as unknown as HeapColumns };
}

class Writer {
  #buffer = new Uint8Array(1 << 16);
  #at = 0;

  number(value: number): void {
    if (this.#at + 8 > this.#buffer.length) this.#grow(8);
    let rest = value;
    while (rest >= 128) {
      this.#buffer[this.#at++] = (rest % 128) + 128;
      rest = Math.floor(rest / 128);
    }
    this.#buffer[this.#at++] = rest;
  }

  bytes(some: Uint8Array): void {
    this.#grow(some.length);
    this.#buffer.set(some, this.#at);
    this.#at += some.length;
  }

  #grow(by: number): void {
    const more = new Uint8Array(Math.max(2 * this.#buffer.length, this.#at + by));
    more.set(this.#buffer);
    this.#buffer = more;
  }

  done(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }
}
