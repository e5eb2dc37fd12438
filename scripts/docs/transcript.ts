// The output of GDB in a session of `libmalloc gdb` with given commands: for documents, and for the
// tests that repeat these sessions.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { planSession } from '../gdb/index.ts';
import { gdbArguments, sessionText } from '../gdb/session.ts';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { preloadList, tracker } from '../malloc/preload.ts';
import { which } from '../malloc/programs.ts';

/** A session: the commands run at its first stop. */
export interface Session {
  /** The program and its arguments. */
  program: string[];
  malloc: string;
  debug?: boolean;
  track?: boolean;
  break: string[];
  on: string[];
  commands: string[];
}

const end = '@@';
const noise = /^(\[|Using host|warning: |Breakpoint \d+ (at|\()|Make breakpoint|$)/;

/** The transcript. Throws a Failure if GDB is missing, or if the session does not reach its end. */
export async function transcript({ program, commands, ...options }: Session): Promise<string> {
  const gdb = which('gdb');
  if (gdb === undefined) throw new Failure('gdb is not installed', { hint: 'apt-get install gdb' });
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-hunt-'));
  try {
    const script = join(folder, 'commands');
    const echoed = commands.map((command) => `echo (gdb) ${command}\\n\n${command}\n`);
    const settings = 'set print frame-arguments none\nset width 0\nset style enabled off\n';
    writeFileSync(script, `${settings}${echoed.join('')}echo ${end}\\n\n`);
    const plan = planSession(program, { ...options, command: script, batch: true });
    const preload = preloadList(plan.malloc, false, {}, options.track ? [tracker()] : []);
    const session = join(folder, 'session');
    writeFileSync(session, sessionText({ ...plan, preload }));
    const env = { ...process.env, SHELL: '/bin/sh', LD_PRELOAD: undefined };
    const { all } = await execa(gdb, gdbArguments(plan, session), {
      all: true,
      reject: false,
      env,
    });
    return cleaned(all, options.malloc);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function cleaned(text: string, malloc: string): string {
  const cut = text.indexOf(`\n${end}`);
  if (cut < 0) throw new Failure(`the session on ${malloc} did not reach its end:\n${text}`);
  const lines = text.slice(0, cut).replaceAll(`${root}/`, '').replaceAll('sharded/../', '');
  const kept = lines.split('\n').filter((line) => !noise.test(line));
  return kept.join('\n').replaceAll(/\n(?=\(gdb\))/g, '\n\n');
}

/** Replaces what differs from run to run and from machine to machine: addresses, also remains of them
 *  in a block's first words (its text stays), numbers of threads, alignment; and numbers of frames,
 *  which change with every function that the compiler inlines. */
export function comparable(text: string): string {
  return text
    .replaceAll(/0x[0-9a-f]+/g, '0x…')
    .replaceAll(/\b[0-9a-f]{16} [0-9a-f]{16} {2}.{8}(\w*)\S*/g, 'words $1')
    .replaceAll(/\bthread \d+/g, 'thread N')
    .replaceAll(/^( *)#\d+(?= )/gm, '$1#N')
    .replaceAll(/ {2,}/g, '  ');
}
