// Which variants there are: what the C files in native/ declare, and what they must not.

import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';

/** A line such as `LIBMALLOC_VARIANT(2, list)` in a file. A side path stands between two rungs: 2.5. */
export interface Declared {
  /** `list.c` */
  file: string;
  rung: number;
  name: string;
}

const declaration = /^LIBMALLOC_VARIANT\(\s*(\d+(?:\.\d+)?)\s*,\s*(\w+)\s*\)/gm;

/** What a C file declares, in the order of its lines. */
export function declarations(file: string, text: string): Declared[] {
  return [...text.matchAll(declaration)].map((match) => ({
    file,
    rung: Number(match[1]),
    name: match[2] ?? '',
  }));
}

/** The variant that everything uses unless told otherwise, as package.json names it. */
export function configuredDefault(): string {
  const { config } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return config.variant;
}

/**
 * The variants by rung. Throws a Failure that says what to change, when a file is named otherwise than
 * its variant (a copy, for instance), two are on one rung, or one stands above the default.
 */
export function ordered(all: Declared[], top: string = configuredDefault()): string[] {
  const sorted = [...all].sort((a, b) => a.rung - b.rung);
  const copy = all.find(({ file, name }) => basename(file, '.c') !== name);
  if (copy !== undefined)
    throw new Failure(`native/${copy.file} calls itself ${copy.name}`, {
      hint: `give it its own name, and a rung that is free: LIBMALLOC_VARIANT(${freeRung(all)}, ${basename(copy.file, '.c')})`,
    });
  const highest = sorted.find(({ name }) => name === top);
  for (const [i, { file, rung, name }] of sorted.entries()) {
    const other = sorted[i + 1];
    if (other?.rung === rung)
      throw new Failure(`native/${file} and native/${other.file} are both on rung ${rung}`, {
        hint: `give one of them a rung between two others: LIBMALLOC_VARIANT(${freeRung(sorted)}, …)`,
      });
    if (highest !== undefined && rung > highest.rung)
      throw new Failure(
        `native/${file} is on rung ${rung}, above ${top} (${highest.rung}), the default`,
        {
          hint: `give it a lower rung: LIBMALLOC_VARIANT(${freeRung(sorted)}, ${name}); or make it the default: "config": { "variant": "${name}" } in package.json`,
        },
      );
  }
  return sorted.map(({ name }) => name);
}

/** A free rung below the highest one. */
export function freeRung(all: Declared[], top: string = configuredDefault()): number {
  const highest = all.find(({ file }) => file === `${top}.c`)?.rung ?? 1;
  const taken = all.map(({ rung }) => rung);
  let rung = highest - 0.5;
  while (taken.includes(rung)) rung = (rung + highest) / 2;
  return rung;
}

/** The variants that the C files in native/ declare, checked. Empty if none does. */
export function declared(): Declared[] {
  const native = join(root, 'native');
  return readdirSync(native)
    .filter((file) => file.endsWith('.c'))
    .flatMap((file) => declarations(file, readFileSync(join(native, file), 'utf8')));
}
