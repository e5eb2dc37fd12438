// Ten million events, a page that stays fluent: what is kept of a stream, and what is thinned out.

import { NEVER } from './data.ts';
import { Density } from './density.ts';

/** So many positions can be shown, and so many blocks are drawn, at most (twice as many are held). */
export const MOST_STOPS = 2 ** 15;
export const MOST_BLOCKS = 500_000;
/** Blocks give way to positions down to so many of these; then small blocks give way. */
const FEW_STOPS = 2 ** 10;
const FRAMES = 64;

interface Stop {
  time: number;
  bytes: number;
  blocks: number;
  resident: number;
}

const columns = ['address', 'size', 'birth', 'death', 'thread', 'site'] as const;
type Columns = Record<(typeof columns)[number], number[]>;
const empty = (): Columns => ({
  address: [],
  size: [],
  birth: [],
  death: [],
  thread: [],
  site: [],
});

/**
 * Keeps the state at every `every`-th position, and the blocks that are alive at one of these. When
 * there are too many of either, `every` doubles and half of what was kept goes. Where that does not
 * help, because too many blocks live long, the smallest become a density. So memory is bounded
 * whatever the length of the trace, and what is left is exact where it can be shown.
 */
export class Keeper {
  every = 1;
  readonly stops: Record<keyof Stop, number[]> = { time: [], bytes: [], blocks: [], resident: [] };
  /** Columns, in the order in which blocks died. */
  blocks: Columns = empty();
  /** Blocks that were too many; undefined when all are kept. */
  density: Density | undefined;
  /** How many blocks the density is made of. */
  blurred = 0;
  readonly #mostStops: number;
  readonly #mostBlocks: number;
  readonly #length: number;

  /** `length`: about how many events will come. */
  constructor(length: number, mostStops: number = MOST_STOPS, mostBlocks: number = MOST_BLOCKS) {
    this.#length = length;
    this.#mostStops = mostStops;
    this.#mostBlocks = mostBlocks;
  }

  /** The state after `position` events. */
  stop(position: number, state: Stop): void {
    if (position % this.every !== 0) return;
    this.#push(state);
    if (this.stops.time.length > this.#mostStops) this.#thin();
  }

  /** The state at the end, which can be shown wherever it lies. */
  end(position: number, state: Stop): void {
    if (position % this.every !== 0) this.#push(state);
  }

  #push({ time, bytes, blocks, resident }: Stop): void {
    this.stops.time.push(Math.round(time));
    this.stops.bytes.push(bytes);
    this.stops.blocks.push(blocks);
    this.stops.resident.push(resident);
  }

  /** A block that lives at the positions above `birth`, up to `death`. */
  block(
    address: number,
    size: number,
    birth: number,
    death: number,
    thread: number,
    site: number,
  ): void {
    if (!this.#shown(birth, death)) return;
    const { blocks } = this;
    blocks.address.push(address);
    blocks.size.push(size);
    blocks.birth.push(birth);
    blocks.death.push(death);
    blocks.thread.push(thread);
    blocks.site.push(site);
    if (blocks.birth.length > 2 * this.#mostBlocks) this.#relieve();
  }

  #shown(birth: number, death: number): boolean {
    return death === NEVER || Math.floor(death / this.every) * this.every > birth;
  }

  #relieve(): void {
    while (
      this.blocks.birth.length > this.#mostBlocks &&
      this.stops.time.length > Math.min(FEW_STOPS, this.#mostStops / 2)
    )
      this.#thin();
    if (this.blocks.birth.length > this.#mostBlocks) this.#blur();
  }

  #thin(): void {
    this.every *= 2;
    for (const column of Object.values(this.stops)) {
      for (let i = 0; 2 * i < column.length; i++) column[i] = column[2 * i] as number;
      column.length = Math.ceil(column.length / 2);
    }
    const { birth, death } = this.blocks;
    this.#filter((i) => this.#shown(birth[i] as number, death[i] as number));
  }

  /** The smaller half of the blocks becomes a density. */
  #blur(): void {
    const { address, size, birth, death } = this.blocks;
    const kept = this.#mostBlocks / 2;
    const least = Float64Array.from(size).sort()[size.length - kept] as number;
    const step = Math.max(1, Math.ceil(this.#length / FRAMES));
    this.density ??= new Density(Array.from({ length: FRAMES }, (_, i) => (i + 1) * step));
    this.#filter((i) => {
      if ((size[i] as number) > least) return true;
      this.density?.add(
        address[i] as number,
        size[i] as number,
        birth[i] as number,
        death[i] as number,
      );
      this.blurred++;
      return false;
    });
  }

  #filter(keep: (i: number) => boolean): void {
    const kept: number[] = [];
    for (let i = 0; i < this.blocks.birth.length; i++) if (keep(i)) kept.push(i);
    this.#arrange(kept);
  }

  #arrange(order: number[]): void {
    const next = empty();
    for (const name of columns) {
      const column = this.blocks[name];
      next[name] = order.map((i) => column[i] as number);
    }
    this.blocks = next;
  }

  /** At the end: no more blocks than are drawn, sorted by address and birth. */
  settle(): void {
    this.#relieve();
    const { address, birth } = this.blocks;
    const order = Array.from(birth, (_, i) => i).sort(
      (a, b) =>
        (address[a] as number) - (address[b] as number) ||
        (birth[a] as number) - (birth[b] as number),
    );
    this.#arrange(order);
  }
}
