// Turns stacks of addresses into a tree of functions that is small enough for a page.

import { GENERATED } from '../symbols/frame.ts';
import type { FrameName, HeapColumns, StackFigure } from './data.ts';

/** The most nodes of the trace's call tree that the page shows; those with the largest shares. */
const MOST_NODES = 12_000;

/** A value for each stack. */
export type Figures = Record<StackFigure, ArrayLike<number>>;

/** A call tree as a trace has it, by node number; 0 is the root, and stands for unknown callers. */
interface AddressTree {
  address: ArrayLike<number>;
  parent: ArrayLike<number>;
  length: number;
}

/** The part of a call tree that the page shows. */
interface Selection {
  tree: AddressTree;
  /** The innermost node of each stack. */
  stacks: ArrayLike<number>;
  /** 1 for nodes that are shown; the callers of a shown node are shown, too. */
  kept: Uint8Array;
}

export interface Callers {
  frames: FrameName[];
  stacks: HeapColumns['stacks'];
  /** The node of each stack, by its number. */
  nodeOf: Int32Array;
}

const weighed = ['bytes', 'blocks', 'peakBytes', 'endBytes', 'endBlocks', 'shortBlocks'] as const;

/**
 * If there are too many nodes, omits those with the least weight. The weight of a node is its largest
 * share of any figure, callees included.
 */
export function select(
  tree: AddressTree,
  stacks: ArrayLike<number>,
  figures: Figures,
  most: number = MOST_NODES,
): Selection {
  const kept = new Uint8Array(tree.length).fill(1);
  if (tree.length <= most) return { tree, stacks, kept };
  const weight = new Float32Array(tree.length);
  // One array for all figures, because the garbage collector frees typed arrays late.
  const sums = new Float64Array(tree.length);
  for (const name of weighed) {
    sums.fill(0);
    for (let i = 0; i < stacks.length; i++) add(sums, stacks[i] as number, figures[name][i] ?? 0);
    for (let node = tree.length - 1; node > 0; node--)
      add(sums, tree.parent[node] as number, sums[node] as number);
    const whole = Math.max(1, sums[0] as number);
    for (let node = 0; node < weight.length; node++)
      weight[node] = Math.max(weight[node] as number, (sums[node] as number) / whole);
  }
  sums.set(weight);
  const least = sums.sort()[tree.length - most] as number;
  for (let node = 1; node < tree.length; node++)
    kept[node] = (weight[node] as number) > least ? 1 : 0;
  return { tree, stacks, kept };
}

const add = (sums: Float64Array, i: number, value: number): void => {
  sums[i] = (sums[i] as number) + value;
};

/** The addresses that need names: those of shown nodes, and of every function that allocated. */
export function addressesOf({ tree, stacks, kept }: Selection): number[] {
  const found = new Set<number>();
  for (let node = 1; node < tree.length; node++)
    if (kept[node] === 1) found.add(tree.address[node] as number);
  for (let i = 0; i < stacks.length; i++)
    if (stacks[i] !== 0) found.add(tree.address[stacks[i] as number] as number);
  found.delete(0);
  return [...found];
}

/**
 * `named`: the functions at an address, innermost first; several if calls were inlined. In a stack of
 * which some nodes are omitted, `…` stands between the shown callers and the function that allocated,
 * so that every block keeps the function that allocated it.
 */
export function treeOf(
  { tree, stacks, kept }: Selection,
  named: ReadonlyMap<number, readonly FrameName[]>,
  figures: Figures,
): Callers {
  const functions = new FunctionTree(named);
  const shown = new Int32Array(tree.length);
  for (let node = 1; node < tree.length; node++)
    if (kept[node] === 1)
      shown[node] = functions.below(
        shown[tree.parent[node] as number] as number,
        tree.address[node] as number,
      );
  const nodeOf = Int32Array.from(stacks, (node) => {
    if (kept[node] === 1 || node === 0) return shown[node] as number;
    let caller = tree.parent[node] as number;
    const direct = kept[caller] === 1;
    while (kept[caller] === 0) caller = tree.parent[caller] as number;
    const above = shown[caller] as number;
    return functions.below(direct ? above : functions.gap(above), tree.address[node] as number);
  });
  return { frames: functions.frames, stacks: functions.columns(nodeOf, figures), nodeOf };
}

/** Parents come before their children; the first node is the root, whose frame is unknown. */
class FunctionTree {
  readonly frames: FrameName[] = [{ name: '', place: '' }];
  readonly #parent = [0];
  readonly #frame = [0];
  readonly #named: ReadonlyMap<number, readonly FrameName[]>;
  readonly #frameNumbers = new Map<string, number>();
  readonly #framesOf = new Map<number, number[]>();
  readonly #children = new Map<number, number>();

  constructor(named: ReadonlyMap<number, readonly FrameName[]>) {
    this.#named = named;
  }

  /** The child of a node for the function, or inlined functions, at an address. */
  below(node: number, address: number): number {
    let at = node;
    // Generated code often calls generated code; we merge such frames, since all have the same name.
    for (const frame of this.#outermostFirst(address))
      if (frame !== this.#frame[at] || this.frames[frame]?.name !== GENERATED)
        at = this.#child(at, frame);
    return at;
  }

  /** The child of a node that stands for the omitted nodes below it. */
  gap(node: number): number {
    return this.#child(node, this.#frameNumber({ name: '…', place: '' }));
  }

  #outermostFirst(address: number): number[] {
    const known = this.#framesOf.get(address);
    if (known) return known;
    const unknown = address === 0 ? '…' : `0x${address.toString(16)}`;
    const names = this.#named.get(address) ?? [{ name: unknown, place: '' }];
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
    this.#children.set(key, this.#parent.length);
    this.#frame.push(frame);
    return this.#parent.push(node) - 1;
  }

  columns(nodeOf: Int32Array, figures: Figures): HeapColumns['stacks'] {
    const summed = Object.entries(figures).map(([name, values]) => {
      const sums = new Float64Array(this.#parent.length);
      for (const [i, node] of nodeOf.entries()) add(sums, node, values[i] ?? 0);
      return [name, sums] as const;
    });
    const columns = Object.fromEntries(summed) as Record<StackFigure, Float64Array>;
    columns.life = columns.life.map((sum, i) =>
      Math.round(sum / Math.max(1, columns.ended[i] as number)),
    );
    return {
      parent: Float64Array.from(this.#parent),
      frame: Float64Array.from(this.#frame),
      ...columns,
    };
  }
}
