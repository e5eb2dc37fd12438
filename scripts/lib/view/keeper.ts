// Ten million events, a page that stays fluent: what is kept of a stream, and what is thinned out.

import { NEVER } from './data.ts';

/** So many positions can be shown, and so many blocks are drawn, at most (about twice as many held). */
export const MOST_STOPS = 2 ** 15;
export const MOST_BLOCKS = 600_000;

interface Stop {
  time: number;
  bytes: number;
  blocks: number;
  resident: number;
}

/**
 * Keeps the state at every `every`-th position and the blocks that are alive at one of these. When
 * there are too many of either, `every` doubles and half of what was kept goes: memory is bounded
 * whatever the length of the trace, and what is left is exact where it can be shown.
 */
export class Keeper {
  every = 1;
  readonly stops: { time: number[]; bytes: number[]; blocks: number[]; resident: number[] } = {
    time: [],
    bytes: [],
    blocks: [],
    resident: [],
  };
  /** Columns, in the order in which blocks died. */
  blocks: { [name in (typeof columns)[number]]: number[] } = empty();
  readonly #mostStops: number;
  readonly #mostBlocks: number;

  constructor(mostStops: number = MOST_STOPS, mostBlocks: number = MOST_BLOCKS) {
    this.#mostStops = mostStops;
    this.#mostBlocks = mostBlocks;
  }

  /** The state after `position` events. */
  stop(position: number, { time, bytes, blocks, resident }: Stop): void {
    if (position % this.every !== 0) return;
    this.#push(time, bytes, blocks, resident);
    if (this.stops.time.length > this.#mostStops) this.#thin();
  }

  /** The state at the end, which can be shown wherever it lies. */
  end(position: number, { time, bytes, blocks, resident }: Stop): void {
    if (position % this.every !== 0) this.#push(time, bytes, blocks, resident);
  }

  #push(time: number, bytes: number, blocks: number, resident: number): void {
    this.stops.time.push(Math.round(time));
    this.stops.bytes.push(bytes);
    this.stops.blocks.push(blocks);
    this.stops.resident.push(resident);
  }

  /** A block that lives at the positions above `birth`, up to `death`. */
  block(
    ...values: [
      address: number,
      size: number,
      birth: number,
      death: number,
      thread: number,
      site: number,
    ]
  ): void {
    const [, , birth, death] = values;
    if (!this.#shown(birth, death)) return;
    for (const [i, name] of columns.entries()) this.blocks[name].push(values[i] as number);
    if (this.blocks.birth.length > 2 * this.#mostBlocks) this.#thin();
  }

  #shown(birth: number, death: number): boolean {
    return death === NEVER || Math.floor(death / this.every) * this.every > birth;
  }

  #thin(): void {
    this.every *= 2;
    for (const column of Object.values(this.stops)) {
      for (let i = 0; 2 * i < column.length; i++) column[i] = column[2 * i] as number;
      column.length = Math.ceil(column.length / 2);
    }
    this.#filter((i) =>
      this.#shown(this.blocks.birth[i] as number, this.blocks.death[i] as number),
    );
  }

  #filter(keep: (i: number) => boolean): void {
    const { birth } = this.blocks;
    const kept: number[] = [];
    for (let i = 0; i < birth.length; i++) if (keep(i)) kept.push(i);
    const next = empty();
    for (const name of columns) next[name] = kept.map((i) => this.blocks[name][i] as number);
    this.blocks = next;
  }

  /**
   * Brings the number of blocks down to what is drawn, first by fewer positions, then, when even few
   * have too many, by leaving out the smallest; sorts by address. Returns how many were left out.
   */
  settle(): number {
    while (this.blocks.birth.length > this.#mostBlocks && this.stops.time.length > 64) this.#thin();
    const before = this.blocks.birth.length;
    if (before > this.#mostBlocks) {
      const sizes = Float64Array.from(this.blocks.size).sort();
      const least = sizes[before - this.#mostBlocks] as number;
      this.#filter((i) => (this.blocks.size[i] as number) > least);
    }
    const { address, birth } = this.blocks;
    const order = Uint32Array.from(birth, (_, i) => i).sort(
      (a, b) =>
        (address[a] as number) - (address[b] as number) ||
        (birth[a] as number) - (birth[b] as number),
    );
    const next = empty();
    for (const name of columns)
      next[name] = Array.from(order, (i) => this.blocks[name][i] as number);
    this.blocks = next;
    return before - birth.length;
  }
}

const columns = ['address', 'size', 'birth', 'death', 'thread', 'site'] as const;
const empty = (): Record<(typeof columns)[number], number[]> => ({
  address: [],
  size: [],
  birth: [],
  death: [],
  thread: [],
  site: [],
});
