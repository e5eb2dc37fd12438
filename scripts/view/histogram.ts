import type { Bin } from './data.ts';

/** Counts by powers of two: 0, 1, 2 to 3, 4 to 7, … */
export class Histogram {
  readonly #counts: number[] = [];
  readonly #bytes: number[] = [];

  add(value: number, bytes: number): void {
    const bin = value < 1 ? 0 : 1 + Math.floor(Math.log2(value));
    this.#counts[bin] = (this.#counts[bin] ?? 0) + 1;
    this.#bytes[bin] = (this.#bytes[bin] ?? 0) + bytes;
  }

  /** The bins from the first that is not empty to the last. */
  bins(): Bin[] {
    const bins = Array.from(this.#counts, (count, bin) => ({
      from: bin === 0 ? 0 : 2 ** (bin - 1),
      count: count ?? 0,
      bytes: this.#bytes[bin] ?? 0,
    }));
    const first = bins.findIndex(({ count }) => count > 0);
    return first < 0 ? [] : bins.slice(first);
  }
}
