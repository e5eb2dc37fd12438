// Turns mappings into the parts of a process that we draw: text, data, bss, heap, libraries, stack.
// Pure: everything it needs has been read before.

import { basename } from 'node:path';
import type { Elf, Segment } from '../malloc/elf.ts';
import type { Mapping } from './maps.ts';
import type { Present, ProcessMemory } from './proc.ts';
import { describeRegion, type HeapRegion } from './regions.ts';

export type AreaKind =
  | 'text'
  | 'constants'
  | 'data'
  | 'bss'
  | 'heap'
  | 'malloc'
  | 'anonymous'
  | 'library'
  | 'file'
  | 'guard'
  | 'thread'
  | 'stack'
  | 'kernel';

/** A named part of the address space, without gaps except those between `pieces`. */
export interface Area {
  kind: AreaKind;
  /** Its name: `stack`, `libc.so.6`, `list: region`. */
  label: string;
  /** More about it, or empty. */
  note: string;
  start: number;
  end: number;
  /** Bytes. */
  resident: number;
  swapped: number;
  /** The direction in which it may grow; undefined if it cannot. */
  grows?: 'up' | 'down';
  /** The mappings, or parts of them, that it consists of. */
  pieces: Mapping[];
}

/** Facts beside the mappings that name areas. */
export interface Context {
  /** The malloc's memory, according to its own walk or records. */
  regions: readonly HeapRegion[];
  /** [start, end) of its records that lie elsewhere. */
  records: readonly (readonly [number, number])[];
  /** The malloc's name, for labels. */
  malloc: string;
  /** The ELF file behind a mapping's path, where it can be read. */
  elf: (path: string) => Elf | undefined;
  /** How many bytes of [start, end) are in memory, for mappings that must be cut. */
  present: (start: number, end: number) => Present;
}

const PAGE = 4096;
const ARENA = 64 * 2 ** 20; // glibc's HEAP_MAX_SIZE: a thread's arena begins at a multiple of it
const up = (address: number) => Math.ceil(address / PAGE) * PAGE;

type Name = Pick<Area, 'kind' | 'label'> & Partial<Pick<Area, 'note' | 'grows'>>;

/** The areas of a process in address order. */
export function areasOf(process: ProcessMemory, context: Context): Area[] {
  const ends = bssEnds(process, context);
  const cuts = [
    process.breakStart,
    ...ends.map(({ end }) => end),
    ...context.regions.flatMap(({ start, end }) => [start, end]),
  ];
  const pieces = process.mappings.flatMap((mapping) => cut(mapping, cuts, context.present));
  const areas: Area[] = [];
  for (const [index, piece] of pieces.entries()) {
    const name = nameOf(piece, pieces, index, process, context, ends);
    add(areas, piece, name);
  }
  return areas;
}

/** Joins what belongs together: the mappings of one library, neighbours of one kind and label. */
function add(areas: Area[], piece: Mapping, name: Name): void {
  const last = areas.at(-1);
  const gap = last !== undefined && last.end !== piece.start;
  const same = last?.kind === name.kind && (last.label === name.label || name.kind === 'file');
  if (last !== undefined && same && (!gap || name.kind === 'library')) {
    last.end = piece.end;
    last.resident += piece.resident;
    last.swapped += piece.swapped;
    last.note ||= name.note ?? '';
    last.pieces.push(piece);
    if (name.kind === 'file') Object.assign(last, filesOf(last.pieces));
    return;
  }
  const { start, end, resident, swapped } = piece;
  areas.push({ note: '', ...name, start, end, resident, swapped, pieces: [piece] });
}

/** Mapped files that lie side by side, such as those of a locale, are one part of the picture. */
function filesOf(pieces: readonly Mapping[]): Pick<Area, 'label' | 'note'> {
  const paths = [...new Set(pieces.map(({ name }) => name))];
  const [first = '', second] = paths;
  if (second === undefined) return { label: basename(first), note: first };
  const more = paths.length > 3 ? ', …' : '';
  const names = paths.slice(0, 3).map((path) => basename(path));
  return { label: `${paths.length} files`, note: names.join(', ') + more };
}

