// The call stacks of a process: numbers them as events arrive, and names their functions at the end.

import {
  type Calls,
  frameFlags,
  isRelease,
  type Ledger,
  Op,
  type Trace,
  type TraceEvent,
  type TraceProcess,
} from '../trace/trace.ts';
import { addressesOf, type Callers, select, treeOf } from './callers.ts';
import type { HeapFacts } from './data.ts';
import { nameAddresses } from './names.ts';
import { Tally } from './tally.ts';

type Named = Callers & Pick<HeapFacts, 'known' | 'remarks'>;

export class Stacks {
  readonly tally: Tally = new Tally();
  /** Our number for each stack of the trace, and for each call site if the trace has no stacks. */
  readonly #byStack: number[] = [];
  readonly #bySite = new Map<number, number>();
  /** The stack of each row of the ledger. */
  readonly #ofRow: number[] = [];
  /** For each thread, the row that it allocated last, as long as that block is live. */
  readonly #last: number[] = [];

  /** The stack that allocated the block of a row. */
  of(row: number): number {
    return this.#ofRow[row] ?? 0;
  }

  /** Call after an event that allocated a block, or made one live again because a realloc failed. */
  born({ born, revived, rows }: Ledger, event: TraceEvent, position: number): void {
    if (!revived) {
      this.#ofRow[born] = this.number(event);
      this.#last[event.thread] = born;
    }
    this.tally.born(this.of(born), rows.size[born] as number, position, revived);
  }

  /** Call after an event that ended a block, and before born() for the same event. */
  died({ died, rows }: Ledger, event: TraceEvent, position: number, life: number): void {
    const last = this.#last[event.thread] === died;
    const short = last && isRelease(event.op) && event.op !== Op.release;
    if (last) this.#last[event.thread] = -1;
    this.tally.died(this.of(died), rows.size[died] as number, position, life, short);
  }

  /** The number of the stack that made a call. */
  number({ stack, site }: TraceEvent): number {
    const known = stack > 0 ? this.#byStack[stack] : this.#bySite.get(site);
    if (known !== undefined) return known;
    const next = this.tally.add();
    if (stack > 0) this.#byStack[stack] = next;
    else this.#bySite.set(site, next);
    return next;
  }

  /** The tree of all stacks, with the function names that could be found. */
  async finish(trace: Trace, process: TraceProcess): Promise<Named> {
    const calls = trace.calls(process);
    const figures = this.tally.finish();
    const { tree, stacks } = this.#tree(calls);
    const selection = select(tree, stacks, figures);
    const addresses = addressesOf(selection);
    const made = generatedIn(calls);
    const maps = trace.maps(process);
    const { names, remarks } = await nameAddresses(
      maps,
      addresses,
      (each) => made.has(each),
      trace.buildIds(process),
    );
    const known = this.#byStack.length > 0 ? 'stacks' : addresses.length > 0 ? 'sites' : 'nothing';
    return { ...treeOf(selection, names, figures), known, remarks };
  }

  /** The trace's tree, followed by single call sites; and the node of each of our numbers. */
  #tree(calls: Calls) {
    const sites = [...this.#bySite].filter(([site]) => site > 0);
    const stacks = new Uint32Array(this.tally.count);
    this.#byStack.forEach((number, stack) => {
      if (stack < calls.length && calls.address[stack] !== 0) stacks[number] = stack;
    });
    if (sites.length === 0) return { tree: calls, stacks };
    const length = calls.length + sites.length;
    const address = new Float64Array(length);
    const parent = new Uint32Array(length);
    address.set(calls.address.subarray(0, calls.length));
    parent.set(calls.parent.subarray(0, calls.length));
    for (const [i, [site, number]] of sites.entries()) {
      address[calls.length + i] = site;
      stacks[number] = calls.length + i;
    }
    return { tree: { address, parent, length }, stacks };
  }
}

/** Return addresses in code that a program generated, so that no file contains it. */
function generatedIn({ address, flags, length }: Calls): Set<number> {
  const found = new Set<number>();
  for (let node = 1; node < length; node++)
    if (((flags[node] as number) & frameFlags.jit) !== 0) found.add(address[node] as number);
  return found;
}
