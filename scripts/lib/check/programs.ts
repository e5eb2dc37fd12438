// Real programs under a malloc and under glibc: the same output, the same status.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atOurEnd } from '../ending.ts';
import type { Malloc } from '../mallocs.ts';
import { type Launched, launch } from '../preload.ts';
import { findProgram, programs } from '../programs.ts';
import { disproof } from '../report.ts';
import type { Case, Subject, Verdict } from './case.ts';
import { gap } from './features.ts';
import { debugLine } from './judge.ts';
import { type RealProgram, realPrograms } from './programs-table.ts';

const TIMEOUT = 90;
const glibc: Malloc = { name: 'glibc', kind: 'glibc', file: undefined };

const fib = `#include <stdio.h>
#include <stdlib.h>
static long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
int main(void) { long *p = malloc(sizeof *p); *p = fib(25); printf("%ld\\n", *p); free(p); }
`;

/** 20,000 lines of one to four words from a small vocabulary, the same each time. */
function words(): string {
  let state = 1;
  const below = (n: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state % n;
  };
  const word = (): string => ((below(60_000) * 7919) % 999_983).toString(36);
  const line = (): string => Array.from({ length: 1 + below(4) }, word).join(' ');
  return `${Array.from({ length: 20_000 }, line).join('\n')}\n`;
}

let folder: string | undefined;

/** What the commands read, and where each finds an empty folder; gone with us. */
function workshop(): string {
  if (folder !== undefined) return folder;
  const made = mkdtempSync(join(tmpdir(), 'libmalloc-check-'));
  folder = made;
  writeFileSync(join(made, 'words'), words());
  writeFileSync(join(made, 'fib.c'), fib);
  const remove = () => rmSync(made, { recursive: true, force: true });
  process.on('exit', remove);
  atOurEnd(remove);
  return made;
}

async function play(malloc: Malloc, each: RealProgram, timeout: number): Promise<Launched> {
  const shop = workshop();
  const cwd = mkdtempSync(join(shop, 'run-'));
  mkdirSync(cwd, { recursive: true });
  const env = {
    ...process.env,
    ...{ LC_ALL: 'C.UTF-8', TZ: 'UTC', GIT_PAGER: 'cat', IN: shop, NODE: process.execPath },
    ...each.env,
  };
  const report = malloc.kind !== 'glibc';
  try {
    return await launch(malloc, ['/bin/sh', '-c', each.command], { cwd, env, report, timeout });
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

/** What each command does on glibc: measured once. */
const references = new Map<string, Promise<Launched>>();

function reference(each: RealProgram): Promise<Launched> {
  const known = references.get(each.name) ?? play(glibc, each, TIMEOUT);
  references.set(each.name, known);
  return known;
}

/** The first program that is not there, with its package. */
function absent(each: RealProgram): string | undefined {
  for (const name of each.needs) {
    const entry = programs()[name];
    if (entry === undefined) throw new Error(`${name} is not in tests/programs.json`);
    if (findProgram(name, entry) === undefined)
      return `${name} is missing: apt-get install ${entry.package}`;
  }
  return undefined;
}

function complaint(each: RealProgram, malloc: Malloc, ours: Launched, theirs: Launched) {
  if (ours.timedOut) return `not over after ${Math.round(ours.seconds)} s`;
  if (ours.status !== theirs.status)
    return `ended with status ${ours.status}, on glibc with ${theirs.status}`;
  if (!ours.stdout.equals(theirs.stdout))
    return `printed ${ours.stdout.length} bytes that differ from the ${theirs.stdout.length} on glibc`;
  return each.ownMalloc || malloc.kind === 'glibc' ? undefined : disproof(malloc, ours.proofs);
}

async function judge(subject: Subject, each: RealProgram, patience: number): Promise<Verdict> {
  const { malloc, slow } = subject;
  const skipped = (because: string): Verdict => ({ state: 'skipped', because, seconds: 0 });
  const missing = absent(each);
  if (missing !== undefined) return skipped(missing);
  const lacks = malloc.kind === 'variant' ? gap(malloc.name, 'sizes') : undefined;
  if (lacks !== undefined) return skipped(lacks);
  const theirs = await reference(each);
  if (theirs.timedOut || theirs.stdout.length === 0)
    return skipped(`${each.name} does not do its work on glibc either, here`);
  const ours = await play(malloc, each, TIMEOUT * patience);
  const because = complaint(each, malloc, ours, theirs);
  if (because === undefined) return { state: 'passed', seconds: ours.seconds };
  if (ours.timedOut && slow)
    return skipped('more blocks live at once than calls that walk all of them can bear');
  const preload = malloc.file === undefined ? '' : `LD_PRELOAD=${malloc.file} `;
  return {
    state: 'failed',
    because,
    seconds: ours.seconds,
    failure: {
      source: each.needs.join(', '),
      reproduce: `${preload}sh -c '${each.command.replaceAll("'", "'\\''")}'`,
      debug: debugLine(malloc, ['/bin/sh', '-c', each.command]),
      printed: ours.stderr.toString().slice(0, 2000),
    },
  };
}

export function realProgramCases(): Case[] {
  return realPrograms.map((each) => ({
    group: 'programs',
    name: each.name.replaceAll(' ', '-'),
    promise: `${each.name} prints the same and ends the same as on glibc`,
    level: 'must',
    promised: true,
    quick: false,
    run: (subject, patience) => judge(subject, each, patience),
  }));
}