/** A mapping cut at some addresses; the kernel joins neighbours that are not one thing. */
export function cut(
  mapping: Mapping,
  addresses: readonly number[],
  present: Context['present'],
): Mapping[] {
  const inside = addresses.filter((at) => at > mapping.start && at < mapping.end);
  if (inside.length === 0) return [mapping];
  const edges = [...new Set([mapping.start, ...inside.sort((a, b) => a - b), mapping.end])];
  const parts = edges.slice(1).map((end, i) => {
    const start = edges[i] ?? mapping.start;
    return { start, end, ...present(start, end) };
  });
  // The kernel's count for the whole mapping is right; we only ask how it is spread.
  let left = mapping.resident;
  let doubtful = left - parts.reduce((sum, { sure }) => sum + sure, 0);
  return parts.map(({ start, end, sure, perhaps }, i) => {
    const last = i === parts.length - 1;
    const counted = Math.min(Math.max(doubtful, 0), perhaps);
    const share = last ? left : Math.min(left, sure + counted);
    doubtful -= counted;
    left -= share;
    return { ...mapping, start, end, resident: share, swapped: last ? mapping.swapped : 0 };
  });
}

interface BssEnd {
  path: string;
  /** Behind the file's last mapping begins anonymous memory up to here. */
  end: number;
}

/** Where the bss of each loaded file ends: it may reach beyond the pages that the file fills. */
function bssEnds(process: ProcessMemory, context: Context): BssEnd[] {
  const bases = new Map<string, number>();
  for (const { name, start, offset } of process.mappings)
    if (name.startsWith('/') && offset === 0 && !bases.has(name)) bases.set(name, start);
  return [...bases].flatMap(([path, base]) => {
    const elf = path === process.executable ? process.program : context.elf(path);
    const last = elf?.segments.at(-1);
    if (elf === undefined || last === undefined || last.inMemory <= last.inFile) return [];
    return [{ path, end: up(loadBias(elf, base) + last.address + last.inMemory) }];
  });
}

/** The difference between addresses in this process and in the file. */
function loadBias(elf: Elf, base: number): number {
  if (elf.type === 'executable') return 0;
  const first = elf.segments[0]?.address ?? 0;
  return base - (first - (first % PAGE));
}

function nameOf(
  piece: Mapping,
  pieces: readonly Mapping[],
  index: number,
  process: ProcessMemory,
  context: Context,
  ends: readonly BssEnd[],
): Name {
  return (
    special(piece, process, context) ??
    region(piece, context) ??
    fromFile(piece, process, context) ??
    bss(piece, pieces, index, process, ends) ??
    records(piece, context) ??
    threadStack(piece, pieces[index + 1], process) ??
    arena(piece, pieces, index, context) ?? {
      kind: piece.permissions.startsWith('---') ? 'guard' : 'anonymous',
      label: anonymousLabel(piece),
      note: piece.permissions.startsWith('---')
        ? 'addresses only, no access'
        : 'mapped by the malloc or the program',
    }
  );
}

const anonymousLabel = ({ name, permissions }: Mapping): string =>
  name || (permissions.startsWith('---') ? 'reserved' : 'anonymous');

function special(piece: Mapping, process: ProcessMemory, context: Context): Name | undefined {
  switch (piece.name) {
    case '[heap]':
      return piece.start < process.breakStart
        ? { kind: 'bss', label: 'bss' }
        : {
            kind: 'heap',
            label: 'heap',
            note: onBreak(piece, context),
            grows: 'up',
          };
    case '[stack]':
      return { kind: 'stack', label: 'stack', grows: 'down' };
    case '[vdso]':
      return { kind: 'kernel', label: 'vdso', note: 'system calls that need no system call' };
    case '[vvar]':
    case '[vvar_vclock]':
      return { kind: 'kernel', label: 'vvar', note: 'what the vdso reads: the time' };
    case '[vsyscall]':
      return { kind: 'kernel', label: 'vsyscall', note: 'the vdso of old programs' };
    default:
      return undefined;
  }
}

