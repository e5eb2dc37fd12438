// Writes traces of native/tools/trace.h from lists of calls, for tests that must know every number.

import { writeFileSync } from 'node:fs';
import {
  bytesOf,
  HEAD_BYTES,
  kinds,
  Op,
  offset,
  RECORD_BYTES,
  SEGMENT_BYTES,
  SEGMENT_MAGIC,
  sumOf,
  VERSION,
} from '../../scripts/trace/format.ts';

/** A call: `malloc` gives `address` with `size` bytes, `free` takes it; `footprint` has a `size` only. */
export interface Call {
  op: 'malloc' | 'free' | 'footprint';
  address?: number;
  size?: number;
  /** The number of the node that called. */
  stack?: number;
}

/** A node of the tree of calls; the first has number 1. */
export interface Node {
  address: number;
  parent: number;
  flags?: number;
}

/** Nanoseconds between two calls of a trace written here. */
const STEP = 1000;

/** Writes a trace of one process and one thread; returns the file. */
export function writeTrace(
  file: string,
  calls: readonly Call[],
  malloc = 'libmalloc-toy.so',
  nodes: readonly Node[] = [],
): string {
  const room = Math.floor((SEGMENT_BYTES - HEAD_BYTES) / RECORD_BYTES);
  const parts: Buffer[] = [processSegment(malloc)];
  // A call with a stack has a note before it.
  const perSegment = nodes.length > 0 ? Math.floor(room / 2) : room;
  for (let at = 0; at < calls.length; at += perSegment)
    parts.push(eventSegment(calls.slice(at, at + perSegment), at, at / perSegment, nodes));
  for (let at = 0; at < nodes.length; at += room)
    parts.push(nodeSegment(nodes.slice(at, at + room), at + 1, at / room));
  const header = Buffer.alloc(SEGMENT_BYTES);
  header.write('LMTRACE\0', 'latin1');
  header.writeUInt32LE(VERSION, offset('header', 'version'));
  header.writeUInt32LE(SEGMENT_BYTES, offset('header', 'segment'));
  header.writeBigUInt64LE(BigInt(parts.length + 1), offset('header', 'segments'));
  header.writeUInt32LE(1, offset('header', 'processes'));
  header.writeBigUInt64LE(1_000_000_000n, offset('header', 'rate'));
  writeFileSync(file, Buffer.concat([header, ...parts]));
  return file;
}

function segment(kind: number, order: number, base: number, used: number): Buffer {
  const bytes = Buffer.alloc(SEGMENT_BYTES);
  const put = (name: string, value: number) => bytes.writeUInt32LE(value, offset('segment', name));
  bytes.writeUInt32LE(SEGMENT_MAGIC, 0);
  put('kind', kind);
  put('process', 1);
  put('order', order);
  put('thread', 77);
  bytes.writeBigUInt64LE(BigInt(base), offset('segment', 'base'));
  put('used', used);
  return bytes;
}

function seal(bytes: Buffer, used: number): Buffer {
  bytes.writeUInt32LE(1, offset('segment', 'sealed'));
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, SEGMENT_BYTES / 4);
  const summed = HEAD_BYTES + Math.ceil(used / RECORD_BYTES) * RECORD_BYTES;
  bytes.writeUInt32LE(sumOf(words, summed), offset('segment', 'sum'));
  return bytes;
}

function processSegment(malloc: string): Buffer {
  const used = bytesOf('process');
  const bytes = segment(kinds.process, 0, 0, used);
  const at = (name: string): number => HEAD_BYTES + offset('process', name);
  bytes.writeUInt32LE(4711, HEAD_BYTES);
  bytes.writeUInt32LE(4096, at('page_size'));
  bytes.write('/usr/bin/toy', at('executable'));
  bytes.write(`/lib/${malloc}`, at('provider'));
  bytes.write('toy\0--play\0', at('command'));
  return seal(bytes, used);
}

function eventSegment(
  calls: readonly Call[],
  first: number,
  order: number,
  nodes: readonly Node[],
): Buffer {
  const bytes = segment(kinds.events, order, first * STEP, 0);
  let used = 0;
  const put = (what: bigint, much: bigint): void => {
    const odd = isOdd(what ^ much);
    bytes.writeBigUInt64LE(what | (odd ? 0n : 1n << 47n), HEAD_BYTES + used);
    bytes.writeBigUInt64LE(much, HEAD_BYTES + used + 8);
    used += RECORD_BYTES;
  };
  for (const [i, { op, address = 0, size = 0, stack = 0 }] of calls.entries()) {
    const site = BigInt(stack > 0 ? 1 : 0) << 54n;
    if (stack > 0)
      put(site | (BigInt(Op.site) << 48n) | BigInt(nodes[stack - 1]?.address ?? 0), BigInt(stack));
    const much = op === 'footprint' ? BigInt(size) : (BigInt(i * STEP) << 32n) | BigInt(size);
    put(site | (BigInt(Op[op]) << 48n) | BigInt(address), much);
  }
  bytes.writeUInt32LE(used, offset('segment', 'used'));
  return seal(bytes, used);
}

function nodeSegment(nodes: readonly Node[], first: number, order: number): Buffer {
  const used = nodes.length * RECORD_BYTES;
  const bytes = segment(kinds.stacks, order, 0, used);
  bytes.writeUInt32LE(first, offset('segment', 'thread'));
  for (const [i, { address, parent, flags = 0 }] of nodes.entries()) {
    const at = HEAD_BYTES + i * RECORD_BYTES;
    bytes.writeBigUInt64LE(BigInt(address), at);
    bytes.writeUInt32LE(parent, at + offset('frame', 'parent'));
    const odd = isOdd(BigInt(address) ^ BigInt(parent) ^ BigInt(flags));
    bytes.writeUInt32LE(flags | (odd ? 0 : 1 << 30), at + offset('frame', 'flags'));
  }
  return seal(bytes, used);
}

function isOdd(word: bigint): boolean {
  return word.toString(2).replaceAll('0', '').length % 2 === 1;
}

/** Calls of a small program: `count` of them, with blocks of many sizes, from a fixed seed. */
export function randomCalls(count: number, seed = 1): Call[] {
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state % below;
  };
  const free: number[] = [];
  const live: number[] = [];
  const calls: Call[] = [];
  for (let next = 0; calls.length < count; ) {
    if (live.length > 0 && random(5) < 2) {
      const [address = 0] = live.splice(random(live.length), 1);
      free.push(address);
      calls.push({ op: 'free', address });
      continue;
    }
    const address = free.pop() ?? 0x100000000 + 1024 * next++;
    live.push(address);
    calls.push({ op: 'malloc', address, size: 1 + random(1000) });
    if (calls.length % 100 === 0) calls.push({ op: 'footprint', size: 4096 * (10 + next) });
  }
  return calls;
}

/** The live blocks after the first `events` calls of `calls`, counted with a Map. */
export function liveAfter(calls: readonly Call[], events: number): Map<number, number> {
  const live = new Map<number, number>();
  const real = calls.filter(({ op }) => op !== 'footprint').slice(0, events);
  for (const { op, address = 0, size = 0 } of real) {
    if (op === 'malloc') live.set(address, size);
    else live.delete(address);
  }
  return live;
}

export const bytesIn = (live: Map<number, number>): number =>
  [...live.values()].reduce((sum, size) => sum + size, 0);
