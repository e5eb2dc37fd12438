// Finds the functions and lines of return addresses. It tries, in this order:
//
//   1. DWARF, in the file or in one split off from it (by build-id, by debuglink); this includes
//      inlined functions, each with its line
//   2. symbol tables, if the address lies within the size of a symbol
//   3. the module and the offset in it
//
// It ignores a file that is not the one that the process used, because its names would be wrong.

import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { type Frame, GENERATED, unnamed } from './frame.ts';
import { type Mapping, mappingAt, parseMappings } from './mappings.ts';
import {
  type Found,
  findModule,
  hasCommonFile,
  type Identity,
  linkedAddress,
  type Module,
  symbolAt,
} from './module.ts';
import { type Answer, demangle, readers } from './reader.ts';

export interface SymbolizeOptions {
  /** The build-ids (hex digits) of the files that the process used, by path, if known. */
  buildIds?: ReadonlyMap<string, string>;
  /** The folder for debug information that was split off from programs (/usr/lib/debug). */
  debugFolder?: string;
  /** Called once for each file whose functions cannot be named, with a sentence about it. */
  say?: (sentence: string) => void;
}

/** An address of a module that needs a name. */
interface Asked {
  /** Its place in the list of addresses. */
  index: number;
  /** As linked. */
  offset: number;
}

/**
 * The functions at each return address, innermost first: one, or more if calls were inlined. `maps`:
 * /proc/PID/maps of one or several moments, the latest last. An address outside all mappings has no
 * frame.
 */
export async function symbolize(
  maps: readonly string[],
  addresses: readonly number[],
  options: SymbolizeOptions = {},
): Promise<Frame[][]> {
  const mappings = parseMappings(maps);
  const frames: Frame[][] = addresses.map(() => []);
  const byFile = new Map<string, { index: number; address: number; mapping: Mapping }[]>();
  for (const [index, address] of addresses.entries()) {
    const mapping = mappingAt(mappings, address - 1);
    if (mapping === undefined) continue;
    if (mapping.file.startsWith('/')) {
      const list = byFile.get(mapping.file) ?? [];
      byFile.set(mapping.file, list);
      list.push({ index, address, mapping });
    } else if (mapping.executable) frames[index] = [frameWithoutFile(mapping, address)];
  }
  for (const [file, list] of byFile) {
    const [first] = list;
    if (first === undefined) continue;
    const found = await lookUp(identify(first.mapping, options));
    const asked = list.map(({ index, address, mapping }) => {
      const offset = address - mapping.start + mapping.offset;
      return { index, offset: linked(found, mappings, mapping, address, offset) };
    });
    const named = 'module' in found ? await nameAll(found.module, asked) : undefined;
    for (const [i, { index, offset }] of asked.entries())
      frames[index] = named?.[i] ?? [unnamed(file, offset)];
    const why = 'why' in found ? found.why : namelessness(found.module, asked, frames);
    if (why !== undefined)
      options.say?.(`${file} ${why}: its functions are shown as ${basename(file)}+0x…`);
  }
  return frames;
}

export function identify({ file, deleted, inode }: Mapping, options: SymbolizeOptions): Identity {
  const { buildIds, debugFolder = '/usr/lib/debug' } = options;
  return { file, deleted, inode, buildId: buildIds?.get(file), debugFolder };
}

function frameWithoutFile(mapping: Mapping, address: number): Frame {
  const module = /^\[(?!anon|heap|stack)/.test(mapping.file) ? mapping.file : GENERATED;
  return unnamed(module, address - (module === GENERATED ? 0 : mapping.start));
}

function linked(
  found: Found,
  mappings: readonly Mapping[],
  mapping: Mapping,
  address: number,
  offset: number,
): number {
  if ('why' in found) return offset;
  const { file } = mapping;
  const first = mappings.findLast(
    (each) => each.file === file && each.offset === 0 && each.start <= address,
  );
  const start = first?.start ?? mapping.start - mapping.offset;
  // We look up the call, one byte before the return address, which may lie outside the module.
  return linkedAddress(found.module, offset - 1, address - 1 - start) + 1;
}

function namelessness({ functions }: Module, asked: Asked[], frames: Frame[][]) {
  const nameless = asked.some(({ index }) => frames[index]?.every(({ named }) => !named));
  return functions.length === 0 && nameless
    ? 'has neither debug information nor symbols'
    : undefined;
}

/** Caches of modules, by path and build, and of the frames at their addresses. */
const modules = new Map<string, Promise<Found>>();
const known = new WeakMap<Module, Map<number, Frame[]>>();

export function lookUp(identity: Identity): Promise<Found> {
  const { mtimeMs, size } = statSync(identity.file, { throwIfNoEntry: false }) ?? {};
  const key = JSON.stringify({ ...identity, mtimeMs, size });
  const found = modules.get(key) ?? findModule(identity);
  modules.set(key, found);
  return found;
}

async function nameAll(module: Module, asked: readonly Asked[]): Promise<Frame[][]> {
  const cache = known.get(module) ?? new Map<number, Frame[]>();
  known.set(module, cache);
  const missing = [...new Set(asked.map(({ offset }) => offset))].filter((at) => !cache.has(at));
  const named = await nameOffsets(module, missing);
  for (const [i, offset] of missing.entries()) cache.set(offset, named[i] ?? []);
  return asked.map(({ offset }) => cache.get(offset) ?? []);
}

async function nameOffsets(module: Module, offsets: readonly number[]): Promise<Frame[][]> {
  if (offsets.length === 0) return [];
  const calls = offsets.map((offset) => offset - 1);
  const { answers, certain } = await answersOf(module, calls);
  const symbols = calls.map((call) => symbolAt(module.functions, call)?.name);
  const readable = await demangle(symbols.filter((name) => name !== undefined));
  return offsets.map((offset, i) => {
    const symbol = symbols[i];
    const name = symbol === undefined ? undefined : (readable.get(symbol) ?? symbol);
    const answer = answers?.[i]?.filter(({ file }) => file !== undefined) ?? [];
    if (answer.length === 0) return [named(module, offset, { function: name })];
    return answer.map((each, depth) => {
      const outermost = depth === answer.length - 1;
      // In code that has lines but no functions, addr2line gives the nearest symbol below, however far.
      const doubtful = outermost && !certain && module.functions.length > 0 && !name;
      const called = doubtful ? undefined : (each.function ?? (outermost ? name : undefined));
      return { ...named(module, offset, { ...each, function: called }), inlined: !outermost };
    });
  });
}

async function answersOf(module: Module, calls: readonly number[]) {
  const { llvm, binutils } = readers();
  const common = llvm && binutils && hasCommonFile(module);
  const first = common ? undefined : llvm;
  const answers = await (first ?? binutils)?.(module.debug, calls);
  if (answers !== undefined || first === undefined)
    return { answers, certain: first !== undefined };
  return { answers: await binutils?.(module.debug, calls), certain: false };
}

/** How demanglers show `.isra.0` and the like, which compilers append to the name of a clone. */
const ITS_VERSION = /(?: \(\.[\w.]+\)| \[clone [^\]]+\])+$/;

function named(module: Module, offset: number, answer: Partial<Answer>): Frame {
  const { file, line } = answer;
  const name = answer.function?.replace(ITS_VERSION, '');
  const known = file !== undefined && line !== undefined;
  return {
    ...unnamed(module.file, offset),
    ...(name !== undefined && { function: name, named: true }),
    ...(known && { file, line }),
  };
}
