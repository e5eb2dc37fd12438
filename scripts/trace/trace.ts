/**
 * Reads what `libmalloc record` wrote.
 *
 *     const trace = openTrace('ls.trace');
 *     for (const event of trace.events()) console.log(opName(event.op), event.address, event.size);
 *     for (const sentence of trace.damage) console.error(sentence);
 *     trace.close();
 *
 * Memory is bounded: a segment of 64 KiB for each thread that was alive at a time.
 */
import { chunkKinds } from '../malloc/chunk-kinds.ts';
import type { Proof } from '../malloc/proof.ts';
import { type Calls, nodesWithin, readCalls } from './call-tree.ts';
import { Cursor } from './cursor.ts';
import { blankEvent, type TraceChunk, type TraceEvent, type TraceProcess } from './event.ts';
import {
  bytesOf,
  COMMAND_BYTES,
  kinds,
  offset,
  options,
  PATH_BYTES,
  RECORD_BYTES,
} from './format.ts';
import { type Content, SegmentFile, type SegmentHead } from './segments.ts';

export type { Calls } from './call-tree.ts';
export type { TraceChunk, TraceEvent, TraceProcess } from './event.ts';
export { frameFlags, isAllocation, isRelease, Op, opName } from './format.ts';
export * from './ledger.ts';

/** Opens a trace; throws Failure when nothing of it can be read. */
export function openTrace(file: string): Trace {
  return new Trace(new SegmentFile(file));
}

export class Trace {
  readonly file: string;
  readonly bytes: number;
  /** Milliseconds since 1970 at time 0. */
  readonly started: number;
  readonly sites: boolean;
  readonly snapshots: boolean;
  /** Whether events carry the number of a stack. */
  readonly stacks: boolean;
  /** Records that could not be written; `damage` says why. */
  readonly lost: number;
  readonly processes: readonly TraceProcess[];
  /** gettid() of the threads seen so far, by TraceEvent.thread; of the last events(). */
  readonly threads: number[] = [];
  readonly #file: SegmentFile;
  readonly #streams = new Map<number, Map<number, SegmentHead[]>>();
  readonly #calls = new Map<number, Calls>();

  constructor(file: SegmentFile) {
    this.#file = file;
    this.file = file.file;
    this.bytes = file.bytes;
    this.started = file.header.realtime;
    this.sites = (file.header.options & options.sites) !== 0;
    this.snapshots = (file.header.options & options.snapshots) !== 0;
    this.stacks = (file.header.options & options.stacks) !== 0;
    this.lost = file.header.lost;
    if (this.lost > 0) file.damage.add(`${this.lost} records are lost: ${whyLost(file)}`);
    for (const head of file.heads) if (head.kind === kinds.events) this.#sort(head);
    this.processes = this.#findProcesses();
  }

  /** What is wrong with the trace, a sentence each; events() adds what it meets. Empty: all is there. */
  get damage(): string[] {
    return [...this.#file.damage];
  }

  /** The process with most records. Undefined when there is none at all. */
  get busiest(): TraceProcess | undefined {
    return [...this.processes].sort((a, b) => b.records - a.records || a.number - b.number)[0];
  }

  close(): void {
    this.#file.close();
  }

  #sort(head: SegmentHead): void {
    const streams = this.#streams.get(head.process) ?? new Map<number, SegmentHead[]>();
    this.#streams.set(head.process, streams);
    const segments = streams.get(head.stream) ?? [];
    streams.set(head.stream, segments);
    segments.push(head);
  }

  #findProcesses(): TraceProcess[] {
    const found = new Map<number, TraceProcess>();
    for (const head of this.#file.heads)
      if (head.kind === kinds.process) found.set(head.process, this.#readProcess(head));
    for (const [number, streams] of this.#streams) {
      const process = found.get(number) ?? unknownProcess(number);
      if (!found.has(number)) this.#file.damage.add(`nothing is known of process ${number}`);
      found.set(number, process);
      for (const [stream, segments] of streams) {
        process.records += this.#checkStream(number, stream, segments);
      }
    }
    return [...found.values()].sort((a, b) => a.number - b.number);
  }

  #readProcess(head: SegmentHead): TraceProcess {
    const process = unknownProcess(head.process);
    process.start = this.nanoseconds(head.base);
    const bytes = this.#file.content(head)?.bytes;
    if (!bytes) return process;
    const number = (name: string): number => bytes.readUInt32LE(offset('process', name));
    const text = (name: string, length: number, skip = 0): string => {
      const from = offset('process', name) + skip;
      return bytes.toString('utf8', from, from + length);
    };
    const untilZero = (long: string): string => long.slice(0, long.indexOf('\0'));
    return {
      ...process,
      pid: bytes.readUInt32LE(0),
      parentPid: number('parent_pid'),
      parent: number('parent'),
      pageSize: number('page_size') || process.pageSize,
      executable: untilZero(text('executable', PATH_BYTES)),
      providers: [0, 1, 2, 3].map((i) => untilZero(text('provider', PATH_BYTES, i * PATH_BYTES))),
      command: text('command', COMMAND_BYTES).replace(/\0+$/, '').split('\0'),
    };
  }

