// The weight of each call stack in the flame graph: bytes live at a position, at the peak, in all, …

import { NEVER } from './data.ts';
import type { HeapModel } from './model.ts';

/** Which blocks to count. */
export type What = 'live' | 'peak' | 'all' | 'short' | 'end' | 'grown';

/** A value for each node of the model's `stacks`, counting the blocks that it allocated itself. */
export interface Weights {
  bytes: Float64Array;
  blocks: Float64Array;
}

/** `position`: that of the slider; `mark`: the position that `grown` compares with. */
export function weigh(model: HeapModel, what: What, position: number, mark: number): Weights {
  const { stacks } = model;
  switch (what) {
    case 'peak':
      return { bytes: stacks.peakBytes, blocks: stacks.peakBlocks };
    case 'all':
      return { bytes: stacks.bytes, blocks: stacks.blocks };
    case 'short':
      return { bytes: stacks.shortBytes, blocks: stacks.shortBlocks };
    case 'end':
      return { bytes: stacks.endBytes, blocks: stacks.endBlocks };
    case 'live':
      return liveAt(model, position);
    case 'grown':
      return less(liveAt(model, Math.max(position, mark)), liveAt(model, Math.min(position, mark)));
  }
}

function liveAt(model: HeapModel, position: number): Weights {
  const { stack, size, birth, death } = model.columns;
  const bytes = new Float64Array(model.stacks.parent.length);
  const blocks = new Float64Array(bytes.length);
  for (let i = 0; i < stack.length; i++) {
    if ((birth[i] as number) >= position || position > (death[i] as number)) continue;
    const node = stack[i] as number;
    bytes[node] = (bytes[node] as number) + (size[i] as number);
    blocks[node] = (blocks[node] as number) + 1;
  }
  const { crowd } = model;
  const { frames } = model.facts.density;
  const frame = nearest(frames, position);
  for (const [i, node] of crowd.stack.entries()) {
    const at = i * frames.length + frame;
    bytes[node] = (bytes[node] as number) + (crowd.bytes[at] ?? 0);
    blocks[node] = (blocks[node] as number) + (crowd.blocks[at] ?? 0);
  }
  return { bytes, blocks };
}

/** The number of the nearest frame; frames are equally spaced. */
function nearest(frames: readonly number[], position: number): number {
  return Math.min(frames.length, Math.max(1, Math.round(position / (frames[0] ?? 1)))) - 1;
}

/** By how much `a` exceeds `b`; 0 where it does not. */
export function less(a: Weights, b: Weights): Weights {
  const more = (x: Float64Array, y: Float64Array): Float64Array =>
    x.map((value, i) => Math.max(0, value - (y[i] ?? 0)));
  return { bytes: more(a.bytes, b.bytes), blocks: more(a.blocks, b.blocks) };
}

/** Live bytes of the nodes in `mask` at each stop. */
export function chosenOverTime(model: HeapModel, mask: Uint8Array): Float64Array {
  const { count, crowd } = model;
  const { every, events, density } = model.facts;
  const { stack, size, birth, death } = model.columns;
  const bytes = new Float64Array(count + 1);
  for (let i = 0; i < stack.length; i++) {
    if (mask[stack[i] as number] !== 1) continue;
    const from = Math.floor((birth[i] as number) / every) + 1;
    const end = death[i] as number;
    const to = end === NEVER || end >= events ? count - 1 : Math.floor(end / every);
    bytes[from] = (bytes[from] as number) + (size[i] as number);
    bytes[to + 1] = (bytes[to + 1] as number) - (size[i] as number);
  }
  for (let stop = 1; stop <= count; stop++)
    bytes[stop] = (bytes[stop] as number) + (bytes[stop - 1] as number);
  const { frames } = density;
  const crowded = new Float64Array(frames.length);
  for (const [i, node] of crowd.stack.entries())
    for (let frame = 0; mask[node] === 1 && frame < frames.length; frame++)
      crowded[frame] = (crowded[frame] as number) + (crowd.bytes[i * frames.length + frame] ?? 0);
  if (crowd.stack.length > 0)
    for (let stop = 0; stop < count; stop++) {
      const frame = nearest(frames, model.positionOf(stop));
      bytes[stop] = (bytes[stop] as number) + (crowded[frame] as number);
    }
  return bytes.subarray(0, count);
}
