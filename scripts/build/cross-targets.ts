// The platforms that we compile for beside the machine at hand, and the compiler for each.

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { fillSysroot } from './sysroot.ts';

/** One platform. */
export interface Target {
  /** `aarch64-linux-musl`: processor, system, C library. */
  name: string;
  /** The prefix of the compiler's name, and of its folders. */
  triplet: string;
  /** The Debian package of the compiler, and what qemu-user calls the processor. */
  package: string;
  qemu: string;
  /** Debian's name of the processor, and the release whose C library is used: an old one for glibc, so
   * that the result runs on every newer one. Undefined: the C library of the cross compiler. */
  architecture: string;
  release?: string;
}

const oldest = 'bullseye'; // glibc 2.31
const musl = 'bookworm'; // musl 1.2.3

export const targets: readonly Target[] = [
  target('x86_64', 'gnu', 'amd64', 'x86-64', oldest),
  target('aarch64', 'gnu', 'arm64', 'aarch64', oldest),
  target('riscv64', 'gnu', 'riscv64', 'riscv64', undefined),
  target('x86_64', 'musl', 'amd64', 'x86-64', musl),
  target('aarch64', 'musl', 'arm64', 'aarch64', musl),
];

function target(
  processor: string,
  libc: string,
  architecture: string,
  debian: string,
  release: string | undefined,
): Target {
  return {
    name: `${processor}-linux-${libc}`,
    triplet: `${processor}-linux-gnu`,
    package: `gcc-${debian}-linux-gnu`,
    qemu: processor,
    architecture,
    release,
  };
}

/** The target of that name; a Failure that names all of them otherwise. */
export function targetOf(name: string): Target {
  const found = targets.find((target) => target.name === name);
  if (found !== undefined) return found;
  const names = targets.map((target) => target.name).join(', ');
  throw new Failure(`no target is called ${name}`, { hint: `there are: ${names}` });
}

/** The folder with a target's C library and the dynamic linker: what qemu-user takes as -L. */
export function sysrootOf(target: Target): string {
  if (target.release === undefined) return join('/usr', target.triplet);
  return join(root, 'build', 'sysroots', target.name);
}

/** The compiler for a target, with the arguments that come first; fetches its C library. */
export function targetCompiler(target: Target): string[] {
  const command = `${target.triplet}-gcc`;
  let own: string;
  try {
    own = execFileSync(command, ['-print-libgcc-file-name'], { encoding: 'utf8' }).trim();
  } catch {
    throw new Failure(`no compiler for ${target.name}: ${command}`, {
      hint: `apt-get install ${target.package} libc6-dev-${target.architecture}-cross`,
    });
  }
  if (target.release === undefined) return [command];
  const sysroot = sysrootOf(target);
  if (target.name.endsWith('musl')) {
    fillSysroot(sysroot, target.architecture, target.release, ['musl', 'musl-dev']);
    return [command, ...muslArguments(target, sysroot)];
  }
  const packages = ['libc6', 'libc6-dev', 'linux-libc-dev', 'libgcc-s1'];
  fillSysroot(sysroot, target.architecture, target.release, packages);
  return [command, ...glibcArguments(target.triplet, sysroot, join(dirname(own), 'include'))];
}

/** Debian's cross compilers would find their own, newer glibc, so each folder is named. */
function glibcArguments(triplet: string, sysroot: string, own: string): string[] {
  const headers = [own, join(sysroot, 'usr/include', triplet), join(sysroot, 'usr/include')];
  const libraries = [join(sysroot, 'usr/lib', triplet), join(sysroot, 'lib', triplet)];
  return [
    `--sysroot=${sysroot}`,
    '-nostdinc',
    ...headers.flatMap((folder) => ['-isystem', folder]),
    ...['-B', join(sysroot, 'usr/lib', triplet)],
    ...libraries.flatMap((folder) => ['-L', folder]),
  ];
}

/**
 * What Debian's musl-gcc does, for any processor. gcc's helpers for atomics on aarch64 ask glibc
 * which instructions the processor has, so they are not used.
 */
function muslArguments(target: Target, sysroot: string): string[] {
  const triplet = target.name;
  const processor = target.qemu;
  const library = join(sysroot, 'usr/lib', triplet);
  const headers = `-nostdinc -isystem ${join(sysroot, 'usr/include', triplet)} -isystem include%s`;
  const specs = [
    ['cpp_options', `${headers} %(old_cpp_options)`],
    ['cc1', `%(cc1_cpu) ${headers}`],
    ['link_libgcc', `-L${join(sysroot, 'lib', triplet)} -L${library} -L .%s`],
    ['libgcc', 'libgcc.a%s %:if-exists(libgcc_eh.a%s)'],
    ['startfile', `%{!shared: ${library}/Scrt1.o} ${library}/crti.o crtbeginS.o%s`],
    ['endfile', `crtendS.o%s ${library}/crtn.o`],
    [
      'link',
      `-dynamic-linker /lib/ld-musl-${processor}.so.1 -nostdlib %{shared:-shared} %{rdynamic:-export-dynamic}`,
    ],
    ['esp_link', ''],
    ['esp_options', ''],
    ['esp_cpp_options', ''],
  ];
  const text = `%rename cpp_options old_cpp_options\n\n${specs
    .map(([name, value]) => `*${name}:\n${value}\n\n`)
    .join('')}`;
  const file = join(sysroot, 'gcc.specs');
  mkdirSync(sysroot, { recursive: true });
  if (!existsSync(file) || readFileSync(file, 'utf8') !== text) writeFileSync(file, text);
  return ['-specs', file, ...(processor === 'aarch64' ? ['-mno-outline-atomics'] : [])];
}
