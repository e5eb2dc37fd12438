// Answers questions about a heap over time: where blocks lie in a map without the holes of the address
// space, what is live at a position, how full a stretch of memory is. Runs in the page and in Node.
// Uses typed arrays, because every frame walks them.

import type { HeapData, HeapFacts } from './data.ts';

/** Holes of the address space up to this many bytes stay in the map. */
const HOLE = 2 ** 16;
const MOST_PARTS = 400;
/** Added to the size of chosen blocks, so that they outrank all others. */
const CHOSEN = 2 ** 47;

/** A part of the address space without a large hole, and where it lies in the map. */
export interface Part {
  start: number;
  end: number;
  /** Its place: the bytes of the map before it. */
  at: number;
}

export interface Block {
  address: number;
  size: number;
  birth: number;
  death: number;
  thread: number;
  /** A node of the tree of calls, and its function. */
  stack: number;
  site: number;
}

/** A chunk that a walk of the malloc reported. */
export interface WalkChunk {
  start: number;
  extent: number;
  kind: number;
  sizeClass: number;
  owner: number;
}

/** For cells of equal size: how many bytes of each are live, and which block in it is the largest. */
export interface Paint {
  live: Float32Array;
  /** Live bytes of chosen blocks, which are painted before larger ones. */
  chosen: Float32Array;
  block: Int32Array;
  /** Bytes that were ever part of a block. */
  used: Float32Array;
}

export class HeapModel {
  readonly facts: HeapFacts;
  readonly parts: Part[];
  /** The length of the map in bytes. */
  readonly extent: number;
  readonly stops: HeapData['columns']['stops'];
  readonly #address: Float64Array;
  /** The place of each block in the map. */
  readonly #place: Float64Array;
  readonly #size: Float64Array;
  readonly #birth: Float64Array;
  readonly #death: Float64Array;
  readonly #thread: Uint16Array;
  readonly #stack: Int32Array;
  readonly stacks: HeapData['columns']['stacks'];
  readonly crowd: HeapData['columns']['crowd'];
  /** The largest end of any block up to this one. */
  readonly #reach: Float64Array;
  readonly #pages: { place: Float64Array; length: Float64Array; first: Float64Array };
  readonly #density: { place: Float64Array; bytes: Float64Array };
  readonly #walks: { at: number; chunks: WalkChunk[] }[];

  constructor({ facts, columns }: HeapData) {
    this.facts = facts;
    this.stops = columns.stops;
    const { blocks, pages } = columns;
    this.parts = partsOf(pages.start, pages.length, columns.chunks);
    const last = this.parts.at(-1);
    this.extent = last ? last.at + last.end - last.start : 0;
    this.#address = blocks.address;
    this.#place = this.#address.map((address) => this.placeOf(address));
    this.#size = blocks.size;
    this.#birth = blocks.birth;
    this.#death = blocks.death;
    this.#thread = Uint16Array.from(blocks.thread);
    this.#stack = Int32Array.from(blocks.stack);
    this.stacks = columns.stacks;
    this.crowd = columns.crowd;
    this.#reach = new Float64Array(this.#place.length);
    let reach = 0;
    for (let i = 0; i < this.#reach.length; i++) {
      reach = Math.max(reach, (this.#place[i] as number) + Math.max(1, this.#size[i] as number));
      this.#reach[i] = reach;
    }
    this.#pages = {
      place: Float64Array.from(pages.start, (start) => this.placeOf(start)),
      length: Float64Array.from(pages.length),
      first: Float64Array.from(pages.first),
    };
    this.#density = {
      place: Float64Array.from(columns.density.start, (start) => this.placeOf(start)),
      bytes: columns.density.bytes,
    };
    this.#walks = splitWalks(facts, columns.chunks);
  }

  /** How many positions the page can show. */
  get count(): number {
    return this.stops.time.length;
  }

  /** The position (events applied) of a stop. */
  positionOf(stop: number): number {
    return Math.min(stop * this.facts.every, this.facts.events);
  }

  /** The number of the stop that is nearest to a position. */
  stopAt(position: number): number {
    if (position >= this.facts.events) return this.count - 1;
    return Math.min(this.count - 1, Math.round(position / this.facts.every));
  }

