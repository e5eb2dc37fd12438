// Reduces a stream of up to ten million events, and more, to what a page can show fast.

import { Crowd } from './crowd.ts';
import { type HeapColumns, NEVER, type Numbers } from './data.ts';
import { Density } from './density.ts';

/** The most positions to show and blocks to draw; up to twice as many blocks are held meanwhile. */
const MOST_STOPS = 2 ** 15;
const MOST_BLOCKS = 500_000;
/** When there are too many blocks, we first halve the positions, down to this many; then we blur blocks. */
const FEW_STOPS = 2 ** 10;
const FRAMES = 64;
const FIRST = 2 ** 12;

interface Stop {
  time: number;
  bytes: number;
  blocks: number;
  resident: number;
}

const stopKinds = {
  time: Float64Array,
  bytes: Float64Array,
  blocks: Float64Array,
  resident: Float64Array,
  over: Float64Array,
} as const;
/** Positions, threads and stacks fit into 32 bits, which saves memory: up to a million blocks are held. */
const blockKinds = {
  address: Float64Array,
  size: Float64Array,
  birth: Uint32Array,
  death: Uint32Array,
  thread: Uint32Array,
  stack: Uint32Array,
} as const;

/**
 * Keeps the state at every `every`-th position, and the blocks that are live at one of these. When
 * there are too many of either, `every` doubles, and half of the positions are dropped. If that does
 * not suffice, because too many blocks live long, the smallest are blurred into a density. So memory
 * is bounded whatever the length of the trace (about 35 MB with the limits above), and the state at
 * each position that remains is exact.
 */
export class Keeper {
  every = 1;
  /** The blurred blocks by address; undefined if all blocks are kept. */
  density: Density | undefined;
  /** The blurred blocks by call stack. */
  crowd: Crowd | undefined;
  /** How many blocks were blurred. */
  blurred = 0;
  readonly #stops = columnsOf(stopKinds, FIRST);
  #stopCount = 0;
  /** The most bytes that were live since the last stop. */
  #most = 0;
  /** In the order in which the blocks ended. */
  readonly #blocks = columnsOf(blockKinds, FIRST);
  #blockCount = 0;
  readonly #mostStops: number;
  readonly #mostBlocks: number;
  readonly #length: number;

  /** `length`: about how many events will follow. */
  constructor(length: number, mostStops: number = MOST_STOPS, mostBlocks: number = MOST_BLOCKS) {
    this.#length = length;
    this.#mostStops = mostStops;
    this.#mostBlocks = mostBlocks;
  }

