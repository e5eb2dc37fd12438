// The numbers of the trace format, taken from its one definition: native/tools/trace.h.

import { CHeader } from './header.ts';

const header = new CHeader('tools/trace.h');
const constant = (name: string): number => header.constant(`TRACE_${name}`);

/** Where a field stands in `struct trace_…`. */
export function offset(struct: string, field: string): number {
  return header.offset(`trace_${struct}`, field);
}

/** Bytes of a `struct trace_…`. */
export function bytesOf(struct: string): number {
  return header.size(`trace_${struct}`);
}

export const VERSION: number = constant('VERSION');
/** The oldest version that is still read. */
export const OLDEST: number = constant('OLDEST');
export const SEGMENT_BYTES: number = constant('SEGMENT');
export const SEGMENT_MAGIC: number = constant('MAGIC');
/** `sealed` of a segment that was in use at an exit. */
export const AT_EXIT: number = constant('AT_EXIT');
export const PATH_BYTES: number = constant('PATH');
export const COMMAND_BYTES: number = constant('COMMAND');
export const RECORD_BYTES: number = bytesOf('record');
export const HEAD_BYTES: number = bytesOf('segment');

export const kinds: Readonly<
  Record<'events' | 'process' | 'maps' | 'heap' | 'counts' | 'stacks' | 'idle', number>
> = {
  events: constant('EVENTS'),
  process: constant('PROCESS'),
  maps: constant('MAPS'),
  heap: constant('HEAP'),
  counts: constant('COUNTS'),
  stacks: constant('STACKS'),
  idle: constant('IDLE'),
};

/** `flags` of a frame. */
export const frameFlags: Readonly<Record<'jit' | 'signal' | 'cut', number>> = {
  jit: constant('FRAME_JIT'),
  signal: constant('FRAME_SIGNAL'),
  cut: constant('FRAME_CUT'),
};

export const options: Readonly<
  Record<'sites' | 'snapshots' | 'stacks' | 'noRoom' | 'noFile', number>
> = {
  sites: constant('SITES'),
  snapshots: constant('SNAPSHOTS'),
  stacks: constant('WITH_STACKS'),
  noRoom: constant('NO_ROOM'),
  noFile: constant('NO_FILE'),
};

/** The functions that hand out a block, in the order of their ops. */
export const allocations = [
  'malloc',
  'calloc',
  'realloc',
  'reallocarray',
  'posix_memalign',
  'aligned_alloc',
  'memalign',
  'valloc',
  'pvalloc',
] as const;
const releases = ['free', 'free_sized', 'free_aligned_sized', 'release'] as const;
const notes = ['base', 'wide', 'far', 'site', 'thread', 'footprint', 'snapshot'] as const;

type Allocation = (typeof allocations)[number];
type Release = (typeof releases)[number];
type Note = (typeof notes)[number];
export type OpName = Allocation | Release | Note;

const opNames: readonly OpName[] = [...allocations, ...releases, ...notes];
const numbered = opNames.map((name) => [name, constant(name.toUpperCase())] as const);

/** The number of each op: `Op.malloc`. */
export const Op = Object.fromEntries(numbered) as Readonly<Record<OpName, number>>;

const namesByNumber: (OpName | undefined)[] = [];
for (const [name, value] of numbered) namesByNumber[value] = name;

/** `malloc` for Op.malloc; undefined for a number that is no op. */
export function opName(op: number): OpName | undefined {
  return namesByNumber[op];
}

/** The function that hands out a block: Op.malloc to Op.pvalloc. */
export function isAllocation(op: number): boolean {
  return op >= Op.malloc && op <= Op.pvalloc;
}

/** Op.free and its kin, and Op.release: a realloc begins with the block. */
export function isRelease(op: number): boolean {
  return op >= Op.free && op <= Op.release;
}

/** Ops from here on are notes; those that are unknown are skipped. */
export const FIRST_NOTE: number = Op.base;

/** Whether the record at `i` has an odd number of ones: trace_checked() of trace.h. */
export function isChecked(words: Uint32Array, i: number): boolean {
  let ones = 0;
  for (let j = i; j < i + RECORD_BYTES / 4; j++) ones ^= words[j] as number;
  for (let half = 16; half > 0; half >>= 1) ones ^= ones >>> half;
  return (ones & 1) === 1;
}

/** trace_sum() of trace.h: of the first `bytes` of a segment. */
export function sumOf(words: Uint32Array, bytes: number): number {
  const prime = 0x9e3779b1;
  let [a, b, c, d] = [1, 2, 3, 4];
  for (let i = 0; i < bytes / 4; i += 4) {
    a = Math.imul(a ^ (words[i] as number), prime);
    b = Math.imul(b ^ (words[i + 1] as number), prime);
    c = Math.imul(c ^ (words[i + 2] as number), prime);
    d = Math.imul(d ^ (words[i + 3] as number), prime);
  }
  return (Math.imul(Math.imul(Math.imul(a, 31) + b, 31) + c, 31) + d) >>> 0;
}
