// Plans a build: which files to compile, and which of them are stale. Reads files and changes none.

import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { prerequisites } from '../lib/compile.ts';
import { compiler, libraryArguments, programArguments, variantArguments } from '../lib/flags.ts';
import { type Kind, nativeDir, root } from '../lib/paths.ts';
import { helpers, variants } from '../malloc/mallocs.ts';

/** One C file that becomes one shared library, or one program. */
export interface Step {
  /** `list`, `probe`… */
  name: string;
  /** Absolute paths. */
  source: string;
  output: string;
  /** What the source includes, as the compiler listed it (-MMD) the last time. */
  depfile: string;
  /** Arguments for the compiler: those of a malloc, of another library, or of a program. */
  line: typeof libraryArguments;
  /** The compiler and its arguments; a draft's name takes the place of `output`. */
  command: (output: string) => string[];
}

/** Programs in native/tools. */
const programs = ['replay'];

/** What a build is for: by default this machine, into build/. */
export interface Destination {
  kind: Kind;
  folder: string;
  /** The compiler with its leading arguments. */
  cc: string[];
}

/** The steps of a build: every variant, then every helper and program whose source is there. */
export function planNative(
  kind: Kind,
  { folder = nativeDir(kind), cc = compiler() }: Partial<Destination> = {},
): Step[] {
  const to = { kind, folder, cc };
  const tools = join('native', 'tools');
  const ours = variants().map((name) => planStep(to, 'native', name, variantArguments));
  const libraries = helpers.map((name) => planStep(to, tools, name, libraryArguments));
  const others = programs.map((name) => planStep(to, tools, name, programArguments));
  return [...ours, ...libraries, ...others].filter(({ source }) => existsSync(source));
}

function planStep(
  to: Destination,
  from: string,
  name: string,
  line: typeof libraryArguments,
): Step {
  const source = join(root, from, `${name}.c`);
  const suffix = line === programArguments ? '' : '.so';
  const output = join(to.folder, `libmalloc-${name}${suffix}`);
  const depfile = join(to.folder, '.deps', `${name}.d`);
  const command = (file: string): string[] => [
    ...to.cc,
    ...['-MMD', '-MF', depfile],
    ...line(to.kind, source, file),
  ];
  return { name, source, output, depfile, line, command };
}

function modified(file: string): number {
  return existsSync(file) ? statSync(file).mtimeMs : Number.POSITIVE_INFINITY;
}

/**
 * True if the library must be compiled again: it is missing, was compiled by another command (`before`
 * is the last one, from compile_commands.json), or is older than a file that it was made from.
 */
export function stale(step: Step, before: string[] | undefined): boolean {
  if (!existsSync(step.output) || !existsSync(step.depfile)) return true;
  if (JSON.stringify(before) !== JSON.stringify(step.command(step.output))) return true;
  const built = statSync(step.output).mtimeMs;
  const files = prerequisites(readFileSync(step.depfile, 'utf8'));
  return files.some((file) => modified(file) > built);
}

/** An entry of compile_commands.json, which editors read. */
export interface CompileCommand {
  directory: string;
  file: string;
  output: string;
  arguments: string[];
}

export const compileCommandsFile: string = join(root, 'build', 'compile_commands.json');

/** The commands of earlier builds, by output. */
export function readCommands(record: string): Map<string, CompileCommand> {
  if (!existsSync(record)) return new Map();
  try {
    const list: CompileCommand[] = JSON.parse(readFileSync(record, 'utf8'));
    return new Map(list.map((command) => [command.output, command]));
  } catch {
    return new Map(); // if the file is damaged, everything is compiled again
  }
}

/** The map as a JSON document: release before debug, without sources that no longer exist. */
export function formatCommands(commands: Map<string, CompileCommand>): string {
  const list = [...commands.values()].filter(({ file }) => existsSync(file));
  const debug = join('build', 'debug');
  const rank = ({ output }: CompileCommand): number => (output.includes(debug) ? 1 : 0);
  list.sort((a, b) => rank(a) - rank(b) || a.output.localeCompare(b.output));
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** The entry of one step. */
export function compileCommand(step: Step): CompileCommand {
  return {
    directory: root,
    file: step.source,
    output: step.output,
    arguments: step.command(step.output),
  };
}