  /** Where an address lies in the map; an address between two parts maps to the end of the first. */
  placeOf(address: number): number {
    const part = this.parts[lastUpTo(this.parts, address, ({ start }) => start)];
    return part ? part.at + Math.min(address, part.end) - part.start : 0;
  }

  /** The address at a place in the map. */
  addressAt(place: number): number {
    const part = this.parts[lastUpTo(this.parts, place, ({ at }) => at)];
    return part ? part.start + Math.min(place - part.at, part.end - part.start) : 0;
  }

  block(i: number): Block {
    return {
      address: this.#address[i] as number,
      size: this.#size[i] as number,
      birth: this.#birth[i] as number,
      death: this.#death[i] as number,
      thread: this.#thread[i] as number,
      stack: this.#stack[i] as number,
      site: this.stacks.frame[this.#stack[i] as number] ?? 0,
    };
  }

  /** For each block the node of `stacks` that allocated it; likewise its size, birth and death. */
  get columns(): {
    stack: Int32Array;
    size: Float64Array;
    birth: Float64Array;
    death: Float64Array;
  } {
    return { stack: this.#stack, size: this.#size, birth: this.#birth, death: this.#death };
  }

  get blocks(): number {
    return this.#place.length;
  }

  isLive(i: number, position: number): boolean {
    return (this.#birth[i] as number) < position && position <= (this.#death[i] as number);
  }

  /** The live block at a place, or the last one that was there; undefined if there never was one. */
  blockAt(place: number, position: number): number | undefined {
    let best: number | undefined;
    for (let i = this.#firstReaching(place); i < this.blocks; i++) {
      const start = this.#place[i] as number;
      if (start > place) break;
      if (start + Math.max(1, this.#size[i] as number) <= place) continue;
      if ((this.#birth[i] as number) >= position) continue;
      if (this.isLive(i, position)) return i;
      if (best === undefined || (this.#birth[i] as number) > (this.#birth[best] as number))
        best = i;
    }
    return best;
  }

  /** The next live block in address order after (or before) a place. */
  neighbour(place: number, position: number, step: 1 | -1): number | undefined {
    let i = lastUpTo(this.#place, place, (each) => each);
    if (step === 1) i++;
    else while (i >= 0 && (this.#place[i] as number) >= place) i--;
    for (; i >= 0 && i < this.blocks; i += step) if (this.isLive(i, position)) return i;
    return undefined;
  }

  #firstReaching(place: number): number {
    let [low, high] = [0, this.blocks];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#reach[middle] as number) <= place) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Paints `cells` cells of `grain` bytes, starting at place `from`, as they are after `position`
   * events. `mask` is 1 for the nodes of `stacks` that are chosen.
   */
  paint(position: number, from: number, grain: number, cells: number, mask?: Uint8Array): Paint {
    const paint = {
      live: new Float32Array(cells),
      chosen: new Float32Array(mask ? cells : 0),
      block: new Int32Array(cells).fill(-1),
      used: new Float32Array(cells),
    };
    const end = from + grain * cells;
    const best = new Float32Array(cells);
    const { place, length, first } = this.#pages;
    for (
      let i = Math.max(
        0,
        lastUpTo(place, from, (each) => each),
      );
      i < place.length;
      i++
    ) {
      const start = place[i] as number;
      if (start >= end) break;
      if ((first[i] as number) < position)
        spread(paint.used, start - from, start - from + (length[i] as number), grain);
    }
    this.#paintDensity(paint.live, position, from, grain);
    for (let i = this.#firstReaching(from); i < this.blocks; i++) {
      const start = this.#place[i] as number;
      if (start >= end) break;
      if (!((this.#birth[i] as number) < position && position <= (this.#death[i] as number)))
        continue;
      const size = Math.max(1, this.#size[i] as number);
      if (start + size <= from) continue;
      const a = (start - from) / grain;
      const b = (start - from + size) / grain;
      const chosen = mask?.[this.#stack[i] as number] === 1;
      const rank = chosen ? size + CHOSEN : size;
      if (chosen) spread(paint.chosen, start - from, start - from + size, grain);
      if (Math.floor(a) === Math.floor(b)) {
        const cell = Math.floor(a);
        paint.live[cell] = (paint.live[cell] as number) + size;
        if (rank > (best[cell] as number)) {
          best[cell] = rank;
          paint.block[cell] = i;
        }
        continue;
      }
      spread(paint.live, start - from, start - from + size, grain);
      for (let cell = Math.max(0, Math.floor(a)); cell < Math.min(cells, b); cell++) {
        if (rank <= (best[cell] as number)) continue;
        best[cell] = rank;
        paint.block[cell] = i;
      }
    }
    return paint;
  }

  /** Adds blurred blocks, as they were at the nearest frame of the density. */
  #paintDensity(live: Float32Array, position: number, from: number, grain: number): void {
    const { cell, frames } = this.facts.density;
    const { place, bytes } = this.#density;
    if (place.length === 0) return;
    const step = frames[0] ?? 1;
    const frame = Math.min(frames.length, Math.max(1, Math.round(position / step))) - 1;
    const end = from + grain * live.length;
    const first = Math.max(
      0,
      lastUpTo(place, from, (each) => each),
    );
    for (let i = first; i < place.length && (place[i] as number) < end; i++) {
      const full = (bytes[i * frames.length + frame] ?? 0) / cell;
      if (full === 0) continue;
      const start = (place[i] as number) - from;
      spread(live, start, start + cell, grain, full);
    }
  }

  /** The last walk up to a position, and its own position. */
  walkAt(position: number): { at: number; chunks: WalkChunk[] } | undefined {
    return this.#walks.findLast(({ at }) => at <= position);
  }

  get walks(): number {
    return this.#walks.length;
  }
}

/** Adds the bytes of [start, end) to the cells that contain them. */
function spread(cells: Float32Array, start: number, end: number, grain: number, weight = 1): void {
  const first = Math.max(0, Math.floor(start / grain));
  const last = Math.min(cells.length - 1, Math.ceil(end / grain) - 1);
  for (let cell = first; cell <= last; cell++) {
    const bytes = Math.min(end, (cell + 1) * grain) - Math.max(start, cell * grain);
    cells[cell] = (cells[cell] as number) + bytes * weight;
  }
}

/** The index of the last item whose key is at most `value`; -1 if there is none. */
function lastUpTo<T>(
  items: { length: number; [i: number]: T },
  value: number,
  key: (item: T) => number,
): number {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(items[middle] as T) <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Joins runs across holes of up to HOLE bytes; if too many parts remain, across larger holes, too. */
function partsOf(
  starts: Float64Array,
  lengths: Float64Array,
  chunks: HeapData['columns']['chunks'],
): Part[] {
  const runs = Array.from(starts, (start, i) => ({ start, end: start + (lengths[i] ?? 0) }));
  // The map includes the malloc's own memory, but not address space that it only reserved.
  for (const [i, start] of chunks.start.entries()) {
    const [kind, extent] = [chunks.kind[i] ?? 0, chunks.extent[i] ?? 0];
    if (kind >= 2 && kind !== 5) runs.push({ start, end: start + extent });
  }
  runs.sort((a, b) => a.start - b.start);
  for (let hole = HOLE; ; hole *= 4) {
    const parts: Part[] = [];
    for (const { start, end } of runs) {
      const last = parts.at(-1);
      if (last && start - last.end <= hole) last.end = Math.max(last.end, end);
      else parts.push({ start, end, at: 0 });
    }
    if (parts.length > MOST_PARTS) continue;
    let at = 0;
    for (const part of parts) {
      part.at = at;
      at += part.end - part.start;
    }
    return parts;
  }
}

function splitWalks(facts: HeapFacts, chunks: HeapData['columns']['chunks']) {
  let next = 0;
  return facts.walks.map(({ at, chunks: count }) => {
    const list: WalkChunk[] = [];
    for (const end = Math.min(next + count, chunks.start.length); next < end; next++)
      list.push({
        start: chunks.start[next] ?? 0,
        extent: chunks.extent[next] ?? 0,
        kind: chunks.kind[next] ?? 0,
        sizeClass: chunks.sizeClass[next] ?? 0,
        owner: chunks.owner[next] ?? 0,
      });
    return { at, chunks: list };
  });
}

/** The share of resident memory that is in no live block; undefined if `resident` is unknown (0). */
export function fragmentation(live: number, resident: number): number | undefined {
  return resident > 0 ? Math.max(0, 1 - live / resident) : undefined;
}
