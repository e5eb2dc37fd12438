// Checks of our libraries, of preloading them, of the peers and the variables.

import { Failure } from '../lib/errors.ts';
import { findPeer, peers, resolveMalloc, variants } from '../malloc/mallocs.ts';
import { launch } from '../malloc/preload.ts';
import { findProgram, type Program } from '../malloc/programs.ts';
import { disproof } from '../malloc/proof.ts';
import { variableFault } from '../malloc/variables.ts';
import { type Check, ok, optional, patience, wrong } from './check.ts';

/** The library of each variant. */
export function checkLibraries(): Check[] {
  return variants().map((name) => {
    try {
      return ok(name, resolveMalloc(name).file ?? '');
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return wrong(name, error.message, error.hint ?? 'make');
    }
  });
}

/** Runs a program under the default variant, and has it proven from inside. */
export async function checkPreload(): Promise<Check> {
  const plain = Object.entries(process.env).filter(([name]) => !name.startsWith('LIBMALLOC_'));
  try {
    const m = resolveMalloc();
    const { proofs } = await launch(m, ['/bin/true'], {
      report: true,
      stdio: 'pipe',
      patience,
      env: Object.fromEntries(plain),
    });
    const doubt = disproof(m, proofs);
    if (doubt === undefined) return ok('preload', `${m.name} under /bin/true, proven from inside`);
    return wrong('preload', doubt, 'unset LD_PRELOAD; is the C library glibc?');
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return wrong('preload', error.message, error.hint ?? 'make');
  }
}

/** The peers to compare with. */
export function checkPeers(): Check[] {
  return peers.map(({ name, package: debian }) => {
    const file = findPeer(name);
    return file ? ok(name, file) : optional(name, 'not installed', `apt-get install ${debian}`);
  });
}

/** The other programs that tests and demonstrations use: one line for all. */
export function checkPrograms(all: Record<string, Program>): Check {
  const names = Object.keys(all).filter((name) => !peers.some((peer) => peer.name === name));
  const absent = names.filter((name) => findProgram(name, all[name] as Program) === undefined);
  if (absent.length === 0) return ok('programs', `all ${names.length} of tests/programs.json`);
  const packages = [...new Set(absent.map((name) => (all[name] as Program).package))];
  return optional(
    'programs',
    `missing: ${absent.join(', ')}`,
    `apt-get install ${packages.join(' ')}`,
  );
}

/** Every LIBMALLOC_* variable of the environment: known, and with a value that is understood. */
export function checkVariables(env: NodeJS.ProcessEnv): Check[] {
  const ours = Object.entries(env).filter(([name]) => name.startsWith('LIBMALLOC_'));
  if (ours.length === 0) return [ok('variables', 'no LIBMALLOC_* is set')];
  return ours.map(([name, value = '']) => {
    const fault = variableFault(name, value);
    return fault ? wrong(name, fault.message, fault.hint) : ok(name, value);
  });
}
