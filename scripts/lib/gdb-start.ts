// Starts GDB on a session and waits for it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { Failure } from './errors.ts';
import { forwardSignals } from './forward.ts';
import { gdbArguments, type SessionPlan, sessionText } from './gdb-session.ts';
import { which } from './programs.ts';
import { disproof, proofLine, readReports } from './report.ts';

/** In a batch: where GDB finds the program's standard output; its own goes to standard error. */
const PROGRAM_STDOUT = 3;
const FAILED = 125;

/**
 * Runs the session in this terminal; resolves with the exit status: of the program in a batch, of
 * GDB otherwise. After a batch one line on standard error proves which malloc was in use. Throws a
 * Failure when GDB is missing, or the program succeeded on another malloc than was asked for.
 */
export async function startSession(
  plan: SessionPlan,
  options: { quiet: boolean },
): Promise<number> {
  const gdb = which('gdb');
  if (gdb === undefined) throw new Failure('gdb is not installed', { hint: 'apt-get install gdb' });
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-gdb-'));
  try {
    const proven = plan.batch && plan.core === undefined;
    const report = join(folder, 'report');
    const session = join(folder, 'session.gdb');
    writeFileSync(
      session,
      sessionText(plan, proven ? { report, stdout: PROGRAM_STDOUT } : undefined),
    );
    const status = await debug(gdb, gdbArguments(plan, session), proven);
    if (proven) prove(plan, report, status, options.quiet);
    return status;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function debug(gdb: string, args: string[], proven: boolean): Promise<number> {
  let pid: number | undefined;
  const release = forwardSignals(() => pid);
  try {
    const child = execa(gdb, args, {
      // GDB starts programs by $SHELL, which need not quote as sh does; the session sets it back.
      env: { ...process.env, SHELL: '/bin/sh', LD_PRELOAD: undefined },
      extendEnv: false,
      reject: false,
      cleanup: false,
      stdio: proven ? [0, 2, 2, 1] : 'inherit',
    });
    pid = child.pid;
    const { exitCode, signal } = await child;
    return signal ? 128 + constants.signals[signal] : (exitCode ?? FAILED);
  } finally {
    release();
  }
}

function prove(plan: SessionPlan, report: string, status: number, quiet: boolean): void {
  const proofs = readReports(report);
  if (proofs.length === 0) return; // it never came so far; GDB has said why
  const doubt = disproof(plan.malloc, proofs);
  if (!quiet) process.stderr.write(`libmalloc: ${doubt ?? proofLine(plan.malloc, proofs)}\n`);
  if (doubt && status === 0)
    throw new Failure(doubt, {
      hint: 'does the program bring its own malloc, or start others with another LD_PRELOAD?',
    });
}