  /** Puts the segments of a stream in order; returns how many records they hold. */
  #checkStream(process: number, stream: number, segments: SegmentHead[]): number {
    segments.sort((a, b) => a.order - b.order || Number(b.sealed) - Number(a.sealed));
    for (let i = segments.length - 1; i > 0; i--)
      if (segments[i]?.order === segments[i - 1]?.order) segments.splice(i, 1);
    const missing = segments.filter(({ order }, i) => order !== (segments[i - 1]?.order ?? -1) + 1);
    for (const { order } of missing)
      this.#file.damage.add(
        `process ${process}, stream ${stream}: no segment before its ${order}.`,
      );
    const bytes = segments.map((head) =>
      head.sealed && !head.open ? head.used : (this.#file.content(head)?.length ?? 0),
    );
    return bytes.reduce((sum, n) => sum + n, 0) / RECORD_BYTES;
  }

  /** Nanoseconds since time 0, from what a segment says. */
  nanoseconds(ticks: number): number {
    return (ticks * 1e9) / this.#file.header.rate;
  }

  /** All events of a process, of all its threads, in the order of time. */
  *events(process: TraceProcess | undefined = this.busiest): Generator<TraceEvent, void> {
    this.threads.length = 0;
    const streams = this.#streams.get(process?.number ?? 0) ?? new Map<number, SegmentHead[]>();
    const scale = 1e9 / this.#file.header.rate;
    const event = blankEvent();
    for (const tenant of merge([...streams.values()].map((s) => new Cursor(this.#file, s)))) {
      const { cursor } = tenant;
      if (tenant.served !== cursor.tenant) {
        tenant.served = cursor.tenant;
        tenant.thread = this.#threadOf(cursor.thread);
      }
      event.op = cursor.op;
      event.address = cursor.address;
      event.old = cursor.old;
      event.size = cursor.size;
      event.alignment = cursor.alignment;
      event.time = cursor.ticks * scale;
      event.thread = tenant.thread;
      event.site = cursor.site;
      event.stack = cursor.stack;
      yield event;
      event.index++;
    }
  }

  /** A thread has several streams where its signal handlers allocate, and is one all the same. */
  #threadOf(tid: number): number {
    const known = this.threads.lastIndexOf(tid);
    return known >= 0 ? known : this.threads.push(tid) - 1;
  }

  /** The segments of one kind of a process, in the order of the file; broken ones are left out. */
  *contents(
    process: TraceProcess,
    kind: keyof typeof kinds | number,
  ): Generator<{ head: SegmentHead; content: Content }, void> {
    const wanted = typeof kind === 'number' ? kind : kinds[kind];
    for (const head of this.#file.heads) {
      if (head.kind !== wanted || head.process !== process.number) continue;
      const content = this.#file.content(head);
      if (content) yield { head, content };
    }
  }

  /** The chunks of a snapshot, in address order, as far as they could be read. */
  *chunks(process: TraceProcess, snapshot: number): Generator<TraceChunk, void> {
    const size = bytesOf('chunk');
    // A walk writes its segments one after the other, so the order of the file is theirs.
    for (const { head, content } of this.contents(process, 'heap')) {
      if (head.stream !== snapshot) continue;
      for (let at = 0; at + size <= content.length; at += size) {
        const chunk = readChunk(content.bytes, at);
        if (chunk) yield chunk;
      }
    }
  }

  /** The tree of calls of a process, read at the first question. Empty without stacks. */
  calls(process: TraceProcess): Calls {
    const known = this.#calls.get(process.number);
    if (known) return known;
    const calls = readCalls(this.#file, this.#stacksOf(process));
    this.#calls.set(process.number, calls);
    return calls;
  }

  /** No stack of the process has a number as large as this. */
  stacksWithin(process: TraceProcess): number {
    return nodesWithin(this.#stacksOf(process));
  }

  #stacksOf(process: TraceProcess): SegmentHead[] {
    return this.#file.heads.filter(
      (head) => head.kind === kinds.stacks && head.process === process.number,
    );
  }

  /** The return addresses of a stack, the innermost first. Empty for 0, and for what is lost. */
  stackOf(process: TraceProcess, stack: number): readonly number[] {
    const { address, parent, length } = this.calls(process);
    const addresses: number[] = [];
    for (let at = stack; at > 0 && at < length; at = parent[at] as number)
      if (address[at] !== 0) addresses.push(address[at] as number);
    return addresses;
  }

  /** The build-ids of the files that the process had mapped, by path, as far as it wrote them down. */
  buildIds(process: TraceProcess): Map<string, string> {
    const text = this.maps(process).join('\n');
    const lines = text.matchAll(/^build-id ([0-9a-f]+) (\/.*)$/gm);
    return new Map([...lines].map(([, id = '', path = '']) => [path, id]));
  }

  /** /proc/PID/maps of the process, as of its beginning and of later moments: the last is the fullest. */
  maps(process: TraceProcess): string[] {
    return [...this.contents(process, 'maps')].map(({ content }) =>
      content.bytes.toString('utf8', 0, content.length),
    );
  }
}

/** A cursor, and the thread that it serves. */
interface Tenant {
  cursor: Cursor;
  served: number;
  thread: number;
}

/** Repeatedly takes the cursor with the earliest event, until all have ended. */
function* merge(cursors: Cursor[]): Generator<Tenant, void> {
  const tenants = cursors.map((cursor) => ({ cursor, served: 0, thread: 0 }));
  while (tenants.length > 0) {
    const { first, limit } = earliest(tenants);
    const { cursor } = first;
    let more = cursor.loaded || cursor.load();
    // What load() found may be later than other streams' events.
    if (more && (!cursor.loaded || cursor.ticks > limit)) continue;
    while (more) {
      yield first;
      more = cursor.advance();
      if (cursor.ticks >= limit || !cursor.loaded) break;
    }
    if (!more) tenants.splice(tenants.indexOf(first), 1);
  }
}

/** The cursor to read from, and the time until which it stays the earliest. */
function earliest(tenants: Tenant[]): { first: Tenant; limit: number } {
  let first = tenants[0] as Tenant;
  let limit = Number.POSITIVE_INFINITY;
  for (let i = 1; i < tenants.length; i++) {
    const tenant = tenants[i] as Tenant;
    if (comesBefore(tenant.cursor, first.cursor)) {
      limit = Math.min(limit, first.cursor.ticks);
      first = tenant;
    } else limit = Math.min(limit, tenant.cursor.ticks);
  }
  return { first, limit };
}

/** At one time, what has to be read comes first, then releases, then what may reuse their blocks. */
function comesBefore(a: Cursor, b: Cursor): boolean {
  if (a.ticks !== b.ticks) return a.ticks < b.ticks;
  if (a.loaded !== b.loaded) return !a.loaded;
  return !a.later && b.later;
}

/** The provider of malloc in each process, as the probe reports it for programs without a trace. */
export function proofsOf(trace: Trace): Proof[] {
  return trace.processes.map(({ pid, executable, providers: [malloc, calloc, realloc, free] }) => ({
    pid,
    executable,
    malloc: malloc ?? '',
    calloc: calloc ?? '',
    realloc: realloc ?? '',
    free: free ?? '',
  }));
}

function whyLost({ header }: SegmentFile): string {
  const reasons = [
    ...(header.options & options.noRoom ? ['the disk was full'] : []),
    ...(header.options & options.noFile
      ? ['a process could not open the file any more (chroot, no descriptors)']
      : []),
  ];
  return reasons.join(', and ') || 'there was no memory for them';
}

function unknownProcess(number: number): TraceProcess {
  return {
    number,
    pid: 0,
    parentPid: 0,
    parent: 0,
    pageSize: 4096,
    executable: '?',
    providers: [],
    command: [],
    start: 0,
    records: 0,
  };
}

function readChunk(bytes: Buffer, at: number): TraceChunk | undefined {
  const start = bytes.readUIntLE(at, 6);
  const kind = chunkKinds[bytes.readUInt8(at + 6)];
  if (kind === undefined) return undefined;
  const usable = bytes.readUIntLE(at + 24, 6);
  const inside = bytes.readUInt32LE(at + 20);
  return {
    kind,
    start,
    extent: Number(bytes.readBigUInt64LE(at + 8)),
    user: usable > 0 || inside > 0 ? start + inside : 0,
    usable,
    sizeClass: bytes.readUInt32LE(at + 16),
    owner: bytes.readUInt16LE(at + 30),
  };
}
