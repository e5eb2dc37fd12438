// Names the functions that contain return addresses.

import { basename } from 'node:path';
import { type Frame, GENERATED } from '../symbols/frame.ts';
import { symbolize } from '../symbols/symbolize.ts';
import type { FrameName } from './data.ts';

/**
 * The names at each address, innermost first, and a sentence for each file whose functions could not
 * be named. `made` is true for addresses in code that the program generated while it ran.
 */
export async function nameAddresses(
  maps: readonly string[],
  addresses: readonly number[],
  made: (address: number) => boolean,
  buildIds?: ReadonlyMap<string, string>,
): Promise<{ names: Map<number, FrameName[]>; remarks: string[] }> {
  const remarks: string[] = [];
  const say = (sentence: string) => remarks.push(sentence);
  const frames =
    addresses.length > 0
      ? await symbolize(maps, addresses, { say, ...(buildIds && { buildIds }) })
      : [];
  const names = new Map<number, FrameName[]>();
  for (const [i, address] of addresses.entries()) {
    const found = frames[i] ?? [];
    if (found.length > 0) names.set(address, found.map(nameOf));
    else if (made(address)) names.set(address, [generated]);
  }
  return { names, remarks };
}

const generated: FrameName = { name: GENERATED, place: '' };

/** std::string, as demanglers spell it. */
const string =
  /std::(?:__cxx11::)?basic_string<char, std::char_traits<char>, std::allocator<char> ?>/g;

function nameOf({ function: whole, named, file, line, module }: Frame): FrameName {
  // Generated code has thousands of addresses, which mean nothing to a reader.
  if (module === GENERATED) return generated;
  const name = whole.replace(string, 'std::string');
  if (file !== undefined && line !== undefined) return { name, place: `${basename(file)}:${line}` };
  return { name, place: named ? basename(module) : '' };
}
