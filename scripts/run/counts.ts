// Counts of a program's calls of malloc: LIBMALLOC_TRACE=count,/FILE.

import { bytesOf, Op, offset, opName } from '../trace/format.ts';
import { CHeader } from '../trace/header.ts';
import type { Trace, TraceProcess } from '../trace/trace.ts';

/** Blocks of similar sizes. */
export interface SizeClass {
  /** Bytes: the largest size in it. */
  limit: number;
  /** Blocks handed out. */
  blocks: number;
  /** Bytes requested, and usable bytes of the blocks; undefined where the malloc does not say. */
  requested: number;
  usable?: number;
}

/** The sums of one process, or of several. */
export interface Counts {
  /** Calls by function; functions that were not called are left out. */
  calls: Record<string, number>;
  /** Calls that returned NULL for a size above 0. */
  failed: number;
  /** Usable bytes and number of live blocks at their peaks; bytes undefined where the malloc does not say. */
  peakLive?: number;
  peakBlocks: number;
  /** Peak resident bytes of the whole process; up to 10 ms stale if it was killed. */
  peakResident: number;
  /** System calls that the malloc made, by name; undefined where they cannot be counted. */
  kernel?: Record<string, number>;
  classes: SizeClass[];
}

const header = new CHeader('tools/trace.h');
const CALLS = header.constant('TRACE_CALLS');
const CLASSES = header.constant('TRACE_CLASSES');
const kernelCalls = ['mmap', 'munmap', 'mremap', 'madvise', 'mprotect', 'brk'];
const [USABLE, KERNEL] = [1, 2];

/** The counts of one process; undefined when it made no call. */
export function countsOf(trace: Trace, process: TraceProcess): Counts | undefined {
  let counts: Counts | undefined;
  for (const { head, content } of trace.contents(process, 'counts')) {
    counts ??= { calls: {}, failed: 0, peakBlocks: 0, peakResident: 0, classes: [] };
    addThread(counts, content.bytes);
    if (head.stream === 0) addProcess(counts, content.bytes);
  }
  if (!counts) return undefined;
  counts.classes = counts.classes.filter((each) => each !== undefined);
  if (counts.peakLive === undefined) for (const each of counts.classes) delete each.usable;
  return counts;
}

const number = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

function addThread(counts: Counts, bytes: Buffer): void {
  for (let op = 0; op < CALLS; op++) {
    const name = opName(op);
    const calls = number(bytes, op * 8);
    if (name !== undefined && op !== Op.release && calls > 0)
      counts.calls[name] = (counts.calls[name] ?? 0) + calls;
    counts.failed += number(bytes, offset('counts', 'failed') + op * 8);
  }
  counts.kernel ??= Object.fromEntries(kernelCalls.map((name) => [name, 0]));
  for (const [i, name] of kernelCalls.entries())
    counts.kernel[name] =
      (counts.kernel[name] ?? 0) + number(bytes, offset('counts', 'kernel') + i * 8);
  for (let i = 0; i < CLASSES; i++) addClass(counts.classes, bytes, i);
}

function addClass(classes: SizeClass[], bytes: Buffer, i: number): void {
  const at = offset('counts', 'classes') + i * bytesOf('class');
  const blocks = number(bytes, at + 8);
  if (blocks === 0) return;
  const before = classes[i] ?? { limit: number(bytes, at), blocks: 0, requested: 0, usable: 0 };
  before.blocks += blocks;
  before.requested += number(bytes, at + 16);
  before.usable = (before.usable ?? 0) + number(bytes, at + 24);
  classes[i] = before;
}

function addProcess(counts: Counts, bytes: Buffer): void {
  const field = (name: string): number => number(bytes, offset('counts', name));
  const visible = field('visible');
  if (visible & USABLE) counts.peakLive = field('peak');
  counts.peakBlocks = field('most');
  counts.peakResident = field('resident');
  if (!(visible & KERNEL)) delete counts.kernel;
}

/** All processes as one: sums, and of the peaks the highest. */
export function together(all: Counts[]): Counts | undefined {
  const [first, ...rest] = all;
  if (!first) return undefined;
  const sum = structuredClone(first);
  for (const each of rest) {
    sum.calls = added(sum.calls, each.calls);
    sum.failed += each.failed;
    sum.peakBlocks = Math.max(sum.peakBlocks, each.peakBlocks);
    sum.peakResident = Math.max(sum.peakResident, each.peakResident);
    if (each.peakLive !== undefined) sum.peakLive = Math.max(sum.peakLive ?? 0, each.peakLive);
    if (each.kernel) sum.kernel = added(sum.kernel ?? {}, each.kernel);
    sum.classes = mergeClasses(sum.classes, each.classes);
  }
  return sum;
}

function added(a: Record<string, number>, b: Record<string, number>): Record<string, number> {
  const sum = { ...a };
  for (const [name, n] of Object.entries(b)) sum[name] = (sum[name] ?? 0) + n;
  return sum;
}

function mergeClasses(a: SizeClass[], b: SizeClass[]): SizeClass[] {
  const byLimit = new Map(a.map((each) => [each.limit, { ...each }]));
  for (const each of b) {
    const same = byLimit.get(each.limit);
    if (!same) {
      byLimit.set(each.limit, { ...each });
      continue;
    }
    same.blocks += each.blocks;
    same.requested += each.requested;
    if (each.usable !== undefined) same.usable = (same.usable ?? 0) + each.usable;
  }
  return [...byLimit.values()].sort((x, y) => x.limit - y.limit);
}
