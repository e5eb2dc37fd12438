/**
 * Machines other than this one, for tests/ports: other processors under qemu-user, musl beside
 * glibc, other page sizes, and other releases of Debian in a folder.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { sysrootOf, type Target, targetCompiler, targetOf } from '../../scripts/build/targets.ts';
import { type Machine, onX64, type ProgramCase, type Run } from '../../scripts/check/case.ts';
import { root } from '../../scripts/lib/paths.ts';
import { need } from './need.ts';

/** A machine with our libraries built for it. */
export interface Port extends Machine {
  name: string;
  /** Where its libraries lie. */
  libraries: string;
}

/** Cases that count what an emulator takes as well, or that ask for what it does not emulate. */
const counts = 'it counts memory, and the emulator takes some for each thread';
const starts = 'it starts programs, and this machine cannot run them without the emulator';
const beyondEmulation: Record<string, string> = {
  'births-bounded': counts,
  'destructors-bounded': counts,
  churn: counts,
  'fork-exec': starts,
  'fork-generations': starts,
};
/** glibc before 2.34. */
const dlerror = 'dlerror takes a pthread key for itself in this C library';

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

/** A target of scripts/build/targets.ts, whose programs this machine or qemu-user runs. */
export function targetMachine(name: string, pageSize?: number): Port {
  const target = targetOf(name);
  const native = target.qemu === 'x86_64';
  const musl = name.endsWith('musl');
  const emulator = native ? [] : [need(`qemu-${target.qemu}`), '-L', sysrootOf(target)];
  if (pageSize !== undefined) emulator.push('-p', String(pageSize));
  const linker = native && musl ? [`-Wl,--dynamic-linker=${linkerOf(target)}`] : [];
  if (target.release !== undefined) linker.push(...absentFlags);
  const folder = join(root, 'build', 'ports', name);
  return {
    name: pageSize === undefined ? name : `${name}, pages of ${pageSize / 1024} KiB`,
    cc: [...targetCompiler(target), ...linker],
    folder: join(folder, 'programs'),
    libraries: folder,
    patience: native ? 1 : 5,
    command: (argv, variables) =>
      native
        ? ['env', ...variablesAsWords(variables), ...argv]
        : [...emulator, ...variablesAsWords(variables).flatMap((each) => ['-E', each]), ...argv],
    obstacle: (each, run) =>
      obstacleOn({ native, musl, old: target.release !== undefined }, each, run),
  };
}

function obstacleOn(
  { native, musl, old }: { native: boolean; musl: boolean; old: boolean },
  each: ProgramCase,
  run: Run,
): string | undefined {
  if (run.via !== undefined) return `it is started by ${run.via[0]}`;
  if (run.possible === onX64 && !native) return onX64.otherwise;
  if (!native && beyondEmulation[each.name] !== undefined) return beyondEmulation[each.name];
  if (each.name === 'keys' && !musl && old) return dlerror;
  return musl ? cannotMusl[each.name] : undefined;
}

/** Builds our libraries for a target. */
export async function buildPort(name: string): Promise<void> {
  const folder = join(root, 'build', 'ports', name);
  mkdirSync(folder, { recursive: true });
  await execa('node', ['--import', 'tsx', 'scripts/build/cross.ts', name, folder], { cwd: root });
}

/** What one variant came to on a port: passed, skipped, and each failure in a line. */
export interface Tried {
  passed: number;
  skipped: string[];
  failed: string[];
}
