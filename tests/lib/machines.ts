/**
 * Machines other than this one, for tests/ports: other processors under qemu-user, musl beside
 * glibc, other page sizes, and other releases of Debian in a folder.
 */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execaSync } from 'execa';
import {
  sysrootOf,
  type Target,
  targetCompiler,
  targetOf,
} from '../../scripts/build/cross-targets.ts';
import { planNative } from '../../scripts/build/native.ts';
import { runSteps } from '../../scripts/build/run-steps.ts';
import { mirror } from '../../scripts/build/sysroot.ts';
import { type Machine, onX64, type ProgramCase, type Run } from '../../scripts/check/case.ts';
import type { Kind } from '../../scripts/lib/paths.ts';
import { root } from '../../scripts/lib/paths.ts';
import { need, skip } from './need.ts';

/** A machine with our libraries built for it. */
export interface Port extends Machine {
  /** Where its libraries lie. */
  libraries: string;
  /** Arguments behind all others, for our libraries alone: of two -O the last one counts. */
  flags?: string[];
}

/** Cases that would also count the emulator's own use, or that need something it does not emulate. */
const counts = 'it counts memory, and the emulator takes some for each thread';
const starts = 'it starts programs, and this machine cannot run them without the emulator';
const addresses = 'the emulator does not limit addresses';
const beyondEmulation: Record<string, string> = {
  'births-bounded': counts,
  'destructors-bounded': counts,
  churn: counts,
  'medium-bounded': counts,
  'brief-bounded': counts,
  'last-free': counts,
  wide: addresses,
  memptr: addresses,
  'fork-exec': starts,
  'fork-generations': starts,
  'first-call': starts,
  seccomp: 'the emulator has no seccomp',
  vfork: 'the emulator makes a vfork a fork',
};
/** qemu-user ignores MADV_DONTNEED on pages that mremap moved; what buddy gives back must read as zero. */
const movedByBuddy = ['powers', 'private-large'];
/** qemu-user leaves little address space behind a program: variants on the break run cases that fit. */
const onBreak = ['dumb', 'list'];
const muchBreak = ['aligned', 'errno', 'jumps'];
/** glibc before 2.34. */
const dlerror = 'dlerror takes a pthread key for itself in this C library';

/** Programs that stand between the malloc and mmap, munmap and sbrk. */
const watched = ['fork-frozen-1000', 'fork-frozen-20000', 'fork-frozen-300000', 'fork-emptied'];
const preinit = 'musl runs no .preinit_array';
const threadExit = 'musl has no __cxa_thread_atexit_impl';
const cannotMusl: Record<string, string> = {
  'early-resolver': 'musl knows no indirect functions',
  'early-preinit': preinit,
  'early-constructor': preinit,
  destructors: threadExit,
  'destructors-bounded': threadExit,
  'fork-exec': 'it starts a shell, which is a program of another C library here',
  'fork-break': 'musl’s sbrk moves nothing',
};

function variablesAsWords(variables: Record<string, string>): string[] {
  return Object.entries(variables).map(([name, value]) => `${name}=${value}`);
}

/** The interpreter that musl's programs name, which is not installed here. */
function linkerOf(target: Target): string {
  return join(sysrootOf(target), 'lib', `ld-musl-${target.qemu}.so.1`);
}

/** Programs may call functions that only the library under test has. */
const absentFlags = [
  ...['-include', join(root, 'tests', 'programs', 'absent.h')],
  ...['-Wl,-z,dynamic-undefined-weak'],
];

const ports = join(root, 'build', 'ports');

/** A target of scripts/build/cross-targets.ts, whose programs this machine or qemu-user runs. */
export function targetMachine(name: string, pageSize?: number): Port {
  const target = targetOf(name);
  const native = target.qemu === 'x86_64';
  if (native && process.arch !== 'x64') skip('this machine is no x86-64');
  const musl = name.endsWith('musl');
  const emulator = native ? [] : [need(`qemu-${target.qemu}`), '-L', sysrootOf(target)];
  if (pageSize !== undefined) emulator.push('-p', String(pageSize));
  if (!native) need(`${target.triplet}-gcc`);
  if (target.release === undefined) need(`libc headers of ${target.qemu}`);
  const flags = native && musl ? [`-Wl,--dynamic-linker=${linkerOf(target)}`] : [];
  if (target.release !== undefined) flags.push(...absentFlags);
  const folder = join(ports, name);
  const old = target.release !== undefined && !musl;
  return {
    cc: targetCompiler(target),
    caseFlags: flags,
    folder: join(folder, 'programs'),
    libraries: folder,
    patience: native ? 2 : 10,
    command: (argv, { LD_PRELOAD = '', ...variables }) => {
      const preload = `LD_PRELOAD=${LD_PRELOAD}`;
      const words = variablesAsWords(variables);
      // The preload is for the program alone; -E would split the others at commas.
      if (native) return ['env', ...words, preload, ...argv];
      return ['env', ...words, ...emulator, '-E', preload, ...argv];
    },
    obstacle: (each, run, variant) =>
      run.via !== undefined
        ? `it is started by ${run.via[0]}`
        : ((native ? undefined : emulated(each, run, variant)) ??
          (musl ? onMusl(each, variant) : undefined) ??
          (old ? onOldGlibc(each, variant) : undefined)),
  };
}

