// The bug hunt of docs/debugging.md: one program with three bugs, in a GDB session on a variant.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { planSession } from '../gdb/index.ts';
import { gdbArguments, sessionText } from '../gdb/session.ts';
import { compileInto } from '../lib/compile.ts';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { which } from '../malloc/programs.ts';

/** The transcript of the hunt on each variant, by its name. */
export type Hunts = Record<string, string>;

/** dumb remembers no blocks: there is nothing to hunt with. */
export const hunted = ['list', 'paged', 'sharded'] as const;

/** The commands at each of the three stops and between them. Only list also prints its structures: those
 *  of the others are longer. */
const steps = (variant: string): string[] =>
  [
    variant === 'list' ? ['print heap', 'heap leaks'] : ['heap leaks'],
    ['continue', 'heap check', 'heap chunk wine'],
    // The place where glibc itself stops depends on its build.
    variant === 'glibc' ? [] : ['continue', 'frame function main', 'heap chunk tea'],
  ].flat();

const end = '@@';
const noise = /^(\[|Using host|warning: |Breakpoint \d+ (at|\()|Make breakpoint|$)/;

/** The transcript of the hunt on a variant; throws a Failure when GDB is missing or says nothing. */
export async function hunt(variant: string): Promise<string> {
  const gdb = which('gdb');
  if (gdb === undefined) throw new Failure('gdb is not installed', { hint: 'apt-get install gdb' });
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-hunt-'));
  try {
    const script = join(folder, 'commands');
    const echoed = steps(variant).map((command) => `echo (gdb) ${command}\\n\n${command}\n`);
    const settings = 'set print frame-arguments none\nset width 0\nset style enabled off\n';
    writeFileSync(script, `${settings}${echoed.join('')}echo ${end}\\n\n`);
    const on = variant === 'glibc' ? [] : ['double-free'];
    const options = { malloc: variant, break: ['checkpoint'], on };
    const plan = planSession([program()], { ...options, command: script, batch: true });
    const session = join(folder, 'session');
    writeFileSync(session, sessionText({ ...plan, preload: plan.malloc.file ?? '' }));
    const env = { ...process.env, SHELL: '/bin/sh', LD_PRELOAD: undefined };
    const { all } = await execa(gdb, gdbArguments(plan, session), {
      all: true,
      reject: false,
      env,
    });
    return cleaned(all, variant);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function program(): string {
  const source = join(root, 'tests', 'crimes', 'bug-hunt.c');
  return compileInto(join(root, 'build', 'tests'), source, ['-O1', '-g', '-fno-builtin']);
}

function cleaned(text: string, variant: string): string {
  const cut = text.indexOf(`\n${end}`);
  if (cut < 0) throw new Failure(`the hunt on ${variant} did not come to its end:\n${text}`);
  const lines = text.slice(0, cut).replaceAll(`${root}/`, '').replaceAll('sharded/../', '');
  const kept = lines.split('\n').filter((line) => !noise.test(line));
  return kept.join('\n').replaceAll(/\n(?=\(gdb\))/g, '\n\n');
}

/** The hunts on all variants that can be hunted on, and on glibc. */
export async function huntAll(): Promise<Hunts> {
  const found: Hunts = {};
  for (const variant of [...hunted, 'glibc']) found[variant] = await hunt(variant);
  return found;
}

/** A transcript without what differs between runs and machines: addresses (also remains of them in a
 *  block's first words), threads, alignment, and the depth of `main` below `die`, which changes with
 *  every function that the compiler inlines. */
export function comparable(transcript: string): string {
  return transcript
    .replaceAll(/0x[0-9a-f]+/g, '0x…')
    .replaceAll(/\b[0-9a-f]{16} [0-9a-f]{16} {2}.{8}(\w*)\S*/g, 'words $1')
    .replaceAll(/\bthread \d+/g, 'thread N')
    .replaceAll(/^( *)#\d+(?= )/gm, '$1#N')
    .replaceAll(/ {2,}/g, '  ');
}

/** The generated blocks of docs/debugging.md. */
export function huntBlock(name: string, hunts: Hunts): string | undefined {
  const variant = /^hunt-(\w+)$/.exec(name)?.[1];
  const transcript = variant === undefined ? undefined : hunts[variant];
  return transcript && `\`\`\`text\n${transcript}\n\`\`\``;
}