  get stops(): HeapColumns['stops'] {
    return cut(this.#stops, this.#stopCount);
  }

  get blocks(): HeapColumns['blocks'] {
    return cut(this.#blocks, this.#blockCount);
  }

  /** The state after `position` events. */
  stop(position: number, state: Stop): void {
    if (position % this.every !== 0) return;
    this.#push(state);
    if (this.#stopCount > this.#mostStops) this.#thin();
  }

  /** Records the live bytes after any event, so that peaks between stops are kept. */
  most(bytes: number): void {
    if (bytes > this.#most) this.#most = bytes;
  }

  /** The state at the end, which is a stop whatever its position. */
  end(position: number, state: Stop): void {
    if (position % this.every !== 0) this.#push(state);
  }

  #push({ time, bytes, blocks, resident }: Stop): void {
    const stops = this.#stops;
    if (this.#stopCount === stops.time.length) enlarge(stops, stopKinds);
    const i = this.#stopCount++;
    stops.time[i] = Math.round(time);
    stops.bytes[i] = bytes;
    stops.blocks[i] = blocks;
    stops.resident[i] = resident;
    stops.over[i] = Math.max(0, this.#most - bytes);
    this.#most = 0;
  }

  /** Adds a block that is live at the positions above `birth`, up to `death`. */
  block(
    address: number,
    size: number,
    birth: number,
    death: number,
    thread: number,
    stack: number,
  ): void {
    if (!this.shown(birth, death)) return;
    const blocks = this.#blocks;
    if (this.#blockCount === blocks.birth.length) enlarge(blocks, blockKinds);
    const i = this.#blockCount++;
    blocks.address[i] = address;
    blocks.size[i] = size;
    blocks.birth[i] = birth;
    blocks.death[i] = death;
    blocks.thread[i] = thread;
    blocks.stack[i] = stack;
    if (this.#blockCount > 2 * this.#mostBlocks) this.#relieve();
  }

  /** True if a block with this life is live at one of the present stops. */
  shown(birth: number, death: number): boolean {
    return death === NEVER || death - (death % this.every) > birth;
  }

  #relieve(): void {
    while (
      this.#blockCount > this.#mostBlocks &&
      this.#stopCount > Math.min(FEW_STOPS, this.#mostStops / 2)
    )
      this.#thin();
    if (this.#blockCount > this.#mostBlocks) this.#blur();
  }

  #thin(): void {
    this.every *= 2;
    const { bytes, over } = this.#stops;
    const before = this.#stopCount;
    const most = (i: number): number => (bytes[i] ?? 0) + (over[i] ?? 0);
    this.#stopCount = Math.ceil(before / 2);
    if (before % 2 === 0) this.#most = Math.max(this.#most, most(before - 1));
    for (let i = 1; i < this.#stopCount; i++)
      over[2 * i] = Math.max(most(2 * i - 1), most(2 * i)) - (bytes[2 * i] ?? 0);
    for (const column of Object.values<Numbers>(this.#stops)) {
      for (let i = 0; i < this.#stopCount; i++) column[i] = column[2 * i] as number;
    }
    const { birth, death } = this.#blocks;
    this.#filter((i) => this.shown(birth[i] as number, death[i] as number));
  }

  /** Moves the smaller half of the blocks into the density and the crowd. */
  #blur(): void {
    const { address, size, birth, death, stack } = this.blocks;
    const kept = this.#mostBlocks / 2;
    const least = size.slice().sort()[size.length - kept] as number;
    const step = Math.max(1, Math.ceil(this.#length / FRAMES));
    const frames = Array.from({ length: FRAMES }, (_, i) => (i + 1) * step);
    this.density ??= new Density(frames);
    this.crowd ??= new Crowd(frames);
    this.#filter((i) => {
      if ((size[i] as number) > least) return true;
      const life = [size[i] as number, birth[i] as number, death[i] as number] as const;
      this.density?.add(address[i] as number, ...life);
      this.crowd?.add(stack[i] as number, ...life);
      this.blurred++;
      return false;
    });
  }

  /** Works in place, so that repeated thinning needs no memory. */
  #filter(keep: (i: number) => boolean): void {
    const columns = Object.values<Numbers>(this.#blocks);
    let kept = 0;
    for (let i = 0; i < this.#blockCount; i++) {
      if (!keep(i)) continue;
      for (const column of columns) column[kept] = column[i] as number;
      kept++;
    }
    this.#blockCount = kept;
  }

  /** At the end: reduces the blocks to those to draw, and sorts them by address and birth. */
  settle(): void {
    this.#relieve();
    const { address, birth } = this.blocks;
    const order = sortedBy(
      address,
      sortedBy(
        birth,
        Uint32Array.from(birth, (_, i) => i),
      ),
    );
    const sorted = new Float64Array(order.length);
    for (const column of Object.values<Numbers>(this.#blocks)) {
      for (const [i, row] of order.entries()) sorted[i] = column[row] as number;
      column.set(sorted);
    }
  }
}

type Kinds<Name extends string> = Record<Name, Float64ArrayConstructor | Uint32ArrayConstructor>;
type Columns<K> = {
  [Name in keyof K]: K[Name] extends Uint32ArrayConstructor ? Uint32Array : Float64Array;
};

function columnsOf<K extends Kinds<string>>(kinds: K, length: number): Columns<K> {
  const columns = Object.entries(kinds).map(([name, Kind]) => [name, new Kind(length)] as const);
  return Object.fromEntries(columns) as Columns<K>;
}

/** Doubles the columns; they get at least one entry. */
function enlarge<K extends Kinds<string>>(columns: Columns<K>, kinds: K): void {
  for (const name of Object.keys(kinds) as (keyof K)[]) {
    const [old, Kind] = [columns[name] as Numbers, kinds[name] as Kinds<string>[string]];
    const more = new Kind(Math.max(1, 2 * old.length));
    more.set(old);
    columns[name] = more as Columns<K>[keyof K];
  }
}

/** The first `length` entries of each column. */
function cut<C extends Record<string, Numbers>>(columns: C, length: number): C {
  const parts = Object.entries(columns).map(
    ([name, column]) => [name, column.subarray(0, length)] as const,
  );
  return Object.fromEntries(parts) as C;
}

/**
 * Sorts row numbers by a column, 16 bits at a time, and keeps the order of rows with equal values. With a
 * comparison function, sort() would copy all into arrays that need several times the memory.
 */
function sortedBy(column: Numbers, rows: Uint32Array): Uint32Array {
  let [from, to]: [Uint32Array, Uint32Array] = [rows, new Uint32Array(rows.length)];
  let most = 0;
  for (const value of column) if (value > most) most = value;
  for (let unit = 1; unit <= most; unit *= 2 ** 16) {
    const digit = (row: number): number => Math.floor((column[row] as number) / unit) % 2 ** 16;
    const places = new Uint32Array(2 ** 16 + 1);
    for (const row of from) places[digit(row) + 1] = (places[digit(row) + 1] as number) + 1;
    for (let i = 1; i < places.length; i++)
      places[i] = (places[i] as number) + (places[i - 1] as number);
    for (const row of from) {
      const place = places[digit(row)] as number;
      places[digit(row)] = place + 1;
      to[place] = row;
    }
    [from, to] = [to, from];
  }
  return from;
}
