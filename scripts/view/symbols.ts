// Turns places in files into functions and lines as far as possible. Files may be stripped,
// changed, or gone, and addr2line may be missing; then the result says less, and nothing fails.

import { spawnSync } from 'node:child_process';
import { basename } from 'node:path';
import { type ElfSymbol, readElf, symbolsOf } from '../malloc/elf.ts';
import { which } from '../malloc/programs.ts';
import { lastUpTo } from './model.ts';

/** Where a call returns to. */
export interface Place {
  site: number;
  file: string;
  /** In the file. */
  offset: number;
  /** From where the file is loaded. */
  loaded: number;
}

/** Seconds for one file, because the debug information of a browser takes too long to read. */
const PATIENCE = 20;

/** `function (file.c:12)`, or `function (library.so)`; nothing where no function is known. */
export function describePlaces(places: readonly Place[]): Map<Place, string> {
  const said = new Map<Place, string>();
  for (const file of new Set(places.map((place) => place.file))) {
    try {
      describeIn(
        file,
        places.filter((place) => place.file === file),
        said,
      );
    } catch {
      // The file is gone or cannot be read: its places keep their numbers.
    }
  }
  return said;
}

function describeIn(file: string, places: readonly Place[], said: Map<Place, string>): void {
  const fixed = readElf(file)?.type === 'executable';
  // A call returns to what comes after it: one byte before that is the call.
  const addresses = places.map(({ site, loaded }) => (fixed ? site : loaded) - 1);
  const lines = linesOf(file, addresses);
  const symbols = symbolsOf(file, 'all')
    .filter(({ address }) => address > 0)
    .sort((a, b) => a.address - b.address);
  for (const [i, place] of places.entries()) {
    const { name, line } = lines[i] ?? {};
    const called = name ?? functionAt(symbols, addresses[i] ?? 0);
    if (called !== undefined) said.set(place, `${called} (${line ?? basename(file)})`);
  }
}

function functionAt(symbols: readonly ElfSymbol[], address: number): string | undefined {
  const found = symbols[lastUpTo(symbols, address, (symbol) => symbol.address)];
  return found && address < found.address + found.size ? found.name : undefined;
}

/** What addr2line knows: a name, demangled, and a line, for each address; empty without it. */
function linesOf(file: string, addresses: number[]): { name?: string; line?: string }[] {
  const addr2line = which('addr2line');
  if (addr2line === undefined) return [];
  const input = addresses.map((address) => address.toString(16)).join('\n');
  const options = { input, encoding: 'utf8', timeout: PATIENCE * 1000 } as const;
  const { status, stdout } = spawnSync(addr2line, ['-f', '-C', '-e', file], options);
  if (status !== 0) return [];
  const answers = stdout.split('\n');
  return addresses.map((_, i) => {
    const [name = '??', place = '??'] = answers.slice(2 * i, 2 * i + 2);
    const line = /([^/]+:\d+)/.exec(place)?.[1];
    return {
      ...(name.startsWith('??') ? {} : { name }),
      ...(line === undefined || place.startsWith('??') ? {} : { line }),
    };
  });
}
