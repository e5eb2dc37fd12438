// The tree of calls of a process, from its STACKS segments.

import { bytesOf, HEAD_BYTES, offset, SEGMENT_BYTES } from './format.ts';
import type { SegmentFile, SegmentHead } from './segments.ts';

/** Nodes as columns; the index is the number of the node. 0 is no node. */
export interface Calls {
  /** Where the call returns to; 0 for a node that is lost. */
  address: Float64Array;
  /** The caller's node, a smaller number; 0 where it is not known. */
  parent: Uint32Array;
  /** frameFlags. */
  flags: Uint8Array;
  /** One more than the largest number. */
  length: number;
}

const NODE = bytesOf('frame');
/** In a segment, at most. */
const NODES = Math.floor((SEGMENT_BYTES - HEAD_BYTES) / NODE);
const at = { parent: offset('frame', 'parent'), flags: offset('frame', 'flags') };

/** More nodes than these segments of a process hold. */
export const nodesWithin = (heads: readonly SegmentHead[]): number => 1 + heads.length * NODES;

/** Reads `heads`, the STACKS segments of one process. What is damaged is left out, and said. */
export function readCalls(file: SegmentFile, heads: SegmentHead[]): Calls {
  const sorted = [...heads].sort(
    (a, b) => a.order - b.order || Number(b.sealed) - Number(a.sealed),
  );
  const ends = sorted.map(({ thread: first }) => first + NODES).sort((a, b) => a - b);
  // A damaged number is larger than what a file of this length may hold.
  const most = 1 + Math.ceil(file.bytes / SEGMENT_BYTES) * NODES;
  const room = ends.findLast((end) => end <= most) ?? 1;
  const calls: Calls = {
    address: new Float64Array(room),
    parent: new Uint32Array(room),
    flags: new Uint8Array(room),
    length: 1,
  };
  let order = -1;
  for (const head of sorted) {
    // Killed before it had emptied the segment: it is there twice.
    if (head.order === order) continue;
    if (head.order !== order + 1)
      file.damage.add(`process ${head.process}: no stacks before segment ${head.order} of them`);
    order = head.order;
    const content = file.content(head);
    if (content) readNodes(calls, head.thread, content.bytes, content.length / NODE);
  }
  return calls;
}

/** `first`: the number of the first of `count` nodes. */
function readNodes(calls: Calls, first: number, bytes: Buffer, count: number): void {
  if (first < 1 || first + count > calls.address.length) return;
  for (let i = 0; i < Math.floor(count); i++) {
    const [node, from] = [first + i, i * NODE];
    const parent = bytes.readUInt32LE(from + at.parent);
    calls.address[node] = Number(bytes.readBigUInt64LE(from));
    calls.parent[node] = parent < node ? parent : 0;
    calls.flags[node] = bytes.readUInt32LE(from + at.flags) & 0xff;
  }
  calls.length = Math.max(calls.length, first + Math.floor(count));
}
