// What kind of executable is this? Just enough of the ELF format to know whether LD_PRELOAD
// will reach a program: its machine, its interpreter, whether it is dynamic at all.
//
// A reader of our own, because the two on the registry are a beta from 2021 and a package from
// 2015 that wants the whole file in memory, and neither tells a static-PIE from a library.

import { closeSync, openSync, readSync } from 'node:fs';

/** The facts about one ELF file that decide whether a preloaded library reaches it. */
export interface Elf {
  bits: 32 | 64;
  /** The machine as people name it ('x86-64', 'aarch64', …), or 'machine N' for a number unknown here. */
  machine: string;
  /** What the file says it is; 'other' covers objects and cores. */
  type: 'executable' | 'shared' | 'other';
  /** The program interpreter (the dynamic linker's path); undefined in a library and in a static program. */
  interpreter: string | undefined;
  /** True when a dynamic section exists: libraries, dynamic programs and static-PIEs have one. */
  dynamic: boolean;
  /** True when the file is marked as a position-independent *executable* (DF_1_PIE). */
  pie: boolean;
  /** What the kernel or the dynamic linker maps of it, in address order. */
  segments: Segment[];
}

/** A stretch of an ELF file that is loaded into memory (PT_LOAD). Sizes in bytes. */
export interface Segment {
  /** Relative to where the file is loaded, unless the file insists on its addresses. */
  address: number;
  inFile: number;
  /** Where its bytes begin in the file. */
  offset: number;
  /** Bytes beyond `inFile` are zero at the start: the bss. */
  inMemory: number;
  writable: boolean;
  executable: boolean;
}

const machines: Record<number, string> = {
  3: 'i386',
  8: 'mips',
  20: 'ppc',
  21: 'ppc64',
  22: 's390x',
  40: 'arm',
  62: 'x86-64',
  183: 'aarch64',
  243: 'riscv',
  258: 'loongarch',
};

const PT_LOAD = 1;
const PF_X = 1;
const PF_W = 2;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_FLAGS_1 = 0x6ffffffbn;
const DF_1_PIE = 0x08000000n;

/**
 * Reads the ELF header, program headers and dynamic flags of `file`.
 * Returns undefined when it is not an ELF file; throws RangeError when it starts as one but is cut short,
 * and the system's error (ENOENT, EACCES) when it cannot be opened.
 */
export function readElf(file: string): Elf | undefined {
  const fd = openSync(file, 'r');
  try {
    return parse((offset, length) => readAt(fd, offset, length));
  } finally {
    closeSync(fd);
  }
}

type ReadAt = (offset: number, length: number) => Buffer;

/**
 * May return fewer bytes than asked for, at the end of the file; decoding them then throws a
 * RangeError.
 */
function readAt(fd: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const n = readSync(fd, bytes, filled, length - filled, offset + filled);
    if (n === 0) break;
    filled += n;
  }
  return bytes.subarray(0, filled);
}

/** Integers of either width and byte order, so that a foreign file is named correctly instead of misread. */
class Fields {
  readonly bytes: Buffer;
  readonly little: boolean;
  readonly wide: boolean;

  constructor(bytes: Buffer, little: boolean, wide: boolean) {
    this.bytes = bytes;
    this.little = little;
    this.wide = wide;
  }

  half(at: number): number {
    return this.little ? this.bytes.readUInt16LE(at) : this.bytes.readUInt16BE(at);
  }

  int(at: number): number {
    return this.little ? this.bytes.readUInt32LE(at) : this.bytes.readUInt32BE(at);
  }

  word(at: number): bigint {
    if (!this.wide) return BigInt(this.int(at));
    return this.little ? this.bytes.readBigUInt64LE(at) : this.bytes.readBigUInt64BE(at);
  }
}

function parse(read: ReadAt): Elf | undefined {
  const head = read(0, 64);
  if (head.length < 4 || head.toString('latin1', 0, 4) !== '\x7fELF') return undefined;
  const wide = head.readUInt8(4) === 2;
  const little = head.readUInt8(5) !== 2;
  const header = new Fields(head, little, wide);
  const type = header.half(16);
  const machine = header.half(18);
  const elf: Elf = {
    bits: wide ? 64 : 32,
    machine: machines[machine] ?? `machine ${machine}`,
    type: type === 2 ? 'executable' : type === 3 ? 'shared' : 'other',
    interpreter: undefined,
    dynamic: false,
    pie: false,
    segments: [],
  };

  const tableAt = Number(header.word(wide ? 32 : 28));
  const entrySize = header.half(wide ? 54 : 42);
  const entries = header.half(wide ? 56 : 44);
  const table = new Fields(read(tableAt, entrySize * entries), little, wide);
  for (let i = 0; i < entries; i++) {
    const at = i * entrySize;
    const kind = table.int(at);
    const offset = Number(table.word(at + (wide ? 8 : 4)));
    const length = Number(table.word(at + (wide ? 32 : 16)));
    if (kind === PT_LOAD) elf.segments.push(segment(table, at));
    if (kind === PT_INTERP)
      elf.interpreter = read(offset, Math.min(length, 4096)).toString().replace(/\0.*$/s, '');
    if (kind === PT_DYNAMIC) {
      elf.dynamic = true;
      elf.pie = isPie(new Fields(read(offset, Math.min(length, 65_536)), little, wide));
    }
  }
  return elf;
}

