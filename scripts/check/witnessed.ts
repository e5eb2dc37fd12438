// What tests/programs/witness.c printed of a program's end, in words.

import { basename } from 'node:path';
import { type ElfSymbol, symbolsOf } from '../malloc/elf.ts';
import { caseLibrary } from './compile-case.ts';
import { place } from './stacks.ts';

/** The library that says where a program was when a signal ended it. */
export const witness = (): string => caseLibrary('witness');

const line = /^witness: (SIG[A-Z]+)((?: \S+\+0x[0-9a-f]+)*)$/m;

/** So many frames of one library, and no call of ours below them, are a recursion without end. */
const DEEP = 20;

const tables = new Map<string, ElfSymbol[]>();

function symbols(file: string): ElfSymbol[] {
  const known = tables.get(file);
  if (known !== undefined) return known;
  let found: ElfSymbol[] = [];
  try {
    found = symbolsOf(file, 'all');
  } catch {} // a file that has gone, or none: [vdso]
  tables.set(file, found);
  return found;
}

const nameAt = (file: string, address: number): string =>
  symbols(file).find((each) => each.address <= address && address < each.address + each.size)
    ?.name ?? '??';

/** Frames of the malloc and of the program; those of the witness and of libc say nothing. */
function framesIn(text: string): { file: string; name: string }[] {
  return text
    .trim()
    .split(' ')
    .map((each) => /^(.*)\+0x([0-9a-f]+)$/.exec(each))
    .filter((found) => found !== null)
    .map(([, file = '', address = '']) => ({ file, address: Number.parseInt(address, 16) }))
    .filter(({ file }) => !/^(?:witness-|libc[.-]|ld-linux)/.test(basename(file)))
    .map(({ file, address }) => ({ file, name: nameAt(file, address) }));
}

/** The signal and the place: `SIGSEGV`, ` in free (in merge), called by work`. */
export function witnessed(stderr: string): { signal: string; where: string } | undefined {
  const found = line.exec(stderr);
  if (found === null) return undefined;
  const [, signal = '', text = ''] = found;
  const frames = framesIn(text);
  const [top] = frames;
  const at = place(frames);
  if (at !== undefined) return { signal, where: ` in ${at}` };
  if (top !== undefined && frames.filter(({ file }) => file === top.file).length >= DEEP)
    return { signal, where: ` in ${top.name}, which calls itself until the stack is used up` };
  if (top === undefined) return { signal, where: '' };
  const outside = /-[0-9a-f]{10}$/.test(top.file) ? ' outside of malloc,' : '';
  const named = top.name === '??' ? basename(top.file) : top.name; // a stripped library
  return { signal, where: `${outside} in ${named}` };
}

/** The rest of what was printed. */
export const withoutWitness = (stderr: string): string =>
  stderr.replaceAll(/^witness: .*\n?/gm, '');
