// Shortens a failing sequence of calls by leaving out ever smaller parts of it.

import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../lib/folders.ts';
import { atOurEnd } from '../process/ending.ts';

/** The most trials and seconds that one shrinking may take; each trial starts a process. */
const TRIALS = 600;
const SECONDS = 30;

/**
 * A short subsequence of `all` for which `fails` still holds; undefined if not even all of it
 * fails. `fails` gets a file with one line for each call. First finds the shortest prefix that
 * fails, then leaves out parts of it: halves, quarters and so on, down to single calls.
 */
export async function shrink(
  all: readonly string[],
  fails: (file: string) => Promise<boolean>,
): Promise<string[] | undefined> {
  const folder = temporaryFolder('shrink');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const release = atOurEnd(remove);
  let trials = 0;
  const end = performance.now() + SECONDS * 1000;
  const mayTry = (): boolean => trials < TRIALS && performance.now() < end;
  const broken = async (lines: readonly string[]): Promise<boolean> => {
    const file = join(folder, `calls-${trials++}`);
    writeFileSync(file, `${lines.join('\n')}\n`);
    const result = await fails(file);
    rmSync(file);
    return result;
  };
  try {
    if (!(await broken(all))) return undefined;
    return await leaveOut(await shortestPrefix(all, broken), broken, mayTry);
  } finally {
    release();
    remove();
  }
}

type Broken = (lines: readonly string[]) => Promise<boolean>;

async function shortestPrefix(all: readonly string[], broken: Broken): Promise<string[]> {
  let [good, bad] = [0, all.length];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (await broken(all.slice(0, middle))) bad = middle;
    else good = middle;
  }
  return all.slice(0, bad);
}

async function leaveOut(from: string[], broken: Broken, mayTry: () => boolean): Promise<string[]> {
  let lines = from;
  for (let size = Math.ceil(lines.length / 2); size >= 1 && mayTry(); size = half(size)) {
    for (let at = 0; at < lines.length && mayTry(); ) {
      const rest = [...lines.slice(0, at), ...lines.slice(at + size)];
      if (rest.length > 0 && (await broken(rest))) lines = rest;
      else at += size;
    }
    if (size === 1) break;
  }
  return lines;
}

const half = (size: number): number => Math.max(1, Math.floor(size / 2));
