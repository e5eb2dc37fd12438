/** What several runs came to; the unit is that of the values. */
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
 * The order of one round of interleaved runs: each round starts one further, so that whatever slows
 * the machine for a while meets another malloc each time.
 */
export function rotated<T>(items: readonly T[], round: number): T[] {
  const start = items.length === 0 ? 0 : round % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}
