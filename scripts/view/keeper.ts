// Reduces a stream of up to ten million events, and more, to what a page can show fast.

import { Crowd } from './crowd.ts';
import { type HeapColumns, NEVER } from './data.ts';
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

const stopColumns = ['time', 'bytes', 'blocks', 'resident', 'over'] as const;
const blockColumns = ['address', 'size', 'birth', 'death', 'thread', 'stack'] as const;

/**
 * Keeps the state at every `every`-th position, and the blocks that are live at one of these. When
 * there are too many of either, `every` doubles, and half of the positions are dropped. If that does
 * not suffice, because too many blocks live long, the smallest are blurred into a density. So memory
 * is bounded whatever the length of the trace (about 50 MB with the limits above), and the state at
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
  readonly #stops = columnsOf(stopColumns, FIRST);
  #stopCount = 0;
  /** The most bytes that were live since the last stop. */
  #most = 0;
  /** In the order in which the blocks ended. */
  #blocks = columnsOf(blockColumns, FIRST);
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
    if (this.#stopCount === stops.time.length) enlarge(stops);
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
    if (this.#blockCount === blocks.birth.length) enlarge(blocks);
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
    for (const name of stopColumns) {
      const column = this.#stops[name];
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
    const blocks = this.#blocks;
    let kept = 0;
    for (let i = 0; i < this.#blockCount; i++) {
      if (!keep(i)) continue;
      for (const name of blockColumns) blocks[name][kept] = blocks[name][i] as number;
      kept++;
    }
    this.#blockCount = kept;
  }

  /** At the end: reduces the blocks to those to draw, and sorts them by address and birth. */
  settle(): void {
    this.#relieve();
    const { address, birth } = this.blocks;
    const order = Uint32Array.from(birth, (_, i) => i).sort(
      (a, b) =>
        (address[a] as number) - (address[b] as number) ||
        (birth[a] as number) - (birth[b] as number),
    );
    const sorted = columnsOf(blockColumns, order.length);
    for (const name of blockColumns) {
      const [from, to] = [this.#blocks[name], sorted[name]];
      for (const [i, row] of order.entries()) to[i] = from[row] as number;
    }
    this.#blocks = sorted;
  }
}

type Columns<Name extends string> = Record<Name, Float64Array>;

function columnsOf<Name extends string>(names: readonly Name[], length: number): Columns<Name> {
  const columns = names.map((name) => [name, new Float64Array(length)] as const);
  return Object.fromEntries(columns) as Columns<Name>;
}

/** Doubles the columns; they get at least one entry. */
function enlarge<Name extends string>(columns: Columns<Name>): void {
  for (const name of Object.keys(columns) as Name[]) {
    const more = new Float64Array(Math.max(1, 2 * columns[name].length));
    more.set(columns[name]);
    columns[name] = more;
  }
}

/** The first `length` entries of each column. */
function cut<Name extends string>(columns: Columns<Name>, length: number): Columns<Name> {
  const parts = Object.entries<Float64Array>(columns).map(
    ([name, column]) => [name, column.subarray(0, length)] as const,
  );
  return Object.fromEntries(parts) as Columns<Name>;
}
