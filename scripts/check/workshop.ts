// Makes the input files for the commands of real-programs-table.ts; they are always the same.

import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../lib/folders.ts';
import { buildFolder } from '../lib/native-files.ts';
import { glibc } from '../malloc/mallocs.ts';
import { launch } from '../malloc/preload.ts';

const fib = `#include <stdio.h>
#include <stdlib.h>
static long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
int main(void) { long *p = malloc(sizeof *p); *p = fib(25); printf("%ld\\n", *p); free(p); }
`;

/** Lines of one to four words from a small vocabulary, always the same. */
function words(lines: number): string[] {
  let state = 1;
  const below = (n: number): number => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state % n;
  };
  const word = (): string => ((below(60_000) * 7919) % 999_983).toString(36);
  const line = (): string => `${Array.from({ length: 1 + below(4) }, word).join(' ')}\n`;
  return Array.from({ length: lines }, line);
}

/** 300 commits for git fast-import, so that a history needs no network and little time. */
function history(): string {
  const line = (commit: number, at: number): string =>
    `line ${at} of ${at % 7 === commit % 7 ? commit : 0}\n`;
  const commit = (_: unknown, i: number): string => {
    const text = Array.from({ length: 40 }, (_, at) => line(i, at)).join('');
    return `commit refs/heads/main\ncommitter A <a@b> ${1_700_000_000 + i} +0000\ndata 5\nstep\nM 644 inline file${i % 9}\ndata ${text.length}\n${text}\n`;
  };
  return Array.from({ length: 300 }, commit).join('');
}

let folder: string | undefined;

/** The folder with the input files. We keep it so that a reader can run a command again. */
export function workshop(): string {
  if (folder !== undefined) return folder;
  folder = buildFolder('programs');
  makeFolder(folder);
  const lines = words(300_000);
  put(folder, 'many', lines.join(''));
  put(folder, 'words', lines.slice(0, 20_000).join(''));
  put(folder, 'history', history());
  put(folder, 'fib.c', fib);
  return folder;
}

/** Renames the complete file into place, because several processes may write it at once. */
function put(at: string, name: string, text: string): void {
  const file = join(at, name);
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return;
  writeFileSync(`${file}.${process.pid}`, text);
  renameSync(`${file}.${process.pid}`, file);
}

const begun = new Map<string, Promise<void>>();

/** Makes one more input of a command: runs `make` in an empty folder, where it creates `name`. */
export function prepared(name: string, make: string): Promise<void> {
  const known = begun.get(name) ?? prepare(name, make);
  begun.set(name, known);
  return known;
}

async function prepare(name: string, make: string): Promise<void> {
  const to = join(workshop(), name);
  if (existsSync(to)) return;
  const cwd = mkdtempSync(join(workshop(), 'prepare-'));
  const env = { ...process.env, IN: workshop() };
  const { status, stderr } = await launch(glibc, ['/bin/sh', '-ec', make], { cwd, env });
  if (status === 0 && !existsSync(to)) renameSync(join(cwd, name), to);
  rmSync(cwd, { recursive: true, force: true });
  if (status !== 0) throw new Error(`${name} cannot be made: ${make}\n${stderr}`);
}
