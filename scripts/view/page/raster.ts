// Turns a stretch of the heap into coloured cells.

import type { HeapModel } from '../model.ts';
import { bySize, type ColorBy, colorOf } from './colors.ts';
import { distinct, type Palette, type Rgb } from './palette.ts';

/** A stretch of the map: `cells` cells of `grain` bytes. */
export interface Stretch {
  from: number;
  grain: number;
  cells: number;
}

/** Colours (RGBA), and the block or chunk in each cell; where it changes, the map draws an edge. */
export interface Raster {
  pixels: Uint8ClampedArray<ArrayBuffer>;
  thing: Int32Array;
}

/** According to the trace: live blocks, memory used before, memory never used. */
export function rasterBlocks(
  model: HeapModel,
  position: number,
  { from, grain, cells }: Stretch,
  by: ColorBy,
  palette: Palette,
  mask?: Uint8Array,
): Raster {
  const { live, block, used, chosen } = model.paint(position, from, grain, cells, mask);
  const pixels = new Uint8ClampedArray(4 * cells);
  for (let cell = 0; cell < cells; cell++) {
    put(pixels, cell, from + cell * grain < model.extent ? palette.never : palette.paper);
    const touched = Math.min(1, (used[cell] as number) / grain);
    if (touched > 0) blend(pixels, cell, palette.freed, 0.25 + 0.75 * touched);
    const full = Math.min(1, (live[cell] as number) / grain);
    if (full === 0) continue;
    const i = block[cell] as number;
    if (mask) blend(pixels, cell, palette.resident, 0.3 + 0.7 * full);
    const share = mask ? Math.min(1, (chosen[cell] as number) / grain) : full;
    if (share === 0) continue;
    const paint = i >= 0 ? colorOf(model, i, position, by, palette) : palette.live;
    blend(pixels, cell, paint, 0.3 + 0.7 * share);
  }
  return { pixels, thing: block };
}

const [HEADER, LIVE, FREE, CACHED, REMOTE] = [2, 3, 4, 6, 7];
const CONTAINERS = 2; // lower kinds are regions and spans

/** According to the malloc's own walk. */
export function rasterWalk(
  model: HeapModel,
  position: number,
  { from, grain, cells }: Stretch,
  by: ColorBy,
  palette: Palette,
): Raster {
  const pixels = new Uint8ClampedArray(4 * cells);
  const thing = new Int32Array(cells).fill(-1);
  const most = new Float32Array(cells);
  const chunks = model.walkAt(position)?.chunks ?? [];
  for (const [index, { start, extent, kind }] of chunks.entries()) {
    if (kind < CONTAINERS) continue;
    const place = model.placeOf(start) - from;
    const end = model.placeOf(start + extent) - from;
    if (end <= 0 || place >= grain * cells) continue;
    const last = Math.min(cells - 1, Math.ceil(end / grain) - 1);
    for (let cell = Math.max(0, Math.floor(place / grain)); cell <= last; cell++) {
      const bytes = Math.min(end, (cell + 1) * grain) - Math.max(place, cell * grain);
      if (bytes <= (most[cell] as number)) continue;
      most[cell] = bytes;
      thing[cell] = index;
    }
  }
  for (let cell = 0; cell < cells; cell++) {
    const chunk = chunks[thing[cell] as number];
    const outside = from + cell * grain >= model.extent ? palette.paper : palette.never;
    const color = chunk
      ? chunkColor(chunk.kind, chunk.sizeClass || chunk.extent, chunk.owner, by, palette)
      : outside;
    put(pixels, cell, color);
  }
  return { pixels, thing };
}

function chunkColor(kind: number, size: number, owner: number, by: ColorBy, palette: Palette): Rgb {
  switch (kind) {
    case HEADER:
      return palette.header;
    case LIVE:
      if (by === 'size') return bySize(size);
      return by === 'thread' ? distinct(Math.max(0, owner - 1)) : palette.live;
    case FREE:
      return palette.freed;
    case CACHED:
      return palette.cached;
    case REMOTE:
      return palette.remote;
    default:
      return palette.never;
  }
}

/** Mixes like mix(), but in place, because allocating for tens of thousands of cells would be slow. */
function blend(pixels: Uint8ClampedArray, cell: number, color: Rgb, share: number): void {
  for (let i = 0; i < 3; i++) {
    const before = pixels[4 * cell + i] as number;
    pixels[4 * cell + i] = before + ((color[i] as number) - before) * share;
  }
}

function put(pixels: Uint8ClampedArray, cell: number, [r, g, b]: Rgb): void {
  pixels[4 * cell] = r;
  pixels[4 * cell + 1] = g;
  pixels[4 * cell + 2] = b;
  pixels[4 * cell + 3] = 255;
}
