// The records that the probe leaves behind: one file PREFIX.PID per process, written at the start of
// the process into a shared mapping, so that neither _exit nor a kill loses it. Layout: native/base/report.h.

import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { symbolsOf } from './elf.ts';
import type { Malloc } from './mallocs.ts';

/** Which file provides the malloc family in one process, as its dynamic linker names them. */
export interface Proof {
  pid: number;
  executable: string;
  malloc: string;
  calloc: string;
  realloc: string;
  free: string;
}

const NAME_BYTES = 1024;
const HEADER_BYTES = 24;
const RECORD_BYTES = HEADER_BYTES + 5 * NAME_BYTES;
const functions = ['malloc', 'calloc', 'realloc', 'free'] as const;

/**
 * Reads every record PREFIX.PID, ordered by pid. A record that its process had no time to finish
 * (killed while it was being loaded) is left out; so is one of a version unknown to us.
 */
export function readReports(prefix: string): Proof[] {
  const start = `${basename(prefix)}.`;
  return readdirSync(dirname(prefix))
    .filter((name) => name.startsWith(start))
    .map((name) => parseReport(readFileSync(join(dirname(prefix), name))))
    .filter((proof) => proof !== undefined)
    .sort((a, b) => a.pid - b.pid);
}

/** One record as native/base/report.h lays it out (little-endian), or undefined when it is none. */
export function parseReport(record: Buffer): Proof | undefined {
  if (
    record.length < RECORD_BYTES ||
    record.toString('latin1', 0, 8) !== 'LMREPORT' ||
    record.readUInt32LE(8) !== 1
  )
    return undefined;
  const text = (index: number): string => {
    const at = HEADER_BYTES + index * NAME_BYTES;
    const bytes = record.subarray(at, at + NAME_BYTES);
    const end = bytes.indexOf(0);
    return bytes.toString('utf8', 0, end < 0 ? NAME_BYTES : end);
  };
  return {
    pid: record.readUInt32LE(16),
    executable: text(0),
    malloc: text(1),
    calloc: text(2),
    realloc: text(3),
    free: text(4),
  };
}

/** Why these records do not prove that every process ran on `m`; undefined when they do. */
export function disproof(m: Malloc, proofs: Proof[]): string | undefined {
  if (proofs.length === 0)
    return `no process reported back, so nothing proves that ${m.name} was in use`;
  for (const proof of proofs) {
    const strangers = functions.filter((name) => !provides(m, proof[name]));
    const [stranger] = strangers;
    if (!stranger) continue;
    const lacks = lacking(m);
    if (strangers.every((name) => lacks.includes(name))) return withoutThem(m, lacks, proof);
    const provider = proof[stranger] || 'nobody known';
    return `${m.name} was not in use: in ${basename(proof.executable)} (pid ${proof.pid}) ${stranger} came from ${provider}`;
  }
  return undefined;
}

/** Functions that the library does not define and therefore cannot provide. */
function lacking({ file }: Malloc): readonly string[] {
  if (file === undefined || !existsSync(file)) return [];
  const defined = symbolsOf(file, 'exported').map(({ name }) => name);
  return functions.filter((name) => !defined.includes(name));
}

function withoutThem(m: Malloc, lacks: readonly string[], proof: Proof): string {
  if (lacks.length === functions.length)
    return `${m.name} defines neither malloc nor any of its kin, so nothing of it was in use`;
  const names = lacks.map((name) => `no ${name}`).join(' and ');
  const provider = proof[lacks[0] as 'calloc'] || 'somebody else';
  return (
    `${m.name} has ${names}: in ${basename(proof.executable)} (pid ${proof.pid}) ` +
    `${lacks.length === 1 ? 'it' : 'they'} came from ${provider}, so blocks of two mallocs were mixed`
  );
}

/** What to do about a disproof. */
export function remedy(m: Malloc): string {
  return lacking(m).length > 0
    ? 'define malloc, calloc, realloc and free together, and export them (docs/own.md)'
    : 'does the program bring its own malloc, start with another LD_PRELOAD, or clear its environment?';
}

function provides(m: Malloc, provider: string): boolean {
  if (m.file === undefined) return /^libc[.-]/.test(basename(provider));
  return provider === m.file || real(provider) === real(m.file);
}

/** The path itself when it no longer exists, or never did here: a process may have seen another file system. */
function real(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** `list in 3 processes (sh, ls, sort): build/release/libmalloc-list.so` */
export function proofLine(m: Malloc, proofs: Proof[]): string {
  const count = `${proofs.length} ${proofs.length === 1 ? 'process' : 'processes'}`;
  const provider = m.file ?? proofs[0]?.malloc ?? 'the C library';
  return `${m.name} in ${count} (${programNames(proofs)}): ${fromHere(provider)}`;
}

/** Program names in order of appearance, repetitions counted, at most eight spelt out: `gcc, cc1 ×2, as`. */
export function programNames(proofs: Proof[]): string {
  const counts = new Map<string, number>();
  for (const { executable } of proofs)
    counts.set(basename(executable), (counts.get(basename(executable)) ?? 0) + 1);
  const names = [...counts].map(([name, n]) => (n > 1 ? `${name} ×${n}` : name));
  return names.length > 8
    ? `${names.slice(0, 7).join(', ')}, … ${names.length - 7} more`
    : names.join(', ');
}

function fromHere(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith('..') || short === '' ? path : short;
}
