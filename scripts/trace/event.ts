// What a reader of traces gets: processes, events, chunks.

import type { ChunkKind } from '../malloc/chunk-kinds.ts';

/** One process image: a process that calls exec goes on as another. */
export interface TraceProcess {
  /** In this file, from 1. */
  number: number;
  pid: number;
  parentPid: number;
  /** The number of the process that it was forked from, whose blocks it inherited; 0 for none. */
  parent: number;
  pageSize: number;
  executable: string;
  /** The files whose malloc, calloc, realloc and free were at work. */
  providers: string[];
  command: string[];
  /** When it began: nanoseconds since time 0. */
  start: number;
  /** Records in the file, notes and all: slightly more than calls. */
  records: number;
}

/** Something that happened. The same object each time: copy what you want to keep. */
export interface TraceEvent {
  /**
   * Op.malloc … Op.pvalloc, Op.free …, Op.release (a realloc begins with the block `address`; the
   * Op.realloc or Op.reallocarray of the same thread ends it), Op.footprint or Op.snapshot.
   */
  op: number;
  /** The block: 0 when the call failed, or freed NULL. Snapshot: how many chunks it has. */
  address: number;
  /** Realloc: the block that it was called with, or 0. */
  old: number;
  /** Bytes asked for; 0 for releases. Footprint: resident bytes. Snapshot: its number. */
  size: number;
  /** As asked for; 0 where the function has none. */
  alignment: number;
  /** Nanoseconds since time 0. */
  time: number;
  /** Threads are numbered from 0, in the order of their first event. */
  thread: number;
  /** Where the call returns to; 0 when that was not recorded. */
  site: number;
  /** The number of the stack that made the call, for Trace.stackOf; 0 when that was not recorded. */
  stack: number;
  /** Counts the events of the process from 0. */
  index: number;
}

/** A new event, all of whose numbers are 0. */
export const blankEvent = (): TraceEvent => ({
  op: 0,
  address: 0,
  old: 0,
  size: 0,
  alignment: 0,
  time: 0,
  thread: 0,
  site: 0,
  stack: 0,
  index: 0,
});

/** A chunk of a walk over the heap: libmalloc_walk of native/libmalloc.h. */
export interface TraceChunk {
  kind: ChunkKind;
  start: number;
  extent: number;
  /** The caller's part; 0 in what is no block. */
  user: number;
  usable: number;
  sizeClass: number;
  /** Heaps are numbered from 1 in the order of their appearance; 0 where there is only one. */
  owner: number;
}
