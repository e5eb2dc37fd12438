// Records which addresses were ever part of a block, and since when.

const PAGE = 4096;
/** We record a larger block as one run, because a sparse table of gigabytes has millions of pages. */
const LARGE = 2 ** 20;
const LARGE_KEPT = 100_000;

/** It costs one number for each page that small blocks ever used. */
export class Touched {
  readonly #first = new Map<number, number>();
  readonly #large = new Map<number, { length: number; first: number }>();

  add(address: number, size: number, position: number): void {
    if (size > LARGE) {
      const known = this.#large.get(address);
      if (known !== undefined) known.length = Math.max(known.length, size);
      else if (this.#large.size < LARGE_KEPT)
        this.#large.set(address, { length: size, first: position });
      return;
    }
    const last = Math.floor((address + Math.max(size, 1) - 1) / PAGE);
    for (let page = Math.floor(address / PAGE); page <= last; page++)
      if (!this.#first.has(page)) this.#first.set(page, position);
  }

  /** Runs in address order; adjacent pages that were first used at about the same time form one. */
  runs(grain: number): { start: Float64Array; length: Float64Array; first: Float64Array } {
    const small = [...this.#first].map(([page, first]) => ({
      start: page * PAGE,
      length: PAGE,
      first: Math.floor(first / grain) * grain,
    }));
    const large = [...this.#large].map(([start, { length, first }]) => ({ start, length, first }));
    const runs = { start: [] as number[], length: [] as number[], first: [] as number[] };
    for (const { start, length, first } of [...small, ...large].sort((a, b) => a.start - b.start)) {
      const last = runs.start.length - 1;
      const end = (runs.start[last] ?? 0) + (runs.length[last] ?? 0);
      if (last >= 0 && end === start && runs.first[last] === first)
        runs.length[last] = (runs.length[last] ?? 0) + length;
      else {
        runs.start.push(start);
        runs.length.push(length);
        runs.first.push(first);
      }
    }
    return {
      start: Float64Array.from(runs.start),
      length: Float64Array.from(runs.length),
      first: Float64Array.from(runs.first),
    };
  }
}
