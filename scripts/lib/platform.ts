// The platforms that libmalloc supports, which of them this is, and one sentence for any other.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { endianness } from 'node:os';
import { join } from 'node:path';
import { Failure } from './errors.ts';
import { root } from './paths.ts';

/** A machine as Node names it. */
export interface Machine {
  platform: string;
  arch: string;
  endianness: 'LE' | 'BE';
}

const here: Machine = {
  platform: process.platform,
  arch: process.arch,
  endianness: endianness(),
};

const supported = 'libmalloc runs on 64-bit Linux on x64, arm64 and riscv64, with glibc or musl';
const narrow = ['arm', 'ia32', 'mips', 'mipsel', 'ppc', 's390'];

/** Why libmalloc cannot run on a machine, in one sentence; undefined where it can. */
export function platformFault(machine: Machine = here): string | undefined {
  const { platform, arch, endianness: order } = machine;
  const name = `${platform} on ${arch}`;
  if (platform !== 'linux')
    return `${supported}; not on ${name}, because it preloads ELF libraries and reads /proc`;
  if (narrow.includes(arch))
    return `${supported}; not on ${name}, because its heaps need 64-bit pointers`;
  if (order === 'BE') return `${supported}; not on ${name}, because its records are little-endian`;
  if (!['x64', 'arm64', 'riscv64'].includes(arch))
    return `${supported}; not on ${name}, because nobody has ported its assembly there`;
  return undefined;
}

/** The range of Node's versions in package.json, `>=20.19`, as numbers. */
export function oldestNode(): [major: number, minor: number] {
  const { engines } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(engines.node) ?? [];
  return [Number(major), Number(minor)];
}

/** Whether a version of Node such as `20.20.2` is new enough. */
export function newEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const oldest = oldestNode();
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

/** Throws a Failure where libmalloc cannot run, or runs on a Node that is too old. */
export function requirePlatform(): void {
  const fault = platformFault();
  if (fault !== undefined) throw new Failure(fault);
  const { node } = process.versions;
  if (!newEnough(node))
    throw new Failure(`Node ${oldestNode().join('.')} or newer is needed, found ${node}`, {
      hint: 'install it from https://nodejs.org/en/download',
    });
}

const PT_INTERP = 3;

/** The dynamic linker that a 64-bit little-endian ELF program asks for; undefined if it asks for none. */
function interpreterOf(program: string): string | undefined {
  const file = openSync(program, 'r');
  try {
    const read = (length: number, at: number): Buffer => {
      const bytes = Buffer.alloc(length);
      return bytes.subarray(0, readSync(file, bytes, 0, length, at));
    };
    const head = read(64, 0);
    if (head.length < 64 || head.toString('latin1', 0, 6) !== '\x7fELF\x02\x01') return undefined;
    const size = head.readUInt16LE(54);
    const table = read(size * head.readUInt16LE(56), Number(head.readBigUInt64LE(32)));
    for (let at = 0; at + 56 <= table.length; at += size) {
      if (table.readUInt32LE(at) !== PT_INTERP) continue;
      const length = Number(table.readBigUInt64LE(at + 32));
      return read(length, Number(table.readBigUInt64LE(at + 8))).toString('latin1', 0, length - 1);
    }
    return undefined;
  } finally {
    closeSync(file);
  }
}

/** The C library that this Node uses. Programs that it starts use the same, as a rule. */
export function libc(): 'glibc' | 'musl' {
  return interpreterOf(process.execPath)?.includes('/ld-musl-') ? 'musl' : 'glibc';
}

/** What `dlopen` calls that library. musl's is also its dynamic linker. */
export function libcFile(): string {
  return libc() === 'musl' ? (interpreterOf(process.execPath) ?? 'libc.so') : 'libc.so.6';
}

/** The version of the glibc in use, `2.36`; undefined on musl. */
export function glibcVersion(): string | undefined {
  if (libc() === 'musl' || process.report === undefined) return undefined;
  // Names of open connections are looked up unless told otherwise, which takes seconds.
  Object.assign(process.report, { excludeNetwork: true });
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime;
}

/** `linux-x64-glibc`: the folder of prebuilds/ for this machine. */
export function platformName(): string {
  return `${process.platform}-${process.arch}-${libc()}`;
}
