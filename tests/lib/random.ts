/** Random numbers that a seed repeats exactly. */
export interface Random {
  /** An integer from 0 to below - 1. */
  below(limit: number): number;
  /** True once in `n` times on average. */
  oneIn(n: number): boolean;
  pick<T>(list: readonly T[]): T;
  /** A size from 0 to `limit`, each magnitude as likely as the next: mostly small, sometimes large. */
  size(limit: number): number;
}

/** mulberry32: 32 bits of state, plenty for sequences of some thousand steps. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    below,
    oneIn: (n) => below(n) === 0,
    pick: (list) => {
      const chosen = list[below(list.length)];
      if (chosen === undefined) throw new RangeError('nothing to pick from');
      return chosen;
    },
    size: (limit) => Math.floor((limit + 1) ** next()) - 1 + below(2),
  };
}

/** The seeds of a run: SEED from the environment when set, to repeat a failure; else 1 to `count`. */
export function seeds(count: number): number[] {
  const given = process.env.SEED;
  return given ? [Number(given)] : Array.from({ length: count }, (_, i) => i + 1);
}
