// What debug builds found, as they leave it behind for us: native/guard/finding.h.

import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** One report of the guard, or the sum of its leaks. */
export interface Finding {
  pid: number;
  /** `free(): double free of 0x7f10 (100 bytes)` */
  sentence: string;
  stacks: { label: string; addresses: number[] }[];
  /** /proc/PID/maps at that moment. */
  maps: string;
  buildIds: ReadonlyMap<string, string>;
}

/** All findings of the processes that reported to PREFIX, those of one process in their order. */
export function readFindings(prefix: string): Finding[] {
  const start = `${basename(prefix)}-findings.`;
  return readdirSync(dirname(prefix))
    .filter((name) => name.startsWith(start))
    .sort()
    .flatMap((name) => {
      const text = readFileSync(join(dirname(prefix), name), 'utf8');
      return parseFindings(text, Number(name.slice(start.length)));
    });
}

/** What was cut short, by a kill, has no maps; its addresses name nothing and are left out. */
export function parseFindings(text: string, pid: number): Finding[] {
  return text
    .split(/^end\n/m)
    .slice(0, -1)
    .flatMap((part) => parsePart(part, pid));
}

function parsePart(part: string, pid: number): Finding[] {
  const found: Finding[] = [];
  const buildIds = new Map<string, string>();
  for (const line of part.split('\n')) {
    const [, sentence] = /^libmalloc: (.*)$/.exec(line) ?? [];
    const [, label, addresses] = /^(allocated|freed|found in)((?: [0-9a-f]+)*)$/.exec(line) ?? [];
    const [, id, file] = /^build-id ([0-9a-f]+) (\/.*)$/.exec(line) ?? [];
    if (sentence !== undefined) found.push({ pid, sentence, stacks: [], maps: part, buildIds });
    else if (id !== undefined && file !== undefined) buildIds.set(file, id);
    else if (label !== undefined && addresses)
      found.at(-1)?.stacks.push({ label, addresses: addresses.trim().split(' ').map(parseHex) });
  }
  return found;
}

const parseHex = (digits: string): number => Number.parseInt(digits, 16);
