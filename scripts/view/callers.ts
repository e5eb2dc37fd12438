// From stacks of addresses to a tree of functions, no larger than a page can carry.

import { GENERATED } from '../symbols/frame.ts';
import type { FrameName, HeapColumns, StackFigure } from './data.ts';

/** So many nodes of the trace's tree of calls are shown each; those with most below them. */
const MOST_NODES = 12_000;

/** A value for each stack. */
export type Figures = Record<StackFigure, ArrayLike<number>>;

/** A tree of calls as a trace has it, by number; the callers of 0 are not known. */
interface AddressTree {
  address: ArrayLike<number>;
  parent: ArrayLike<number>;
  length: number;
}

/** What is to be shown of a tree of calls. */
interface Selection {
  tree: AddressTree;
  /** The node of each stack, its innermost. */
  stacks: ArrayLike<number>;
  /** 1 for nodes that are shown; then their callers are, too. */
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
 * Leaves out nodes that weigh least where there are too many. A node weighs as much as its largest
 * share in any figure, with all that it called.
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
  // One for all figures: the collector is in no hurry with what lies outside of the heap.
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

/** The addresses that need names: of what is shown, and of every function that allocated. */
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
 * `named` are the functions of an address, innermost first: several where calls were inlined. Where a
 * stack is not shown as a whole, `…` stands between the callers that are and the function that
 * allocated: so each block keeps its own.
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

/** Nodes stand behind their parents; the first is the root, whose frame is unknown. */
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

  /** The node that a node calls at an address. */
  below(node: number, address: number): number {
    let at = node;
    // Generated code calls itself all the time, and is all one to a reader.
    for (const frame of this.#outermostFirst(address))
      if (frame !== this.#frame[at] || this.frames[frame]?.name !== GENERATED)
        at = this.#child(at, frame);
    return at;
  }

  /** The node that stands for what is not shown below a node. */
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
