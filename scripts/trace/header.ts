// Numbers of a format, taken from the C file that defines it.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../lib/paths.ts';

/** A C file in native/: its enumerators, and what its static_asserts pin. Throws for what is not there. */
export class CHeader {
  readonly #name: string;
  readonly #text: string;

  constructor(name: string) {
    this.#name = name;
    this.#text = readFileSync(join(root, 'native', name), 'utf8');
  }

  #find(pattern: string, what: string): number {
    const value = new RegExp(pattern).exec(this.#text)?.[1];
    if (value === undefined) throw new Error(`native/${this.#name} defines no ${what}`);
    return Number(value);
  }

  /** An enumerator, such as TRACE_VERSION. */
  constant(name: string): number {
    return this.#find(`\\b${name} = (0x[0-9a-f]+|\\d+)`, name);
  }

  /** Where a field stands in its struct. */
  offset(struct: string, field: string): number {
    return this.#find(`offsetof\\(struct ${struct}, ${field}\\) == (\\d+)`, `${struct}.${field}`);
  }

  /** Bytes of a struct. */
  size(struct: string): number {
    return this.#find(`sizeof\\(struct ${struct}\\) == (\\d+)`, `size of ${struct}`);
  }
}
