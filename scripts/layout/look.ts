// One process's memory layout, from all sources, at one moment.

import { basename } from 'node:path';
import type { Elf } from '../malloc/elf.ts';
import { variantOfFile } from '../malloc/mallocs.ts';
import { type Area, areasOf } from './areas.ts';
import { elfAt, type ProcessMemory, pagesPresent, readProcess } from './proc.ts';
import { type HeapRegion, type Regions, readRegions } from './regions.ts';

export interface Layout {
  pid: number;
  executable: string;
  /** The malloc in use, as far as the mappings tell: `list`, `glibc`, `jemalloc`; `unknown`. */
  malloc: { name: string; file: string | undefined };
  /** Sizes of the program's own parts as its file states them, as size(1) counts. */
  program: { text: number; data: number; bss: number } | undefined;
  areas: Area[];
  /** Read from the records of our own mallocs; empty for others. */
  regions: HeapRegion[];
  /** Why the malloc's own regions are not, or not all, labelled. */
  remark: string | undefined;
  process: ProcessMemory;
}

const known = /^lib(jemalloc|tcmalloc|mimalloc|snmalloc|rpmalloc|hardened_malloc|scudo)/;

/**
 * Reads process `pid`. `malloc` is the malloc in use if it is known; otherwise the mapped libraries tell. Throws a Failure when there is no such process or it may not be looked at.
 */
export async function lookAt(
  pid: number,
  malloc?: { name: string; file: string | undefined },
): Promise<Layout> {
  const process = readProcess(pid);
  const used = malloc ?? mallocOf(process);
  const present = pagesPresent(process);
  const ours = used.file !== undefined && isOurs(used.file);
  const found: Regions = ours
    ? await readRegions(pid, used.file ?? '')
    : { regions: [], records: [] };
  const elfs = new Map<string, Elf | undefined>();
  const elf = (path: string): Elf | undefined => {
    if (!elfs.has(path)) elfs.set(path, elfAt(`/proc/${pid}/root${path}`));
    return elfs.get(path);
  };
  const areas = areasOf(process, {
    regions: found.regions,
    records: found.records,
    malloc: used.name,
    elf,
    present,
  });
  return {
    pid,
    executable: process.executable,
    malloc: used,
    program: process.program && sizesOf(process.program),
    areas,
    regions: found.regions,
    remark: found.reason,
    process,
  };
}

const isOurs = (file: string): boolean => /^libmalloc(-\w+)?\.so/.test(basename(file));

/** Preloaded mallocs come before the C library; without either the program brings its own. */
function mallocOf({ mappings, program }: ProcessMemory): Layout['malloc'] {
  const files = [...new Set(mappings.map(({ name }) => name))].filter((name) =>
    name.startsWith('/'),
  );
  for (const file of files) {
    const name = variantOfFile(file) ?? known.exec(basename(file))?.[1];
    if (name !== undefined) return { name, file };
  }
  const libc = files.find((file) => /^libc[.-]/.test(basename(file)));
  if (libc !== undefined) return { name: 'glibc', file: libc };
  return {
    name: program?.interpreter === undefined ? 'its own (static)' : 'unknown',
    file: undefined,
  };
}

function sizesOf(elf: Elf): Layout['program'] {
  const sum = (which: (segment: Elf['segments'][number]) => boolean) =>
    elf.segments.filter(which).reduce((total, { inFile }) => total + inFile, 0);
  return {
    text: sum(({ writable }) => !writable),
    data: sum(({ writable }) => writable),
    bss: elf.segments.reduce((total, { inFile, inMemory }) => total + inMemory - inFile, 0),
  };
}
