// Runs the bug hunt of docs/debugging.md: one program with three bugs, in a GDB session on a variant.

import { join } from 'node:path';
import { compileInto } from '../lib/compile.ts';
import { root } from '../lib/paths.ts';
import { transcript } from './transcript.ts';

/** The transcript of the hunt on each variant, by its name. */
export type Hunts = Record<string, string>;

/** Not dumb, which records no blocks, so that the heap commands cannot find its bugs. */
export const hunted = ['list', 'paged', 'sharded'] as const;

/** The commands at each of the three stops and between them. Only list also prints its structures,
 *  because those of the others are longer. */
const steps = (variant: string): string[] =>
  [
    variant === 'list' ? ['print heap', 'heap leaks'] : ['heap leaks'],
    ['continue', 'heap check', 'heap chunk wine'],
    // Where glibc itself stops depends on its build.
    variant === 'glibc' ? [] : ['continue', 'frame function main', 'heap chunk tea'],
  ].flat();

/** The transcript of the hunt on a variant. Throws a Failure if GDB is missing or prints nothing. */
export const hunt = (variant: string): Promise<string> =>
  transcript({
    program: [compiled('crimes/bug-hunt.c')],
    malloc: variant,
    break: ['checkpoint'],
    on: variant === 'glibc' ? [] : ['double-free'],
    commands: steps(variant),
  });

/** The transcript of a hunt on a malloc without a reader, by the table of --track. Cut: where it stops, and libc's
 *  functions below main, because both depend on the machine. */
export async function huntTracked(malloc: string): Promise<string> {
  const said = await transcript({
    program: [compiled('programs/gdb-tracked.c')],
    malloc,
    track: true,
    break: ['stop_here'],
    on: [],
    commands: ['heap leaks', 'heap chunk grown'],
  });
  return said.slice(said.indexOf('(gdb)')).replaceAll(/\n +(__libc_start\w*|_start)\b.*/g, '');
}

function compiled(source: string): string {
  const flags = ['-O1', '-g', '-fno-builtin', '-pthread'];
  return compileInto(join(root, 'build', 'tests'), join(root, 'tests', source), flags);
}

/** The hunts on all variants in `hunted`, on glibc, and by the table of --track. */
export async function huntAll(): Promise<Hunts> {
  const found: Hunts = {};
  for (const variant of [...hunted, 'glibc']) found[variant] = await hunt(variant);
  return { ...found, track: await huntTracked('jemalloc') };
}

/** The generated blocks of docs/debugging.md. */
export function huntBlock(name: string, hunts: Hunts): string | undefined {
  const variant = /^hunt-(\w+)$/.exec(name)?.[1];
  const transcript = variant === undefined ? undefined : hunts[variant];
  return transcript && `\`\`\`text\n${transcript}\n\`\`\``;
}
