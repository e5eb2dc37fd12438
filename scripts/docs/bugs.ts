// Hunts the bugs of eight programs (tests/bugs) in GDB on every malloc, for docs/debugging.md.

import { basename, join } from 'node:path';
import { compileInto } from '../lib/compile.ts';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { transcript } from './transcript.ts';

interface Bug {
  /** The file in tests/bugs. */
  source: string;
  /** Compile without symbols instead of with -g. */
  stripped?: boolean;
  break?: string[];
  /** The event at which to stop, if the library detects it; glibc ends such a program by itself. */
  on?: string[];
  commands: string[];
  /** Matches the lines of the transcript that concern the bug. */
  tells: RegExp;
  /** How glibc's session differs. */
  glibc?: Partial<Pick<Bug, 'break' | 'commands'>>;
}

const checked = /^(broken|ok): |^ +(the one before|allocated|freed) /;
const stopped = /^detected |^(free|double free|malloc|corrupted).*|^#.* at tests\/bugs\//;

export const bugs: Record<string, Bug> = {
  overflow: {
    source: 'overflow.c',
    break: ['checkpoint'],
    commands: ['heap check'],
    tells: checked,
  },
  stale: {
    source: 'stale.cc',
    break: ['checkpoint'],
    commands: ['heap check', 'heap chunk current'],
    tells: /^(broken|ok): | is the start of |^ +(allocated|freed) /,
  },
  twice: {
    source: 'twice.c',
    on: ['double-free'],
    commands: ['backtrace'],
    tells: stopped,
  },
  cycle: {
    source: 'cycle.cc',
    break: ['checkpoint'],
    commands: ['heap leaks'],
    tells: /^ +\d+ +\d+ |lost: |^nothing is lost/,
  },
  grows: {
    source: 'grows.c',
    break: ['checkpoint'],
    commands: ['heap save before', 'continue', 'heap diff before'],
    tells: /^ +\d+ +\d+ |^since /,
  },
  race: {
    source: 'race.c',
    on: ['double-free'],
    commands: ['backtrace'],
    tells: new RegExp(`${stopped.source}|${checked.source}`),
    glibc: { break: ['checkpoint'], commands: ['heap check'] },
  },
  base: {
    source: 'base.cc',
    break: ['checkpoint'],
    commands: ['heap try-free listener'],
    tells: /^free\(/,
  },
  stripped: {
    source: 'stripped.c',
    stripped: true,
    break: ['_exit'],
    commands: ['heap check'],
    tells: checked,
  },
};

/** The mallocs on which to hunt; `list --debug` is the build with the guard. */
export const grounds = [
  'glibc',
  ...['list', 'paged', 'sharded'].flatMap((m) => [m, `${m} --debug`]),
];

/** The lines that concern each bug, by its name and the malloc. */
export type Found = Record<string, Record<string, string>>;

/** The session for a bug on a malloc. */
function sessionOf(name: string, ground: string): Bug {
  const bug = bugs[name];
  if (!bug) throw new Failure(`there is no bug ${name}`);
  return ground === 'glibc' ? { ...bug, ...bug.glibc, on: [] } : bug;
}

/** The lines of GDB that concern a bug on a malloc. */
export async function findBug(name: string, ground: string): Promise<string> {
  const bug = sessionOf(name, ground);
  const [malloc = '', debug] = ground.split(' ');
  const said = await transcript({
    program: [compiled(bug)],
    malloc,
    debug: debug !== undefined,
    break: bug.break ?? [],
    on: bug.on ?? [],
    commands: bug.commands,
  });
  const lines = stacksCut(said.split('\n'), bug.source).filter((line) => bug.tells.test(line));
  return lines.join('\n').replaceAll(basename(compiled(bug)), name);
}

/** Reduces each stack (allocated, freed) to the first function of the program itself, or one without a line. */
function stacksCut(lines: string[], source: string): string[] {
  let label: string | undefined;
  return lines.flatMap((line) => {
    const [, begins, first] = /^ +(allocated|freed) +(.*)$/.exec(line) ?? [];
    const text = first ?? /^ {8,}(\S.*)$/.exec(line)?.[1];
    label = begins ?? (text === undefined ? undefined : label);
    if (text === undefined || label === undefined) return [line];
    if (label === '' || (/:\d+\)/.test(text) && !text.includes(`(${source}:`))) return [];
    const shown = `  ${label}  ${text}`;
    label = ''; // omit the rest of the stack
    return [shown];
  });
}

/** All bugs on all mallocs. */
export async function findAll(): Promise<Found> {
  const found: Found = {};
  for (const name of Object.keys(bugs)) {
    const told: Record<string, string> = {};
    for (const ground of grounds) told[ground] = await findBug(name, ground);
    found[name] = told;
  }
  return found;
}

/** The commands to type, with -m M for all mallocs of ours. */
function typed(name: string, ground: string): string {
  const { on = [], break: stops = [], commands } = sessionOf(name, ground);
  const m = ground === 'glibc' ? 'glibc' : 'M';
  const options = [...stops.map((each) => `--break ${each}`), ...on.map((each) => `--on ${each}`)];
  const lines = commands.map((command) => `(gdb) ${command}`);
  return [['libmalloc gdb -m', m, ...options, '--', `./${name}`].join(' '), ...lines].join('\n');
}

/** The generated blocks of docs/debugging.md: `bug-overflow` and so on. */
export function bugBlock(block: string, found: Found): string | undefined {
  const name = /^bug-(\w+)$/.exec(block)?.[1] ?? '';
  const told = found[name];
  if (!told) return undefined;
  const glibc = typed(name, 'glibc');
  const ours = typed(name, 'list');
  const same = glibc.replace('-m glibc', '-m M') === ours;
  const width = Math.max(...grounds.map((ground) => ground.length)) + 2;
  const answers = grounds.map((ground) => {
    const lines = (told[ground] ?? '').split('\n').map((line) => line.replaceAll(/ {3,}/g, '  '));
    return lines.map((line, i) => `${(i ? '' : ground).padEnd(width)}${line}`).join('\n');
  });
  const sessions = same ? [ours] : [`${ours}\n`, glibc];
  return ['```text', ...sessions, '', ...answers, '```'].join('\n');
}

function compiled({ source, stripped }: Bug): string {
  const flags = ['-O2', stripped ? '-s' : '-g', '-fno-builtin', '-pthread'];
  return compileInto(join(root, 'build', 'tests'), join(root, 'tests', 'bugs', source), flags);
}
