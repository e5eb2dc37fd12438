// For small blocks that are too many to draw one by one: their live bytes in each stretch of memory,
// at some moments.

/** The most stretches; when there are more, we double their length. */
const MOST_CELLS = 32_768;

/** Live bytes of many small blocks, by cell of memory and by frame (a position in the trace). */
export class Density {
  /** Bytes of a cell. */
  cell = 4096;
  readonly frames: readonly number[];
  #cells = new Map<number, Float64Array>();

  constructor(frames: readonly number[]) {
    this.frames = frames;
  }

  /** A block that lives at the positions above `birth`, up to `death`. */
  add(address: number, size: number, birth: number, death: number): void {
    const from = this.frames.findIndex((frame) => frame > birth);
    if (from < 0 || (this.frames[from] as number) > death) return;
    for (let at = address; at < address + size; ) {
      const cell = Math.floor(at / this.cell);
      const end = Math.min(address + size, (cell + 1) * this.cell);
      const row = this.#row(cell);
      for (let i = from; i < row.length && (this.frames[i] as number) <= death; i++)
        row[i] = (row[i] as number) + end - at;
      at = end;
    }
    while (this.#cells.size > MOST_CELLS) this.#coarsen();
  }

  #row(cell: number): Float64Array {
    const known = this.#cells.get(cell);
    if (known) return known;
    const row = new Float64Array(this.frames.length);
    this.#cells.set(cell, row);
    return row;
  }

  #coarsen(): void {
    const fine = this.#cells;
    this.#cells = new Map();
    this.cell *= 2;
    for (const [cell, values] of fine) {
      const row = this.#row(Math.floor(cell / 2));
      for (const [i, value] of values.entries()) row[i] = (row[i] as number) + value;
    }
  }

  /** The cells in address order, and the bytes of each at every frame. */
  columns(): { start: Float64Array; bytes: Float64Array } {
    const cells = [...this.#cells].sort(([a], [b]) => a - b);
    const bytes = new Float64Array(cells.length * this.frames.length);
    for (const [i, [, row]] of cells.entries()) bytes.set(row, i * this.frames.length);
    return { start: Float64Array.from(cells, ([cell]) => cell * this.cell), bytes };
  }
}
