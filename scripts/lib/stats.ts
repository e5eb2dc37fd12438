/** Several runs summed up, in the unit of the values. */
export interface Summary {
  median: number;
  /** Lower and upper quartile: half of all runs lie between them. */
  low: number;
  high: number;
  runs: number;
}

/** The value below which the share `q` of the sorted values lies, interpolated between neighbours. */
function quantile(sorted: number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? below;
  return below + (above - below) * (at - Math.floor(at));
}

/** Median and quartiles: a run that another process disturbed moves neither. */
export function summarize(values: number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    median: quantile(sorted, 0.5),
    low: quantile(sorted, 0.25),
    high: quantile(sorted, 0.75),
    runs: sorted.length,
  };
}

/** The n-th root of the product: the mean of ratios. */
export function geomean(values: number[]): number {
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/** Half the distance between the quartiles, relative to the median: 0.02 reads "± 2 %". */
export function spread({ median, low, high }: Summary): number {
  return median === 0 ? 0 : (high - low) / 2 / median;
}

/**
 * The order of one round of interleaved runs. Each round begins with another item, and each item
 * has another predecessor, because a run slows down the next one (the machine's host reclaims memory,
 * the clock was raised): if rounds were only rotated, this would always hit the same item. With an
 * even number of items n, every pair is neighbours once in n rounds; with an odd one, twice in 2 n. Source: Williams, "Experimental designs balanced for the
 * estimation of residual effects of treatments" (1949).
 */
export function ordered<T>(items: readonly T[], round: number): T[] {
  const n = items.length;
  const odd = n % 2;
  const zigzag = items.map((_, i) => (i % 2 === 1 ? (i + 1) / 2 : n - i / 2));
  const shift = odd ? Math.floor(round / 2) : round;
  const order = zigzag.map((place) => items[(place + shift) % n] as T);
  return odd && round % 2 === 1 ? order.reverse() : order;
}
