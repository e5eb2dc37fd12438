// Starts GDB on a session and waits for it.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { Failure, reasonOf } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { FAILED } from '../lib/status.ts';
import { which } from '../malloc/programs.ts';
import { disproof, proofLine, readReports, remedy } from '../malloc/proof.ts';
import { forwardSignals } from '../process/forward.ts';
import { gdbArguments, gdbLine, type SessionPlan, sessionText } from './session.ts';

/** In a batch: the descriptor of the program's standard output; GDB's own goes to standard error. */
const PROGRAM_STDOUT = 3;

/**
 * Runs the session in this terminal; resolves with the exit status: of the program in a batch, of
 * GDB otherwise. After a batch one line on standard error proves which malloc was in use. Throws a
 * Failure when GDB is missing, or the program succeeded on another malloc than was asked for.
 */
export async function startSession(
  plan: SessionPlan,
  options: { quiet: boolean; keep?: string | undefined },
): Promise<number> {
  const gdb = which('gdb');
  if (gdb === undefined) throw new Failure('gdb is not installed', { hint: 'apt-get install gdb' });
  const folder = temporaryFolder('gdb');
  try {
    const kept = options.keep === undefined ? undefined : resolve(options.keep);
    if (plan.script === '-') readCommands(plan, kept ?? folder);
    if (kept !== undefined) keepSession(plan, kept);
    const proven = plan.batch && plan.core === undefined && plan.pid === undefined;
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

/** Commands on our standard input become a file, so the program finds its standard input empty. */
function readCommands(plan: SessionPlan, folder: string): void {
  plan.script = join(folder, 'commands.gdb');
  mkdirSync(folder, { recursive: true });
  writeFileSync(plan.script, readFileSync(0));
}

/** The files that start the same session again without us: the session, a command, instructions. */
function keepSession(plan: SessionPlan, folder: string): void {
  const session = join(folder, 'session.gdb');
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(session, sessionText(plan));
    const start = `#!/bin/sh\nexec env -u LD_PRELOAD SHELL=/bin/sh ${gdbLine(plan, session)}\n`;
    writeFileSync(join(folder, 'start'), start, { mode: 0o755 });
    writeFileSync(join(folder, 'HOWTO'), howTo(folder));
  } catch (cause) {
    throw new Failure(`the session cannot be kept in ${folder}: ${reasonOf(cause)}`, {
      hint: 'give a folder that can be written to',
      cause,
    });
  }
}

const howTo = (folder: string): string => `A session of libmalloc gdb.

  ${join(folder, 'start')}          starts it again
  ${join(folder, 'session.gdb')}    what GDB loads: change breakpoints and settings there

In GDB: \`run\` starts the program, \`heap\` shows its heap, \`heap help\` lists the rest,
\`heap check\` says whether it is sound, \`heap leaks\` what is lost, \`quit\` ends.
`;

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
  if (proofs.length === 0) return; // the program never started; GDB has said why
  const doubt = disproof(plan.malloc, proofs);
  if (!quiet) process.stderr.write(`libmalloc: ${doubt ?? proofLine(plan.malloc, proofs)}\n`);
  if (doubt && status === 0) throw new Failure(doubt, { hint: remedy(plan.malloc) });
}
