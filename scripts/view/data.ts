// What the page and the pictures are made from: one process's heap over time, thinned out to a size
// that stays fluent. Runs in Node, where it is packed, and in the page, where it is unpacked.

/** A bar of a histogram: `count` things from `from` up to `2 * from` (or 0). */
export interface Bin {
  from: number;
  count: number;
  bytes: number;
}

/** A function of a call stack, as far as it is known: `{ name: 'main', place: 'list.c:12' }`. */
export interface FrameName {
  name: string;
  /** File and line, or the module; empty where `name` says it all. */
  place: string;
}

/** A process of a trace, for the list of them. */
export interface ProcessFacts {
  /** In the trace. */
  number: number;
  pid: number;
  /** The number of the process that started it; 0 where that is none of the trace. */
  starter: number;
  name: string;
  command: string;
  calls: number;
  peakBytes: number;
}

/** What one trace says in numbers and words; positions count events applied, 0 to `events`. */
export interface HeapFacts {
  malloc: string;
  command: string;
  /** Of the program, as it was called. */
  name: string;
  pid: number;
  /** The number of the process in its trace. */
  process: number;
  file: string;
  events: number;
  allocations: number;
  releases: number;
  failures: number;
  /** Releases of what was no live block, and blocks handed out while alive. */
  strays: number;
  overlaps: number;
  /** The first of these releases: after how many events, of what, and by which node of `stacks`. */
  wrongFrees: { at: number; address: number; stack: number }[];
  totalBytes: number;
  peakBytes: number;
  peakBlocks: number;
  /** The position after which most bytes were live. */
  peakAt: number;
  nanoseconds: number;
  /** Of a profile, which knows moments and no calls: what each position is, from 0 on. */
  moments?: string[];
  /** What a reader ought to know of where the figures come from. */
  notes?: string[];
  /** Positions that can be shown are multiples of this, and the end. */
  every: number;
  /** How many small blocks were too many to be drawn each: they are a density. */
  blurred: number;
  /** Bytes of a cell of the density, and the positions that it is known for. */
  density: { cell: number; frames: number[] };
  threads: number[];
  /** Functions that called, by index; the first is unknown. */
  frames: FrameName[];
  /** Whether the trace has call stacks, or single call sites at least. */
  known: 'stacks' | 'sites' | 'nothing';
  /** What is wrong with the trace, a sentence each; and why functions of some file have no names. */
  damage: string[];
  remarks: string[];
  sizes: Bin[];
  lifetimes: Bin[];
  /** Walks over the heap by the malloc itself: after how many events, and how many chunks. */
  walks: { at: number; chunks: number }[];
}

/** A column of whole numbers from 0 to 2^53. */
type Column = Float64Array;

/** What is known of the blocks of a stack, whatever the position. */
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
  /** One for each position that can be shown, from 0 on. */
  stops: {
    time: Column;
    bytes: Column;
    blocks: Column;
    resident: Column;
    /** The most live bytes since the position before, less those at this position. */
    over: Column;
  };
  /** Sorted by address, then birth. A block lives at positions above `birth`, up to `death`. */
  blocks: {
    address: Column;
    size: Column;
    birth: Column;
    /** `NEVER` for what was live at the end. */
    death: Column;
    thread: Column;
    /** A node of `stacks`. */
    stack: Column;
  };
  /**
   * Call stacks as a tree: a node is a function and who called it, and stands behind its caller. The
   * first is the root, and stands for the unknown. The figures are of the blocks that it allocated
   * itself; `life` is the mean of those that ended, in nanoseconds.
   */
  stacks: Record<'parent' | 'frame' | StackFigure, Column>;
  /** Blurred blocks by their stack: `bytes` and `blocks` have a value for each frame of the density. */
  crowd: { stack: Column; bytes: Column; blocks: Column };
  /** Runs of bytes that were ever part of a block, at the grain of a page, in address order. */
  pages: { start: Column; length: Column; first: Column };
  /** Cells with live bytes of blurred blocks; `bytes` has a value for each frame of each cell. */
  density: { start: Column; bytes: Column };
  /** The chunks of all walks, one walk after the other. */
  chunks: { start: Column; extent: Column; kind: Column; sizeClass: Column; owner: Column };
}

export interface HeapData {
  facts: HeapFacts;
  columns: HeapColumns;
}

export const NEVER: number = 2 ** 40;

/** In the order of `enum libmalloc_kind`. */
export const chunkKinds = [
  'region',
  'span',
  'header',
  'live',
  'free',
  'fresh',
  'cached',
  'remote',
] as const;

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
 * As bytes: the facts as JSON behind their length, then each column behind its number of values, as
 * differences in base 128. Compresses well, because neighbours are alike.
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
