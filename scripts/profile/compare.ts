// What changed from one profile to another. Stacks are compared by their functions: lines move when
// a program is edited, addresses whenever it is built.

import { basename } from 'node:path';
import type { Frame } from '../symbols/frame.ts';
import type { Amount, Profile } from '../trace/profile.ts';
import { amountOf, type Measure, programOf, stacksOf } from './measures.ts';
import { shortFrame, wanting } from './places.ts';

/** A stack whose amount is not what it was. */
export interface Change extends Amount {
  where: string;
  callers: string[];
  /** Functions, the outermost first: a folded stack. */
  stack: string[];
  /** Bytes. */
  before: number;
  after: number;
}

const nameOf = ({ named, function: name, module }: Frame): string =>
  named ? name : basename(module);

/** Bytes and blocks of `b` less those of `a`, the largest differences first. */
export function compare(a: Profile, b: Profile, measure: Measure): Change[] {
  const changes = new Map<string, Change>();
  for (const [sign, profile] of [
    [-1, a],
    [1, b],
  ] as const)
    for (const { process, site, frames } of stacksOf(profile)) {
      const { bytes, blocks } = amountOf(site, measure);
      if (bytes === 0) continue;
      const stack = [programOf(process), ...frames.map(nameOf).reverse()];
      const key = stack.join('\n');
      const [first, ...callers] = wanting(frames).map(shortFrame);
      const change = changes.get(key) ?? {
        ...{ where: first ?? 'an unknown stack', callers, stack },
        ...{ bytes: 0, blocks: 0, before: 0, after: 0 },
      };
      changes.set(key, change);
      change.bytes += sign * bytes;
      change.blocks += sign * blocks;
      change[sign < 0 ? 'before' : 'after'] += bytes;
    }
  return [...changes.values()]
    .filter(({ bytes, blocks }) => Math.abs(bytes) >= 1 || Math.abs(blocks) >= 1)
    .sort((x, y) => Math.abs(y.bytes) - Math.abs(x.bytes) || x.where.localeCompare(y.where));
}

/** Two numbers behind each stack, as difffolded.pl writes and flamegraph.pl reads them. */
export function toFoldedDifference(changes: readonly Change[]): string {
  const line = ({ stack, before, after }: Change): string =>
    `${stack.map((name) => name.replaceAll(/[;\n]/g, ':')).join(';')} ${Math.round(before)} ${Math.round(after)}\n`;
  return changes.map(line).join('');
}
