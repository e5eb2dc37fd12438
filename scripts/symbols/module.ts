// One file that code was mapped from: checks that it did not change, and reads its symbols.

import { createReadStream, existsSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type Elf, type ElfSymbol, readElf, sectionOf, symbolsOf } from '../malloc/elf.ts';

export interface Module {
  file: string;
  elf: Elf;
  /** The file that has the DWARF: the module itself, or one that was split off. */
  debug: string;
  /** The symbols with sizes, in address order. */
  functions: ElfSymbol[];
  variables: ElfSymbol[];
  /** The file itself is gone; only its debug information exists. */
  lost: boolean;
}

/** A module, or why it cannot be used. */
export type Found = { module: Module } | { why: string };

/** What the process recorded about a module. */
export interface Identity {
  file: string;
  deleted: boolean;
  inode: number;
  buildId?: string | undefined;
  /** The folder for debug information that was split off from programs. */
  debugFolder: string;
}

/** Opens a module, unless its file is gone or is not the one that the process used. */
export async function findModule(identity: Identity): Promise<Found> {
  try {
    return await openModule(identity);
  } catch (error) {
    return { why: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'damaged'})` };
  }
}

async function openModule(identity: Identity): Promise<Found> {
  const { file, debugFolder } = identity;
  const why = strangeness(identity);
  const apart = identity.buildId && debugOf(identity.buildId, debugFolder);
  if (why !== undefined) {
    const elf = apart ? readElf(apart) : undefined;
    return apart && elf
      ? { module: { file, elf, debug: apart, ...symbolsFrom([apart]), lost: true } }
      : { why };
  }
  const elf = readElf(file);
  if (elf === undefined) return { why: 'is no ELF file' };
  const debug = (await splitDebug(file, debugFolder)) ?? file;
  const symbols = symbolsFrom([...new Set([debug, file])]);
  return { module: { file, elf, debug, ...symbols, lost: false } };
}

/** Why the file is not the one that the process had mapped; undefined if it is. */
function strangeness({ file, deleted, inode, buildId }: Identity): string | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) return 'is gone';
  if (buildId) {
    const now = buildIdOf(file);
    return now === buildId ? undefined : 'was rebuilt since (its build-id differs)';
  }
  if (deleted) return 'was replaced while the program ran';
  return inode === 0 || inode === found.ino ? undefined : 'was replaced since';
}

/** The build-id in hex digits, as `readelf -n` shows it; undefined if there is none. */
export function buildIdOf(file: string): string | undefined {
  const note = sectionOf(file, '.note.gnu.build-id');
  if (note === undefined || note.length < 16) return undefined;
  const name = note.readUInt32LE(0);
  const from = 12 + ((name + 3) & ~3);
  return note.toString('hex', from, from + note.readUInt32LE(4));
}

function debugOf(id: string, debugFolder: string): string | undefined {
  const path = join(debugFolder, '.build-id', id.slice(0, 2), `${id.slice(2)}.debug`);
  return existsSync(path) && buildIdOf(path) === id ? path : undefined;
}

/** Finds the file with a program's debug information: by build-id, or by name and checksum. */
async function splitDebug(file: string, debugFolder: string): Promise<string | undefined> {
  if (sectionOf(file, '.debug_info') !== undefined) return undefined;
  const id = buildIdOf(file);
  const byId = id && debugOf(id, debugFolder);
  if (byId) return byId;
  const link = sectionOf(file, '.gnu_debuglink');
  if (link === undefined || link.length < 8) return undefined;
  const name = basename(link.toString('utf8', 0, link.indexOf(0)));
  const sum = link.readUInt32LE(link.length - 4);
  const folder = dirname(file);
  const places = [
    join(folder, name),
    join(folder, '.debug', name),
    join(debugFolder, folder, name),
  ];
  for (const place of places)
    if (place !== file && existsSync(place) && (await checksum(place)) === sum) return place;
  return undefined;
}

async function checksum(file: string): Promise<number> {
  let sum = 0;
  for await (const part of createReadStream(file)) sum = crc32(part as Buffer, sum);
  return sum;
}

/** Reads symbols. Ignores those without a size, because nobody knows which addresses they cover. */
function symbolsFrom(files: readonly string[]): Pick<Module, 'functions' | 'variables'> {
  const all = files
    .flatMap((file) => symbolsOf(file, 'all'))
    .filter(({ size, address }) => size > 0 && address > 0)
    .sort((a, b) => a.address - b.address);
  return {
    functions: all.filter(({ kind }) => kind === 'function'),
    variables: all.filter(({ kind }) => kind === 'variable'),
  };
}

/** The symbol whose bytes contain the address. */
export function symbolAt(symbols: readonly ElfSymbol[], address: number): ElfSymbol | undefined {
  let [low, high] = [0, symbols.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((symbols[middle] as ElfSymbol).address <= address) low = middle + 1;
    else high = middle;
  }
  // Several symbols may begin at one address, or a small one may lie within a large one.
  for (let i = low - 1; i >= 0 && i >= low - 8; i--) {
    const found = symbols[i] as ElfSymbol;
    if (address < found.address + found.size) return found;
  }
  return undefined;
}

/**
 * Converts an offset in the file to the address that it was linked for. A file with debug information
 * alone has addresses but no offsets, so for that we use the distance from the file's beginning.
 */
export function linkedAddress({ elf, lost }: Module, offset: number, fromStart: number): number {
  if (lost) return fromStart + (elf.segments[0]?.address ?? 0);
  const at = elf.segments.find(
    (each) => offset >= each.offset && offset < each.offset + each.inFile,
  );
  return at === undefined ? offset : offset - at.offset + at.address;
}

/** True if the debug information refers to a common file (dwz), which llvm-symbolizer cannot read. */
export function hasCommonFile({ debug }: Module): boolean {
  return sectionOf(debug, '.gnu_debugaltlink') !== undefined;
}
