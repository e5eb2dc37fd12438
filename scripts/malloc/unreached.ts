// Programs that no preload reached, as the processes that started them report: native/tools/starts.h.

import { existsSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { checkTarget } from './target.ts';

/** A program that ran without the malloc, and without a report. */
export interface Unreached {
  /** 0 where the starter did not learn it. */
  pid: number;
  program: string;
  /** The name of the process that started or became it. */
  by: string;
  /** To be read after "PROGRAM ran without M: …". */
  reason: string;
}

interface Start extends Omit<Unreached, 'reason'> {
  kind: string;
}

/** Programs that were started without the preload, or cannot be preloaded, in the order of their starts. */
export function readUnreached(prefix: string): Unreached[] {
  const file = `${prefix}-starts`;
  if (!existsSync(file)) return [];
  const judged = new Map<string, string | undefined>();
  const judge = (program: string): string | undefined => {
    if (!judged.has(program)) judged.set(program, whyNotReached(program));
    return judged.get(program);
  };
  return parseStarts(readFileSync(file)).flatMap(({ kind, ...start }) => {
    const cleared = `${start.by} cleared LD_PRELOAD`;
    const reason = kind === 'c' ? cleared : judge(start.program);
    return reason === undefined ? [] : [{ ...start, reason }];
  });
}

/** Exec that failed is taken back; so are the attempts along PATH that a shell makes. */
function parseStarts(bytes: Buffer): Start[] {
  const starts: Start[] = [];
  for (const text of bytes.toString('utf8').split('\0')) {
    const [, kind = '', pid, by = '', program = ''] =
      /^([a-z])(\d+) (.*?)\n(.*)$/s.exec(text) ?? [];
    const number = Number(pid);
    if (kind === 'f')
      starts.splice(
        starts.findLastIndex((start) => start.pid === number),
        1,
      );
    else if (kind !== '') starts.push({ kind, pid: number, by, program });
  }
  return starts;
}

/** Static, setuid, another C library: 125. Programs that are gone by now were reached, or were not. */
function whyNotReached(program: string): string | undefined {
  try {
    checkTarget(program);
    return undefined;
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 125) return undefined;
    return error.message.slice(error.message.indexOf(' ') + 1);
  }
}

/** `not reached: 1 process, and what it started: ls (env cleared LD_PRELOAD)`; nothing if all were. */
export function unreachedLines(all: readonly Unreached[]): string[] {
  if (all.length === 0) return [];
  const counts = new Map<string, number>();
  for (const { program, reason } of all) {
    const text = `${basename(program)} (${reason})`;
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  const named = [...counts].map(([text, n]) => (n > 1 ? `${n} × ${text}` : text));
  const more = named.length > 8 ? `, and ${named.length - 8} more` : '';
  const what =
    all.length === 1 ? '1 process, and what it' : `${all.length} processes, and what they`;
  return [`not reached: ${what} started: ${named.slice(0, 8).join(', ')}${more}`];
}