const SHT_SYMTAB = 2;
const SHT_DYNSYM = 11;
/** STT_OBJECT, STT_FUNC, STT_GNU_IFUNC. */
const symbolKinds: Readonly<Record<number, ElfSymbol['kind']>> = {
  1: 'variable',
  2: 'function',
  10: 'function',
};

/** A function or variable that a file defines, or imports. */
export interface ElfSymbol {
  name: string;
  /** Relative to where the file is loaded, unless the file insists on its addresses. */
  address: number;
  /** Bytes; 0 where unknown. */
  size: number;
  /** 'other': a symbol without an address of its own, such as a thread-local variable. */
  kind: 'function' | 'variable' | 'other';
}

/**
 * The symbols that a 64-bit file of this machine's byte order defines (all, or only the exported ones),
 * or those that it imports. Empty if the file is stripped, cut short, or not an ELF file.
 */
export function symbolsOf(file: string, which: 'all' | 'exported' | 'imported'): ElfSymbol[] {
  const fd = openSync(file, 'r');
  try {
    const wanted = which === 'all' ? [SHT_SYMTAB, SHT_DYNSYM] : [SHT_DYNSYM];
    const defined = which !== 'imported';
    return readSymbols((offset, length) => readAt(fd, offset, length), wanted, defined);
  } catch (error) {
    if (error instanceof RangeError) return [];
    throw error;
  } finally {
    closeSync(fd);
  }
}

/**
 * The content of a section of a 64-bit file, such as `.gnu_debuglink`; undefined where it has none.
 */
export function sectionOf(file: string, name: string): Buffer | undefined {
  const fd = openSync(file, 'r');
  try {
    return findSection((offset, length) => readAt(fd, offset, length), name);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  } finally {
    closeSync(fd);
  }
}

function findSection(read: ReadAt, name: string): Buffer | undefined {
  const { size, count, sections, content } = readSections(read);
  const names = content(new Fields(read(0, 64), true, true).half(62));
  for (let i = 0; i < count; i++) {
    const start = sections.int(i * size);
    if (names.toString('latin1', start, names.indexOf(0, start)) === name) return content(i);
  }
  return undefined;
}

function readSections(read: ReadAt) {
  const head = new Fields(read(0, 64), true, true);
  if (head.bytes.toString('latin1', 0, 6) !== '\x7fELF\x02\x01')
    throw new RangeError('no such file');
  const [size, count] = [head.half(58), head.half(60)];
  const sections = new Fields(read(Number(head.word(40)), size * count), true, true);
  const content = (i: number): Buffer =>
    read(Number(sections.word(i * size + 24)), Number(sections.word(i * size + 32)));
  return { size, count, sections, content };
}

function readSymbols(read: ReadAt, wanted: number[], defined: boolean): ElfSymbol[] {
  const { size, count, sections, content } = readSections(read);
  const found: ElfSymbol[] = [];
  for (let i = 0; i < count; i++) {
    if (!wanted.includes(sections.int(i * size + 4))) continue;
    const names = content(sections.int(i * size + 40));
    const symbols = content(i);
    for (let at = 0; at + 24 <= symbols.length; at += 24) {
      if ((symbols.readUInt16LE(at + 6) !== 0) !== defined) continue; // 0: in another file
      const start = symbols.readUInt32LE(at);
      found.push({
        name: names.toString('latin1', start, names.indexOf(0, start)),
        address: Number(symbols.readBigUInt64LE(at + 8)),
        size: Number(symbols.readBigUInt64LE(at + 16)),
        kind: symbolKinds[symbols.readUInt8(at + 4) & 15] ?? 'other',
      });
    }
  }
  return found;
}

/** A program header, whose fields stand in another order in each of the two widths. */
function segment(table: Fields, at: number): Segment {
  const [address, inFile, inMemory, flags] = table.wide ? [16, 32, 40, 4] : [8, 16, 20, 24];
  const offset = Number(table.word(at + (table.wide ? 8 : 4)));
  return {
    offset,
    address: Number(table.word(at + address)),
    inFile: Number(table.word(at + inFile)),
    inMemory: Number(table.word(at + inMemory)),
    writable: (table.int(at + flags) & PF_W) !== 0,
    executable: (table.int(at + flags) & PF_X) !== 0,
  };
}

function isPie(dynamic: Fields): boolean {
  const half = dynamic.wide ? 8 : 4;
  for (let at = 0; at + 2 * half <= dynamic.bytes.length; at += 2 * half) {
    const tag = dynamic.word(at);
    if (tag === 0n) break;
    if (tag === DT_FLAGS_1) return (dynamic.word(at + half) & DF_1_PIE) !== 0n;
  }
  return false;
}
