// For small blocks that are too many to keep one by one: their bytes by call stack at some moments.

/** Live bytes and blocks by stack and by frame (a position in the trace). */
export class Crowd {
  readonly frames: readonly number[];
  readonly #rows = new Map<number, { bytes: Float64Array; blocks: Float64Array }>();

  constructor(frames: readonly number[]) {
    this.frames = frames;
  }

  /** A block that lives at the positions above `birth`, up to `death`. */
  add(stack: number, size: number, birth: number, death: number): void {
    const from = this.frames.findIndex((frame) => frame > birth);
    if (from < 0 || (this.frames[from] as number) > death) return;
    const { bytes, blocks } = this.#row(stack);
    for (let i = from; i < bytes.length && (this.frames[i] as number) <= death; i++) {
      bytes[i] = (bytes[i] as number) + size;
      blocks[i] = (blocks[i] as number) + 1;
    }
  }

  #row(stack: number) {
    const known = this.#rows.get(stack);
    if (known) return known;
    const { length } = this.frames;
    const row = { bytes: new Float64Array(length), blocks: new Float64Array(length) };
    this.#rows.set(stack, row);
    return row;
  }

  /** The columns by node; `nodeOf` gives a stack's node, and several stacks may share one. */
  columns(nodeOf: (stack: number) => number): Record<'stack' | 'bytes' | 'blocks', Float64Array> {
    const merged = new Crowd(this.frames);
    for (const [stack, row] of this.#rows) {
      const { bytes, blocks } = merged.#row(nodeOf(stack));
      for (const [i, value] of row.bytes.entries()) bytes[i] = (bytes[i] as number) + value;
      for (const [i, value] of row.blocks.entries()) blocks[i] = (blocks[i] as number) + value;
    }
    const rows = [...merged.#rows].sort(([a], [b]) => a - b);
    const joined = (name: 'bytes' | 'blocks'): Float64Array => {
      const all = new Float64Array(rows.length * this.frames.length);
      for (const [i, [, row]] of rows.entries()) all.set(row[name], i * this.frames.length);
      return all;
    };
    return {
      stack: Float64Array.from(rows, ([stack]) => stack),
      bytes: joined('bytes'),
      blocks: joined('blocks'),
    };
  }
}
