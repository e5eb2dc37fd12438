/** What the tests know about mallocs in general. */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import koffi from 'koffi';
import { gap } from '../../scripts/check/features.ts';
import type { Chunk, MallocLibrary, Pointer } from '../../scripts/ffi/index.ts';

export { gap } from '../../scripts/check/features.ts';

export const { ENOMEM, EINVAL } = constants.errno;
const PTRDIFF_MAX = (1n << 63n) - 1n;
export const SIZE_MAX = (1n << 64n) - 1n;
export const PAGE = 4096;
export const KiB = 1024;
export const MiB = 1024 * 1024;

/** Sizes that no malloc can serve, among them those that rounding up would wrap around. */
export const impossible = [
  PTRDIFF_MAX - 4096n,
  PTRDIFF_MAX - 15n,
  PTRDIFF_MAX,
  PTRDIFF_MAX + 1n,
  PTRDIFF_MAX + 17n,
  SIZE_MAX - 4096n,
  SIZE_MAX - 63n,
  SIZE_MAX - 15n,
  SIZE_MAX,
];

/** The largest block that every test may ask this variant for, in bytes. */
export function largest(variant: string): number {
  return gap(variant, 'sizes') ? 64 * KiB : 64 * MiB;
}

/** The live chunk that holds the address, as the malloc itself describes its heap. */
export function liveChunk(heap: Chunk[], at: Pointer): Chunk | undefined {
  return heap.find(
    ({ kind, user, usable }) =>
      kind === 'live' && user !== null && at >= user && at < user + BigInt(usable),
  );
}

/** Fails when the block is not there: `must(m.malloc(1))`. */
export function must(block: Pointer | null): Pointer {
  if (block === null) throw new Error('no memory where there should be some');
  return block;
}

/** Whether all bytes from `at` on are `value`; compares in C, as megabytes are too many for here. */
export function allAre(m: MallocLibrary, at: Pointer, length: number, value: number): boolean {
  if (length === 0) return true;
  const bytes = m.bytes(at, length);
  return bytes[0] === value && memcmp(bytes, bytes.subarray(1), length - 1) === 0;
}

/** The first byte that is not `value`, for a message; -1 when there is none. */
export function firstOther(m: MallocLibrary, at: Pointer, length: number, value: number): number {
  return m.bytes(at, length).findIndex((byte) => byte !== value);
}

const libc = koffi.load('libc.so.6');
const memcmp = libc.func('int memcmp(const void *a, const void *b, size_t size)');
const dup = libc.func('int dup(int fd)');
const dup2 = libc.func('int dup2(int from, int to)');
const closeFd = libc.func('int close(int fd)');
const sbrk = libc.func('void *sbrk(intptr_t increment)');
const M_TRIM_THRESHOLD = -1;
const M_TOP_PAD = -2;
const mallopt = libc.func('int mallopt(int parameter, int value)');

/** What C code writes to a file descriptor (1 or 2) while `body` runs. */
export function written(fd: number, body: () => void): string {
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
  const file = join(folder, 'out');
  const saved: number = dup(fd);
  const to = openSync(file, 'w');
  try {
    dup2(to, fd);
    body();
  } finally {
    dup2(saved, fd);
    closeFd(saved);
    closeSync(to);
  }
  const text = readFileSync(file, 'utf8');
  rmSync(folder, { recursive: true });
  return text;
}

/** Moves the program break, as a program may, unknown to the malloc; returns its old position. */
export function moveBreak(bytes: number): bigint {
  const before: bigint = sbrk(bytes);
  if (before === SIZE_MAX) throw new Error(`the break cannot move by ${bytes} bytes`);
  return before;
}

/**
 * Prepares this process for a heap on the program break; returns false if that is impossible.
 *
 * When Node's own malloc moves the break, a heap on the break cannot return its tail. So Node's malloc is
 * made to allocate and keep a large piece first. In one of 70 processes V8 maps its code just behind
 * the break, which then cannot move at all; the caller tries another process.
 */
export function calmBreak(): boolean {
  const ROOM = 2048 * MiB;
  const TOP = 256 * MiB;
  try {
    moveBreak(ROOM);
  } catch {
    return false;
  }
  const before = moveBreak(-ROOM) - BigInt(ROOM);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, TOP);
  const blocks: unknown[] = []; // until the old top is used up and the large one is taken
  while (moveBreak(0) === before) blocks.push(koffi.alloc('char', 64 * KiB));
  for (const block of blocks) koffi.free(block);
  return true;
}

/** Resident memory of this process in bytes. */
export function resident(): number {
  const pages = readFileSync('/proc/self/statm', 'utf8').split(' ')[1];
  return Number(pages) * PAGE;
}
