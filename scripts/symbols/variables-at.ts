// What a variable is called that lies at an address.

import { basename } from 'node:path';
import { type Mapping, mappingAt, parseMappings } from './mappings.ts';
import { symbolAt } from './module.ts';
import { demangle } from './reader.ts';
import { identify, lookUp, type SymbolizeOptions } from './symbolize.ts';

/**
 * For each address `list_head (prog)`, or less where less is known: `prog+0x4010`, `the main thread's
 * stack`, `a thread's stack or variables`. Variables of threads have no names.
 */
export async function nameVariables(
  maps: readonly string[],
  addresses: readonly number[],
  options: SymbolizeOptions = {},
): Promise<string[]> {
  // The latest says where variables are; earlier ones may have had other things there.
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

/** Zeroed variables lie behind what is mapped of the file: the segments say how far it reaches. */
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
