/** The functions of libmalloc.h that describe a heap: walk, check, stats. */
import koffi from 'koffi';
import { Failure } from '../lib/errors.ts';
import { libcFile } from '../lib/platform.ts';
import { type ChunkKind, chunkKinds } from '../malloc/chunk-kinds.ts';
import { bindCall, type CallState, once, type Pointer } from './calls.ts';
import type { Library } from './library.ts';

export type { ChunkKind };

/** The bytes [start, start + extent) of the heap; `user` and `usable` are the caller's part of a block. */
export interface Chunk {
  kind: ChunkKind;
  start: Pointer;
  /** Bytes. */
  extent: number;
  /** The block itself, in live and free chunks; null elsewhere. */
  user: Pointer | null;
  /** Bytes of the block; 0 where there is none. */
  usable: number;
  /** Block size of the chunk's class; 0 where the malloc has no classes. */
  sizeClass: number;
  /** Which heap owns it; 0n where there is only one. */
  owner: bigint;
}

/** Totals, in bytes unless they end in Blocks or count regions. */
export interface Stats {
  regions: number;
  mapped: number;
  liveBlocks: number;
  liveBytes: number;
  freeBlocks: number;
  freeBytes: number;
  freshBytes: number;
  headerBytes: number;
  /** Unused bytes that `purge` could give back. */
  spareBytes: number;
  /** LIBMALLOC_OPTIONS=limit=BYTES, and what counts against it; 0 without a limit. */
  limit: number;
  taken: number;
}

/** The fields of `struct libmalloc_stats` after its size. */
const statsFields = [
  'regions',
  'mapped',
  'liveBlocks',
  'liveBytes',
  'freeBlocks',
  'freeBytes',
  'freshBytes',
  'headerBytes',
  'spareBytes',
  'limit',
  'taken',
] as const satisfies (keyof Stats)[];

export const viewPrototypes = {
  walk: 'int libmalloc_walk(libmalloc_visit *visit, void *arg)',
  check: 'int libmalloc_check(libmalloc_report *report, void *arg)',
  stats: 'int libmalloc_stats(_Inout_ uint8_t *stats)',
  purge: 'size_t libmalloc_purge(void)',
  version: 'const char *libmalloc_version(void)',
  showAllocMem: 'void show_alloc_mem(void)',
};

/** How our libraries describe their heap; a Failure from libraries that lack the function. */
export interface HeapView {
  /** Every chunk in address order, containers before their content; exact while no other thread allocates. */
  walk(): Chunk[];
  /** One line for each broken invariant; empty when the heap is sound. */
  check(): string[];
  stats(): Stats;
  /** Gives unused memory back to the system, all that can be had; the number of bytes. */
  purge(): number;
  /** For instance `libmalloc 0.1.0 (list)`. */
  version(): string;
  /** Prints zones, blocks and a total to file descriptor 1, past process.stdout. */
  showAllocMem(): void;
}

const memcpy = koffi
  .load(libcFile())
  .func('void *memcpy(_Out_ void *to, const void *from, size_t size)');
once('libmalloc_visit', () => koffi.proto('int libmalloc_visit(const void *chunk, void *arg)'));
once('libmalloc_report', () => koffi.proto('void libmalloc_report(const char *line, void *arg)'));
/** Bytes of a `struct libmalloc_chunk`. */
export const SIZEOF_CHUNK = 48;

export function heapView(library: Library, state: CallState): HeapView {
  const bind = (c: string) => bindCall(library, state, { c });
  const raw = {
    walk: bind(viewPrototypes.walk),
    check: bind(viewPrototypes.check),
    stats: bind(viewPrototypes.stats),
    purge: bind(viewPrototypes.purge),
    version: bind(viewPrototypes.version),
    showAllocMem: bind(viewPrototypes.showAllocMem),
  };
  const gaveUp = (call: string) =>
    new Failure(`${state.name}: ${call} failed with errno ${state.errno}`);

  return {
    walk() {
      const chunks: Chunk[] = [];
      const bytes = new Uint8Array(SIZEOF_CHUNK);
      const view = new DataView(bytes.buffer);
      const visit = (chunk: bigint): number => {
        memcpy(bytes, chunk, SIZEOF_CHUNK);
        chunks.push(readChunk(view));
        return 0;
      };
      if (raw.walk(visit, null) !== 0) throw gaveUp('walk');
      return chunks;
    },
    check() {
      const lines: string[] = [];
      const broken = raw.check((line: string) => void lines.push(line), null) as number;
      if (broken < 0) throw gaveUp('check');
      if (broken > lines.length) lines.push(`and ${broken - lines.length} more`);
      return lines;
    },
    stats() {
      const bytes = new Uint8Array(8 * (1 + statsFields.length));
      const view = new DataView(bytes.buffer);
      view.setBigUint64(0, BigInt(bytes.length), true);
      if (raw.stats(bytes) !== 0) throw gaveUp('stats');
      const entries = statsFields.map((field, i) => [field, readSize(view, 8 * (i + 1))]);
      return Object.fromEntries(entries) as Stats;
    },
    purge: () => Number(raw.purge()),
    version: () => raw.version() as string,
    showAllocMem: () => void raw.showAllocMem(),
  };
}

const readSize = (view: DataView, offset: number): number =>
  Number(view.getBigUint64(offset, true));

/** Reads a `struct libmalloc_chunk` (libmalloc.h). */
function readChunk(view: DataView): Chunk {
  const kind = chunkKinds[view.getUint32(32, true)];
  if (kind === undefined) throw new Failure(`a chunk of unknown kind ${view.getUint32(32, true)}`);
  const user = view.getBigUint64(16, true);
  return {
    kind,
    start: view.getBigUint64(0, true) as Pointer,
    extent: readSize(view, 8),
    user: user === 0n ? null : (user as Pointer),
    usable: readSize(view, 24),
    sizeClass: view.getUint32(36, true),
    owner: view.getBigUint64(40, true),
  };
}
