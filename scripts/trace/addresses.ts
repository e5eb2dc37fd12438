// Which block is at which address: a hash table on typed arrays.

const FIRST = 2 ** 10;
const EMPTY = -1;

/**
 * A number from 0 on for each address. Open addressing with linear probing, at most half full; a
 * deletion moves what follows back, so there are no tombstones and nothing slows down with time. A Map
 * costs ten times as much once it holds what a real heap does. Memory: 24 to 48 bytes for each
 * address that was held at once, half as much again while it grows.
 */
export class Addresses {
  size = 0;
  #keys = new Float64Array(FIRST);
  #values = new Int32Array(FIRST).fill(EMPTY);
  /** Of 32 bits of hash those on top say where to look first. */
  #shift = 32 - Math.log2(FIRST);

  /** The number at an address, or -1. */
  get(address: number): number {
    return this.#values[this.#find(address)] as number;
  }

  set(address: number, value: number): void {
    const at = this.#find(address);
    if (this.#values[at] === EMPTY) {
      this.#keys[at] = address;
      this.size++;
    }
    this.#values[at] = value;
    if (this.size * 2 > this.#values.length) this.#grow();
  }

  /** Takes an address out; the number that was there, or -1. */
  delete(address: number): number {
    const [keys, values] = [this.#keys, this.#values];
    const mask = values.length - 1;
    let hole = this.#find(address);
    const value = values[hole] as number;
    if (value === EMPTY) return EMPTY;
    this.size--;
    for (let at = (hole + 1) & mask; values[at] !== EMPTY; at = (at + 1) & mask) {
      // It may move into the hole unless its own place lies between the two.
      const home = this.#home(keys[at] as number);
      if (((at - home) & mask) < ((at - hole) & mask)) continue;
      keys[hole] = keys[at] as number;
      values[hole] = values[at] as number;
      hole = at;
    }
    values[hole] = EMPTY;
    return value;
  }

  /** The numbers of all addresses, in no order. */
  *values(): Generator<number, void> {
    for (const value of this.#values) if (value !== EMPTY) yield value;
  }

  /** Blocks lie 16 bytes apart; beyond 64 GiB of them the upper bits tell them apart. */
  #home(address: number): number {
    const low = Math.imul((address / 16) | 0, 0x9e3779b1);
    return Math.imul(low ^ ((address / 2 ** 36) | 0), 0x85ebca6b) >>> this.#shift;
  }

  /** Where it is, or where it would be. */
  #find(address: number): number {
    const mask = this.#values.length - 1;
    let at = this.#home(address);
    while (this.#values[at] !== EMPTY && this.#keys[at] !== address) at = (at + 1) & mask;
    return at;
  }

  #grow(): void {
    const [keys, values] = [this.#keys, this.#values];
    this.#keys = new Float64Array(2 * keys.length);
    this.#values = new Int32Array(2 * keys.length).fill(EMPTY);
    this.#shift--;
    for (let i = 0; i < keys.length; i++) {
      if (values[i] === EMPTY) continue;
      const at = this.#find(keys[i] as number);
      this.#keys[at] = keys[i] as number;
      this.#values[at] = values[i] as number;
    }
  }
}
