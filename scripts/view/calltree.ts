// The call tree as the page draws it: its nodes are functions, or single lines of them, and the
// figures of each include its callees.

import type { FrameName } from './data.ts';
import type { HeapModel } from './model.ts';
import type { Weights } from './weights.ts';

/** Values by node of a CallTree: of the blocks that it allocated itself, and with those of its callees. */
export interface Totals {
  own: Weights;
  all: Weights;
}

export class CallTree {
  /** Parents come before their children; 0 is the root. */
  readonly parent: Int32Array;
  readonly depth: Int32Array;
  /** The index of each node's function in `functions`. */
  readonly function: Int32Array;
  readonly functions: FrameName[] = [{ name: 'all', place: '' }];
  /** Sorted by name, so that boxes keep their places when the values change. */
  readonly children: number[][] = [[]];
  /** 1 for nodes none of whose callers is the same function, so that recursion is counted once. */
  readonly outermost: Uint8Array;
  /** The node of this tree for each node of the model. */
  readonly of: Int32Array;
  readonly #stacks: HeapModel['stacks'];

  constructor({ facts, stacks }: HeapModel, byLine: boolean) {
    this.#stacks = stacks;
    const functionOf = this.#readFunctions(facts.frames, byLine);
    const [parent, functions, depth, outermost] = [[0], [0], [0], [1]];
    this.of = new Int32Array(stacks.parent.length);
    const known = new Map<number, number>();
    for (let node = 1; node < this.of.length; node++) {
      const caller = this.of[stacks.parent[node] as number] as number;
      const which = functionOf[stacks.frame[node] as number] as number;
      const key = caller * 2 ** 22 + which;
      let mine = known.get(key);
      if (mine === undefined) {
        mine = parent.length;
        known.set(key, mine);
        parent.push(caller);
        functions.push(which);
        depth.push((depth[caller] as number) + 1);
        let above = caller;
        while (above !== 0 && functions[above] !== which) above = parent[above] as number;
        outermost.push(above === 0 ? 1 : 0);
        this.children.push([]);
        this.children[caller]?.push(mine);
      }
      this.of[node] = mine;
    }
    this.parent = Int32Array.from(parent);
    this.depth = Int32Array.from(depth);
    this.function = Int32Array.from(functions);
    this.outermost = Uint8Array.from(outermost);
    for (const list of this.children)
      list.sort((a, b) => (this.nameOf(a) < this.nameOf(b) ? -1 : 1));
  }

  /** Groups frames of the same function; returns the function of each frame. */
  #readFunctions(frames: readonly FrameName[], byLine: boolean): number[] {
    const known = new Map<string, number>();
    return frames.map(({ name, place }, i) => {
      const where = byLine ? place : place.replace(/:\d+$/, '');
      const key = `${name}\n${where}`;
      const found = known.get(key);
      if (found !== undefined) return found;
      known.set(key, this.functions.length);
      return this.functions.push({ name: i === 0 ? 'unknown' : name, place: where }) - 1;
    });
  }

  get size(): number {
    return this.parent.length;
  }

  functionAt(node: number): FrameName {
    return this.functions[this.function[node] as number] as FrameName;
  }

  nameOf(node: number): string {
    return describe(this.functionAt(node));
  }

  /** Sums weights by node of the model into totals by node of this tree. */
  sum(weights: Weights): Totals {
    const own = { bytes: this.#gathered(weights.bytes), blocks: this.#gathered(weights.blocks) };
    return { own, all: this.withCallees(own) };
  }

  #gathered(values: Float64Array): Float64Array {
    const sums = new Float64Array(this.size);
    for (let i = 0; i < values.length; i++) {
      const node = this.of[i] as number;
      sums[node] = (sums[node] as number) + (values[i] as number);
    }
    return sums;
  }

  withCallees(own: Weights): Weights {
    const climb = (values: Float64Array): Float64Array => {
      const sums = values.slice();
      for (let node = sums.length - 1; node > 0; node--) {
        const caller = this.parent[node] as number;
        sums[caller] = (sums[caller] as number) + (sums[node] as number);
      }
      return sums;
    };
    return { bytes: climb(own.bytes), blocks: climb(own.blocks) };
  }

  /** The nodes from the outermost caller to `node`, without the root. */
  pathOf(node: number): number[] {
    const path = [];
    for (let at = node; at !== 0; at = this.parent[at] as number) path.unshift(at);
    return path;
  }

  /** For each node of the model: 1 if the node or one of its callers is chosen. */
  mask(chosen: (node: number) => boolean): Uint8Array {
    const mine = new Uint8Array(this.size);
    for (let node = 0; node < this.size; node++)
      mine[node] = mine[this.parent[node] as number] === 1 || chosen(node) ? 1 : 0;
    return Uint8Array.from(this.of, (node) => mine[node] as number);
  }

  /** By function: how many blocks that it allocated itself ended, and their mean life in nanoseconds. */
  lives(): { ended: Float64Array; life: Float64Array } {
    const ended = new Float64Array(this.functions.length);
    const life = new Float64Array(this.functions.length);
    const { ended: count, life: mean } = this.#stacks;
    for (const [i, node] of this.of.entries()) {
      const which = this.function[node] as number;
      ended[which] = (ended[which] as number) + (count[i] as number);
      life[which] = (life[which] as number) + (count[i] as number) * (mean[i] as number);
    }
    return { ended, life: life.map((sum, i) => sum / Math.max(1, ended[i] as number)) };
  }

  /** For each node, the node of another tree with the same path of functions, or -1. */
  matchesIn(other: CallTree): Int32Array {
    const match = new Int32Array(this.size).fill(-1);
    match[0] = 0;
    const names = other.children.map(
      (list) => new Map(list.map((node) => [other.nameOf(node), node])),
    );
    for (let node = 1; node < this.size; node++) {
      const caller = match[this.parent[node] as number] as number;
      if (caller >= 0) match[node] = names[caller]?.get(this.nameOf(node)) ?? -1;
    }
    return match;
  }
}

/** The call stack of a node of the model: functions with their lines, innermost first. */
export function stackOf({ facts, stacks }: HeapModel, node: number): string[] {
  const names: string[] = [];
  for (let at = node; at !== 0; at = stacks.parent[at] as number)
    names.push(describe(facts.frames[stacks.frame[at] as number] as FrameName));
  return names;
}

/** `make_list (list.c:12)`. */
export const describe = ({ name, place }: FrameName): string =>
  place === '' ? name : `${name} (${place})`;
