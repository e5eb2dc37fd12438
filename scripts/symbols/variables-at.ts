// Names the variables at addresses.

import { basename } from 'node:path';
import { type Mapping, mappingAt, parseMappings } from './mappings.ts';
import { symbolAt } from './module.ts';
import { demangle } from './reader.ts';
import { identify, lookUp, type SymbolizeOptions } from './symbolize.ts';

/**
 * For each address `list_head (prog)`, or what is known: `prog+0x4010`, `the main thread's stack`,
 * `a thread's stack or variables`. Thread-local variables get no names.
 */
export async function nameVariables(
  maps: readonly string[],
  addresses: readonly number[],
  options: SymbolizeOptions = {},
): Promise<string[]> {
  // Uses the latest mappings only, because at earlier moments these addresses may have held others.
  const mappings = parseMappings(maps.slice(-1));
  const starts = mappings.filter(({ offset, file }) => offset === 0 && file.startsWith('/'));
  const names: string[] = [];
  for (const address of addresses) {
    const start = starts.findLast((each) => each.start <= address);
    const name = start && (await nameIn(start, address, options));
    names.push(name ?? placeOf(mappingAt(mappings, address), address));
  }
  const readable = await demangle(names);
  return names.map((name) => readable.get(name) ?? name);
}

/** Zeroed variables lie after the mapped part of the file, so we take the size from the segments. */
async function nameIn(
  start: Mapping,
  address: number,
  options: SymbolizeOptions,
): Promise<string | undefined> {
  const found = await lookUp(identify(start, options));
  if (!('module' in found)) return undefined;
  const { elf, variables } = found.module;
  const linked = address - start.start + (elf.segments[0]?.address ?? 0);
  const inside = elf.segments.some(
    (each) => each.writable && linked >= each.address && linked < each.address + each.inMemory,
  );
  if (!inside) return undefined;
  const name = symbolAt(variables, linked)?.name;
  const file = basename(start.file);
  return name === undefined ? `${file}+0x${linked.toString(16)}` : `${name} (${file})`;
}

function placeOf(mapping: Mapping | undefined, address: number): string {
  if (mapping === undefined) return `0x${address.toString(16)}`;
  if (mapping.file === '[stack]') return "the main thread's stack";
  if (mapping.file.startsWith('/')) return basename(mapping.file);
  return "a thread's stack or variables";
}