/** The area up to the program break: a region of the malloc, or unknown. */
function onBreak(piece: Mapping, { regions, malloc }: Context): string {
  const inside = regions.some(({ start, end }) => start < piece.end && end > piece.start);
  return inside ? `${malloc}'s, up to the program break` : 'up to the program break';
}

function region(piece: Mapping, { regions, malloc }: Context): Name | undefined {
  const found = regions.find(({ start, end }) => start <= piece.start && piece.end <= end);
  if (found === undefined) return undefined;
  return { kind: 'malloc', label: `${malloc}: region`, note: describeRegion(found) };
}

/** The mappings that the malloc made for its records hold nothing else. */
function records(piece: Mapping, { records, malloc }: Context): Name | undefined {
  const holds = ([start, end]: readonly [number, number]) => start < piece.end && piece.start < end;
  if (piece.permissions.startsWith('---') || !records.some(holds)) return undefined;
  return { kind: 'malloc', label: `${malloc}: records`, note: 'of its pages, blocks and threads' };
}

function fromFile(piece: Mapping, process: ProcessMemory, context: Context): Name | undefined {
  if (!piece.name.startsWith('/')) return undefined;
  const path = piece.name.replace(/ \(deleted\)$/, '');
  if (path === process.executable) return ofProgram(piece);
  const label = basename(path);
  const isLibrary = context.elf(path)?.segments.some((segment: Segment) => segment.executable);
  return { kind: isLibrary ? 'library' : 'file', label, note: isLibrary ? '' : path };
}

function ofProgram({ permissions }: Mapping): Name {
  if (permissions[2] === 'x') return { kind: 'text', label: 'text', note: 'the program’s code' };
  if (permissions[1] === 'w') return { kind: 'data', label: 'data', note: 'initialised variables' };
  return { kind: 'constants', label: 'constants', note: 'read-only data' };
}

/** Anonymous memory right behind a file's last mapping, as far as the file says. */
function bss(
  piece: Mapping,
  pieces: readonly Mapping[],
  index: number,
  process: ProcessMemory,
  ends: readonly BssEnd[],
): Name | undefined {
  const before = pieces[index - 1];
  const found = ends.find(({ end, path }) => end === piece.end && before?.name === path);
  if (piece.name !== '' || found === undefined || before?.end !== piece.start) return undefined;
  if (found.path === process.executable)
    return { kind: 'bss', label: 'bss', note: 'variables that start as zero' };
  return { kind: 'library', label: basename(found.path) };
}

/** A mapping that holds a thread's stack pointer; below it lies the guard that stops an overflow. */
function threadStack(
  piece: Mapping,
  next: Mapping | undefined,
  { threads, pid }: ProcessMemory,
): Name | undefined {
  const holds = ({ start, end }: Mapping) =>
    threads.find(
      ({ id, stackPointer: at }) => id !== pid && at !== undefined && start <= at && at < end,
    );
  const owner = holds(piece);
  if (owner)
    return {
      kind: 'thread',
      label: `stack of thread ${owner.id}`,
      note: 'grows down inside its mapping',
      grows: 'down',
    };
  if (!piece.permissions.startsWith('---') || next?.start !== piece.end) return undefined;
  const above = holds(next);
  return above && { kind: 'guard', label: 'guard page', note: `below thread ${above.id}` };
}

/** glibc's arenas of further threads: at a multiple of 64 MiB, the unused rest without access. */
function arena(
  piece: Mapping,
  pieces: readonly Mapping[],
  index: number,
  { malloc }: Context,
): Name | undefined {
  if (malloc !== 'glibc') return undefined;
  const reserved = piece.permissions.startsWith('---');
  const [first, rest] = reserved ? [pieces[index - 1], piece] : [piece, pieces[index + 1]];
  if (first === undefined || rest === undefined || first.end !== rest.start) return undefined;
  const start = Math.floor(first.start / ARENA) * ARENA;
  if (first.start !== start || rest.end !== start + ARENA || first.name + rest.name !== '')
    return undefined;
  return reserved
    ? { kind: 'guard', label: 'glibc: room of the arena', note: 'up to 64 MiB' }
    : { kind: 'malloc', label: 'glibc: arena of a thread', grows: 'up' };
}
