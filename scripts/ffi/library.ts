import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import koffi, { type LibraryHandle } from 'koffi';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';

// <dlfcn.h> on Linux.
const RTLD_NOW = 2;
const RTLD_NOLOAD = 4;
const RTLD_NODELETE = 0x1000;
const RTLD_DI_LINKMAP = 2;
const RTLD_DL_LINKMAP = 2;

const process = koffi.load(null);
const dlopen = process.func('void *dlopen(const char *file, int mode)');
const dlinfo = process.func('int dlinfo(void *handle, int request, _Out_ void **answer)');
const dladdr1 = process.func(
  'int dladdr1(void *address, _Out_ void *info, _Out_ void **extra, int flags)',
);
const SIZEOF_DL_INFO = 32;

export type NativeFunction = ReturnType<LibraryHandle['func']>;

/** A shared object in this process, for good: its code is never unmapped. */
export interface Library {
  /** Whether the library itself, not one of its dependencies, defines `symbol`. */
  provides(symbol: string): boolean;
  /** The function of a C prototype such as `void *malloc(size_t size)`. */
  bind(prototype: string): NativeFunction;
}

/**
 * Loads a shared object. `fresh` loads a copy of the file, which is a second
 * instance with statics of its own; the copy's name is gone when this returns.
 * Failures say what is wrong with the file.
 */
export function openLibrary(file: string, options: { fresh?: boolean } = {}): Library {
  if (!options.fresh) return loadForGood(file, file);
  const folder = temporaryFolder('library');
  const copy = path.join(folder, path.basename(file));
  try {
    copyFileSync(file, copy);
    return loadForGood(copy, file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * koffi unmaps a library when its handle is collected, although a thread of the pool may still run
 * its code or call its thread-exit hook later. So we tell the dynamic linker never to unmap it.
 */
function loadForGood(file: string, knownAs: string): Library {
  const handle = load(file, knownAs);
  const pinned = dlopen(file, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  const self: [bigint | null] = [null];
  if (pinned === null || dlinfo(pinned, RTLD_DI_LINKMAP, self) !== 0)
    throw new Failure(`the dynamic linker lost track of ${knownAs}`);
  return {
    provides: (symbol) => ownerOf(handle, symbol) === self[0],
    bind: (prototype) => handle.func(prototype),
  };
}

/** The link map that defines `symbol` as seen from `handle`; dlsym looks into dependencies too. */
function ownerOf(handle: LibraryHandle, symbol: string): bigint | undefined {
  let address: bigint;
  try {
    address = handle.symbol(symbol);
  } catch {
    return undefined;
  }
  const owner: [bigint | null] = [null];
  const found = dladdr1(address, new Uint8Array(SIZEOF_DL_INFO), owner, RTLD_DL_LINKMAP);
  return found === 0 ? undefined : (owner[0] ?? undefined);
}

function load(file: string, knownAs: string): LibraryHandle {
  const image = path.isAbsolute(file) ? elfImage(file) : undefined;
  if (image && isCutShort(image))
    throw new Failure(`${knownAs} cannot be loaded: it is cut short`, {
      hint: 'build or copy it again',
    });
  try {
    return koffi.load(file);
  } catch (cause) {
    const complaint = (cause as Error).message.replace(/^Failed to load shared library: /, '');
    const { message, hint } = explainLoadError(knownAs, complaint, image !== undefined);
    throw new Failure(message, { hint, cause });
  }
}

/** Explains the dynamic linker's error about a file, and says what to do. */
export function explainLoadError(
  file: string,
  complaint: string,
  elf: boolean,
): { message: string; hint: string } {
  const message = `${file} cannot be loaded: ${complaint}`;
  const undefinedSymbol = /undefined symbol: (\S+)/.exec(complaint)?.[1];
  if (undefinedSymbol)
    return {
      message,
      hint: `nothing defines ${undefinedSymbol}; link with -Wl,-z,defs to see all such symbols`,
    };
  if (/static TLS/.test(complaint))
    return { message, hint: `it can only be preloaded: libmalloc run -m ${file} -- COMMAND` };
  if (/wrong ELF class|cannot open shared object file: No such file/.test(complaint) && elf)
    return {
      message,
      hint: 'the library or one that it needs is missing or for another machine; try ldd on it',
    };
  if (/executable/.test(complaint) || !elf)
    return { message, hint: 'not a shared library; give a .so built with cc -shared -fPIC' };
  return { message, hint: 'try ldd on it' };
}

/** The bytes of a 64-bit little-endian ELF file, undefined for any other file. */
function elfImage(file: string): Buffer | undefined {
  const image = readFileSync(file);
  const isElf = image.length >= 64 && image.toString('latin1', 0, 6) === '\x7fELF\x02\x01';
  return isElf ? image : undefined;
}

/**
 * The dynamic linker maps what the headers promise; if the file ends earlier, the process dies of
 * SIGBUS.
 */
function isCutShort(image: Buffer): boolean {
  const PT_LOAD = 1;
  const [table, size, count] = [
    Number(image.readBigUInt64LE(32)),
    image.readUInt16LE(54),
    image.readUInt16LE(56),
  ];
  if (table + size * count > image.length) return true;
  return Array.from({ length: count }, (_, i) => table + i * size).some((at) => {
    const end = image.readBigUInt64LE(at + 8) + image.readBigUInt64LE(at + 32);
    return image.readUInt32LE(at) === PT_LOAD && end > BigInt(image.length);
  });
}
