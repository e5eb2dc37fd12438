// What changed from one profile to another. Stacks are compared by their functions: lines move when
// a program is edited, addresses whenever it is built.

import { basename } from 'node:path';
import { bytes as inUnits } from '../lib/units.ts';
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

const mainOf = ({ command }: Profile): string => basename(command[0] ?? '');

/**
 * Bytes and blocks of `b` less those of `a`, the largest differences first. The profiled program may
 * have another name in each; its stacks are those of one program all the same.
 */
export function compare(a: Profile, b: Profile, measure: Measure): Change[] {
  const changes = new Map<string, Change>();
  const [before, after] = [mainOf(a), mainOf(b)];
  for (const [sign, profile] of [
    [-1, a],
    [1, b],
  ] as const)
    for (const { process, site, frames } of stacksOf(profile)) {
      const { bytes, blocks } = amountOf(site, measure);
      if (bytes === 0) continue;
      const program = programOf(process);
      const called = program === before ? after : program;
      const stack = [called, ...frames.map(nameOf).reverse()];
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

/** What differs between two profiles besides their stacks, so that a reader knows what a change means. */
export function unlikeness(a: Profile, b: Profile): string[] {
  const remarks: string[] = [];
  const [before, after] = [a, b].map(({ command }) => command.join(' '));
  if (before !== after) remarks.push(`before is of \`${before}\`, after of \`${after}\``);
  const ways = [a, b].map(({ every }) =>
    every === 0 ? 'every allocation was looked at' : `estimated, one sample in ${inUnits(every)}`,
  );
  if (a.every !== b.every) remarks.push(`before: ${ways[0]}; after: ${ways[1]}`);
  return remarks;
}

/** Two numbers behind each stack, as difffolded.pl writes and flamegraph.pl reads them. */
export function toFoldedDifference(changes: readonly Change[]): string {
  const line = ({ stack, before, after }: Change): string =>
    `${stack.map((name) => name.replaceAll(/[;\n]/g, ':')).join(';')} ${Math.round(before)} ${Math.round(after)}\n`;
  return changes.map(line).join('');
}
