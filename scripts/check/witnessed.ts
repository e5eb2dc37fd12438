// Turns what tests/programs/witness.c printed when a program crashed into words.

import { basename } from 'node:path';
import { type ElfSymbol, symbolsOf } from '../malloc/elf.ts';
import { caseLibrary } from './compile-case.ts';
import { place } from './stacks.ts';

/** The library that prints where a program was when a signal ended it. */
export const witness = (): string => caseLibrary('witness');

const line = /^witness: (SIG[A-Z]+)((?: \S+\+0x[0-9a-f]+)*)$/m;

/** This many frames of one library, with no malloc call below them, mean an endless recursion. */
const DEEP = 20;

const tables = new Map<string, ElfSymbol[]>();

function symbols(file: string): ElfSymbol[] {
  const known = tables.get(file);
  if (known !== undefined) return known;
  let found: ElfSymbol[] = [];
  try {
    found = symbolsOf(file, 'all');
  } catch {} // the file is gone, or there is none: [vdso]
  tables.set(file, found);
  return found;
}

const nameAt = (file: string, address: number): string =>
  symbols(file).find((each) => each.address <= address && address < each.address + each.size)
    ?.name ?? '??';

/** The frames of the malloc and of the program, without those of the witness and of libc. */
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

/** What the program printed, without the witness's line. */
export const withoutWitness = (stderr: string): string =>
  stderr.replaceAll(/^witness: .*\n?/gm, '');
