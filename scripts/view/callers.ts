// From stacks of addresses to a tree of functions, no larger than a page can carry.

import { GENERATED } from '../symbols/frame.ts';
import type { FrameName, HeapColumns, StackFigure } from './data.ts';

/** So many nodes at most; those with least below them become part of their callers. */
const MOST_NODES = 40_000;

type Figures = Record<StackFigure, Float64Array>;

export interface Callers {
  frames: FrameName[];
  stacks: HeapColumns['stacks'];
  /** The node of each stack. */
  nodeOf: Int32Array;
}

/**
 * `stacks` are addresses, innermost first; `named` are the functions of an address, innermost first
 * as well: several where calls were inlined. `figures` has a value for each stack.
 */
export function treeOf(
  stacks: readonly (readonly number[])[],
  named: ReadonlyMap<number, readonly FrameName[]>,
  figures: Figures,
  mostNodes: number = MOST_NODES,
): Callers {
  const tree = new Tree();
  const nodeOf = Int32Array.from(stacks, (stack) => tree.nodeOf(stack, named));
  const size = tree.parent.length;
  const parent = Float64Array.from(tree.parent);
  const summed = Object.fromEntries(
    Object.entries(figures).map(([name, values]) => {
      const sums = new Float64Array(size);
      for (const [i, node] of nodeOf.entries())
        sums[node] = (sums[node] as number) + (values[i] as number);
      return [name, sums];
    }),
  ) as Figures;
  const { kept, fold } = folding(parent, summed, mostNodes);
  const columns = Object.fromEntries(
    Object.entries(summed).map(([name, values]) => {
      const sums = new Float64Array(kept.length);
      for (const [node, target] of fold.entries())
        sums[target] = (sums[target] as number) + (values[node] as number);
      return [name, sums];
    }),
  ) as Figures;
  for (const [node, ended] of columns.ended.entries())
    columns.life[node] = ended > 0 ? Math.round((columns.life[node] as number) / ended) : 0;
  return {
    frames: tree.frames,
    stacks: {
      parent: Float64Array.from(kept, (node) => fold[parent[node] as number] as number),
      frame: Float64Array.from(kept, (node) => tree.frame[node] as number),
      ...columns,
    },
    nodeOf: nodeOf.map((node) => fold[node] as number),
  };
}

/** Nodes stand behind their parents; the first is the root, whose frame is unknown. */
class Tree {
  readonly parent = [0];
  readonly frame = [0];
  readonly frames: FrameName[] = [{ name: '', place: '' }];
  readonly #frameNumbers = new Map<string, number>();
  readonly #framesOf = new Map<number, number[]>();
  readonly #children = new Map<number, number>();

  nodeOf(stack: readonly number[], named: ReadonlyMap<number, readonly FrameName[]>): number {
    let node = 0;
    for (let i = stack.length - 1; i >= 0; i--)
      // Generated code calls itself all the time, and is all one to a reader.
      for (const frame of this.#outermostFirst(stack[i] as number, named))
        if (frame !== this.frame[node] || this.frames[frame]?.name !== GENERATED)
          node = this.#child(node, frame);
    return node;
  }

  #outermostFirst(address: number, named: ReadonlyMap<number, readonly FrameName[]>): number[] {
    const known = this.#framesOf.get(address);
    if (known) return known;
    const names = named.get(address) ?? [{ name: `0x${address.toString(16)}`, place: '' }];
    const numbers = names.map((name) => this.#frameNumber(name)).reverse();
    this.#framesOf.set(address, numbers);
    return numbers;
  }

  #frameNumber({ name, place }: FrameName): number {
    const key = `${name}\n${place}`;
    const known = this.#frameNumbers.get(key);
    if (known !== undefined) return known;
    this.#frameNumbers.set(key, this.frames.length);
    return this.frames.push({ name, place }) - 1;
  }

  #child(node: number, frame: number): number {
    const key = node * 2 ** 22 + frame;
    const known = this.#children.get(key);
    if (known !== undefined) return known;
    this.#children.set(key, this.parent.length);
    this.frame.push(frame);
    return this.parent.push(node) - 1;
  }
}

const weighed = ['bytes', 'blocks', 'peakBytes', 'endBytes', 'endBlocks', 'shortBlocks'] as const;

/**
 * Which nodes are kept, and into which of those each is folded. A node weighs as much as its largest
 * share in any figure, with all that it called: so the callers of what is kept are kept.
 */
function folding(
  parent: Float64Array,
  figures: Figures,
  most: number,
): { kept: number[]; fold: Int32Array } {
  const size = parent.length;
  const weight = new Float64Array(size);
  for (const name of size > most ? weighed : []) {
    const sums = figures[name].slice();
    for (let node = size - 1; node > 0; node--)
      sums[parent[node] as number] =
        (sums[parent[node] as number] as number) + (sums[node] as number);
    for (let node = 0; node < size; node++)
      weight[node] = Math.max(
        weight[node] as number,
        (sums[node] as number) / Math.max(1, sums[0] as number),
      );
  }
  const order = Int32Array.from({ length: size }, (_, node) => node);
  if (size > most) order.sort((a, b) => (weight[b] as number) - (weight[a] as number) || a - b);
  const kept = [...order.subarray(0, most).sort()];
  const fold = new Int32Array(size).fill(-1);
  for (const [i, node] of kept.entries()) fold[node] = i;
  for (let node = 0; node < size; node++)
    if (fold[node] === -1) fold[node] = fold[parent[node] as number] as number;
  return { kept, fold };
}
