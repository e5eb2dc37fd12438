/**
 * Any malloc .so as a typed object, in this process.
 *
 *     import { openMalloc } from 'libmalloc';
 *     const list = openMalloc('list');
 *     const block = list.malloc(100);
 *     if (block) list.bytes(block, 100).fill(7);
 *     list.free(block);
 *     console.log(list.walk());
 *
 * Node itself stays on the malloc that it was started with. A call from here costs
 * about 100 ns: enough to explore and to test, never to measure.
 */
import path from 'node:path';
import koffi from 'koffi';
import { Failure } from '../lib/errors.ts';
import { libcFile } from '../lib/platform.ts';
import { resolveMalloc } from '../malloc/mallocs.ts';
import {
  type Binding,
  bindCall,
  type CallState,
  once,
  type Pointer,
  type Size,
  symbolOf,
} from './calls.ts';
import { type HeapView, heapView, viewPrototypes } from './heapview.ts';
import { openLibrary } from './library.ts';
import { closeMemoryStream, openMemoryStream } from './memstream.ts';

export { pointer } from './calls.ts';
export type { Chunk, ChunkKind, HeapView, Stats } from './heapview.ts';
export { Failure, type Pointer, type Size };

/** mallinfo2(3): what a heap says of itself, in bytes and counts. */
export interface Mallinfo {
  arena: number;
  ordblks: number;
  smblks: number;
  hblks: number;
  hblkhd: number;
  usmblks: number;
  fsmblks: number;
  uordblks: number;
  fordblks: number;
  keepcost: number;
}

/**
 * malloc(3) and its family. Sizes are in bytes. Blocks that cannot be had are null
 * and `errno()` says why. A fraction for a size is a RangeError, a number for a
 * pointer a TypeError. Nothing protects from a wrong pointer: a malloc that
 * notices one aborts this process, one that does not corrupts it.
 */
export interface Family {
  malloc(size: Size): Pointer | null;
  calloc(count: Size, size: Size): Pointer | null;
  realloc(block: Pointer | null, size: Size): Pointer | null;
  reallocarray(block: Pointer | null, count: Size, size: Size): Pointer | null;
  free(block: Pointer | null): void;
  /** C23's free_sized. */
  freeSized(block: Pointer | null, size: Size): void;
  /** C23's free_aligned_sized. */
  freeAlignedSized(block: Pointer | null, alignment: Size, size: Size): void;
  /**
   * posix_memalign returns its error and sets no errno. `block` is what the out
   * variable holds afterwards; `before` (default null) what it held until then.
   */
  posixMemalign(
    alignment: Size,
    size: Size,
    before?: Pointer | null,
  ): { error: number; block: Pointer | null };
  alignedAlloc(alignment: Size, size: Size): Pointer | null;
  memalign(alignment: Size, size: Size): Pointer | null;
  valloc(size: Size): Pointer | null;
  pvalloc(size: Size): Pointer | null;
  /** malloc_usable_size: bytes of the block that may be written; 0 for null. */
  usableSize(block: Pointer | null): number;
  /** As mallinfo2, in fields of 32 bits. */
  mallinfo(): Mallinfo;
  mallinfo2(): Mallinfo;
  /** Prints to file descriptor 2, past process.stderr. */
  mallocStats(): void;
  /** The XML that malloc_info(3) writes; '' when it fails. */
  mallocInfo(): string;
  /** Keeps `pad` bytes of slack; 1 when memory went back to the system, else 0. */
  mallocTrim(pad: Size): number;
  /** 1 when the parameter was accepted, 0 when not. Both are C ints. */
  mallopt(parameter: number, value: number): number;
}

/** The same calls on the threads of libuv's pool: real concurrency, UV_THREADPOOL_SIZE (4) threads of it. */
export type AsyncFamily = {
  [Name in keyof Family]: (...args: Parameters<Family[Name]>) => Promise<ReturnType<Family[Name]>>;
};

/** An opened malloc. Calls that the library lacks are a Failure that names function and file. */
export interface MallocLibrary extends Family, HeapView {
  /** `list`, or what else `resolveMalloc` calls it. */
  readonly name: string;
  /** Path of the shared object. */
  readonly file: string;
  readonly async: AsyncFamily;
  /** Whether the library itself has the function, for example `has('pvalloc')`. */
  has(call: keyof Family | keyof HeapView): boolean;
  /**
   * errno as the last call on this object left it (after an async call: read it
   * right after the await). With a value: sets the errno that the next call finds.
   */
  errno(value?: number): number;
  /** The memory at a pointer, live: writes go through. It knows nothing of free; `.slice()` is a copy. */
  bytes(at: Pointer, length: number): Uint8Array;
  /**
   * Ends the use of this object: later calls are a Failure, calls under way on the
   * pool finish. Code and blocks stay mapped until the process ends, because a
   * thread may still run that code, or run it when it exits.
   */
  close(): void;
}