function onOldGlibc({ name }: ProgramCase, variant: string): string | undefined {
  if (name === 'keys') return dlerror;
  if (onBreak.includes(variant) && watched.includes(name))
    return 'the program’s dlsym allocates in this C library, while the malloc is locked';
  return undefined;
}

function onMusl({ name, program }: ProgramCase, variant: string): string | undefined {
  if (program === 'life-filter') return 'the headers of the kernel are not beside musl’s';
  if (onBreak.includes(variant) && watched.includes(name))
    return 'the program watches sbrk, and here the break is moved by the system call';
  return cannotMusl[name];
}

function emulated(each: ProgramCase, run: Run, variant: string): string | undefined {
  if (run.possible === onX64) return onX64.otherwise;
  if (onBreak.includes(variant) && muchBreak.includes(each.name))
    return 'the emulator moves the program break only a little';
  if (variant === 'buddy' && movedByBuddy.includes(each.name))
    return 'the emulator keeps the contents of pages that mremap moved';
  return beyondEmulation[each.name];
}

/** The words that run a command in a Debian system in a folder, with this repository in its place. */
function enter(folder: string): string[] {
  const script = [
    'd=$1 r=$2; shift 2',
    'mkdir -p "$d$r" && mount --bind "$r" "$d$r" && mount -t proc proc "$d/proc"',
    'mount --rbind /dev "$d/dev" && mount --rbind /sys "$d/sys"',
    'exec chroot "$d" /bin/sh -c \'cd "$0" && exec "$@"\' "$r" "$@"',
  ].join('\n');
  const apart = ['unshare', '--mount', '--propagation', 'private'];
  return [...apart, 'sh', '-c', script, 'sh', folder, root];
}

/** A fresh system in a folder, which is kept; skips by name where none can be had. */
function debootstrap(release: string): string {
  const folder = join(ports, release);
  if (process.getuid?.() !== 0) skip(`only root can enter a system in a folder (${release})`);
  const command = need('debootstrap');
  if (existsSync(folder)) return folder;
  const draft = `${folder}.draft`;
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(ports, { recursive: true });
  const include = `--include=${['gcc', 'libc6-dev', 'make'].join(',')}`;
  const args = ['--variant=minbase', include, release, draft, mirror()];
  const made = execaSync(command, args, { reject: false, all: true });
  if (made.exitCode !== 0) throw new Error(`debootstrap ${release}: ${made.all.slice(-2000)}`);
  // Packages would start their servers, which would outlive the job.
  writeFileSync(join(draft, 'usr/sbin/policy-rc.d'), '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  renameSync(draft, folder);
  return folder;
}

/** The words that run a command in a release of Debian, where these packages are installed. */
export function enterDebian(release: string, packages: string[]): string[] {
  const within = enter(debootstrap(release));
  const [command = '', ...first] = within;
  const run = (...words: string[]) =>
    execaSync(command, [...first, ...words], { reject: false, all: true });
  if (packages.length === 0 || run('dpkg', '-s', ...packages).exitCode === 0) return within;
  const apt = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qy'];
  run(...apt, 'update');
  const got = run(...apt, 'install', '--no-install-recommends', ...packages);
  if (got.exitCode !== 0) throw new Error(`apt-get install in ${release}: ${got.all.slice(-2000)}`);
  return within;
}

/** A release of Debian, entered by chroot, and one of its compilers. */
export function debianMachine(
  release: string,
  { compiler = 'gcc', flags = [] as string[] } = {},
): Port {
  const within = enterDebian(release, compiler === 'gcc' ? [] : [compiler]);
  const folder = join(ports, `${release}-libraries`, [compiler, ...flags].join(''));
  return {
    cc: [...within, compiler],
    flags,
    caseFlags: release === 'bullseye' ? absentFlags : [],
    folder: join(folder, 'programs'),
    libraries: folder,
    patience: 2,
    command: (argv, variables) => [...within, 'env', ...variablesAsWords(variables), ...argv],
    obstacle: (each, run, variant) =>
      run.via !== undefined
        ? `it is started by ${run.via[0]}`
        : release === 'bullseye'
          ? onOldGlibc(each, variant)
          : undefined,
  };
}

/** Builds our libraries for a machine; `names` alone, if there are any. */
export async function buildPort(
  machine: Port,
  names: string[] = [],
  kind: Kind = 'release',
): Promise<void> {
  const folder = kind === 'release' ? machine.libraries : `${machine.libraries}-debug`;
  const all = planNative(kind, { folder, cc: machine.cc });
  const plan = all
    .filter(({ name }) => names.length === 0 || names.includes(name))
    .map((step) => ({
      ...step,
      command: (output: string) => [...step.command(output), ...(machine.flags ?? [])],
    }));
  await runSteps(plan, join(folder, '.deps', 'commands.json'));
}