export interface OpenOptions {
  /**
   * A heap of its own, from a copy of the file. Without it, opening the same file
   * twice gives the same heap, as the dynamic linker has it. Every fresh heap stays
   * mapped for good, so take dozens, not thousands.
   */
  fresh?: boolean;
  /** The debug build of one of our variants. */
  debug?: boolean;
}

const mallinfoFields = [
  'arena',
  'ordblks',
  'smblks',
  'hblks',
  'hblkhd',
  'usmblks',
  'fsmblks',
  'uordblks',
  'fordblks',
  'keepcost',
];
const fieldsOf = (type: string) => Object.fromEntries(mallinfoFields.map((name) => [name, type]));
once('libmalloc_mallinfo', (name) => koffi.struct(name, fieldsOf('int')));
once('libmalloc_mallinfo2', (name) => koffi.struct(name, fieldsOf('size_t')));

/** 64-bit fields come as number or bigint, by value. */
function numbers(record: Record<string, number | bigint>): Record<string, number> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, Number(value)]));
}

const bindings: Record<keyof Family, Binding> = {
  malloc: { c: 'void *malloc(size_t size)' },
  calloc: { c: 'void *calloc(size_t count, size_t size)' },
  realloc: { c: 'void *realloc(void *block, size_t size)' },
  reallocarray: { c: 'void *reallocarray(void *block, size_t count, size_t size)' },
  free: { c: 'void free(void *block)' },
  freeSized: { c: 'void free_sized(void *block, size_t size)' },
  freeAlignedSized: { c: 'void free_aligned_sized(void *block, size_t alignment, size_t size)' },
  posixMemalign: {
    c: 'int posix_memalign(_Inout_ void **out, size_t alignment, size_t size)',
    before: (alignment: Size, size: Size, before = null) => [[before], alignment, size],
    after: (error: number, [out]: [[Pointer | null]]) => ({ error, block: out[0] }),
  },
  alignedAlloc: { c: 'void *aligned_alloc(size_t alignment, size_t size)' },
  memalign: { c: 'void *memalign(size_t alignment, size_t size)' },
  valloc: { c: 'void *valloc(size_t size)' },
  pvalloc: { c: 'void *pvalloc(size_t size)' },
  usableSize: { c: 'size_t malloc_usable_size(void *block)' },
  mallinfo: { c: 'libmalloc_mallinfo mallinfo(void)', after: numbers },
  mallinfo2: { c: 'libmalloc_mallinfo2 mallinfo2(void)', after: numbers },
  mallocStats: { c: 'void malloc_stats(void)' },
  mallocInfo: {
    c: 'int malloc_info(int options, void *stream)',
    before: () => [0, openMemoryStream()],
    after: (error: number, [, stream]: [number, bigint]) => {
      const text = closeMemoryStream(stream);
      return error === 0 ? text : '';
    },
  },
  mallocTrim: { c: 'int malloc_trim(size_t pad)' },
  mallopt: { c: 'int mallopt(int parameter, int value)' },
};

/**
 * Opens a malloc: `list` (one of our variants; the last rung when nothing is said),
 * `glibc`, a peer, or the path of any .so. Throws a Failure for an unknown name, a missing file, and one that the
 * dynamic linker cannot load or that defines no malloc of its own.
 *
 * A malloc on the program break (dumb, list) shares it with Node: its heap has holes,
 * and in one process of some 70 V8's code lies right behind the break, so that every
 * request is refused; start another process then.
 */
export function openMalloc(spec?: string, options: OpenOptions = {}): MallocLibrary {
  const { name, file } = resolveMalloc(spec, { debug: options.debug });
  if (file !== undefined) return openFile(name, path.resolve(file), options.fresh);
  if (options.fresh)
    throw new Failure(`${name} cannot be opened fresh`, {
      hint: 'a process has one libc; open a file',
    });
  return openFile(name, libcFile());
}

function openFile(name: string, file: string, fresh = false): MallocLibrary {
  const library = openLibrary(file, { fresh });
  if (!library.provides('malloc') || !library.provides('free'))
    throw new Failure(`${file} defines no malloc and free of its own`, {
      hint: 'give a library that replaces malloc, such as build/release/libmalloc-list.so',
    });
  const state: CallState = { name, file, errno: 0, closed: false };
  const calls = Object.entries(bindings).map(
    ([call, binding]) => [call, bindCall(library, state, binding)] as const,
  );
  const async = Object.fromEntries(calls.map(([call, { async }]) => [call, async]));
  return {
    ...(Object.fromEntries(calls) as unknown as Family),
    ...heapView(library, state),
    name,
    file,
    async: async as unknown as AsyncFamily,
    has: (call) =>
      library.provides(
        symbolOf(
          call in bindings
            ? bindings[call as keyof Family].c
            : viewPrototypes[call as keyof HeapView],
        ),
      ),
    errno: (value) => (value === undefined ? state.errno : koffi.errno(value)),
    bytes: (at, length) => new Uint8Array(koffi.view(at, length)),
    close: () => {
      state.closed = true;
    },
  };
}
