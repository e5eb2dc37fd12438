// The text of a GDB session: a pure function of the options, so that it can be printed and tested.

import { join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { shellLine, shellWord } from '../lib/words.ts';
import { type Malloc, variantOf } from '../malloc/mallocs.ts';
import type { Debuggee } from './debuggee.ts';

/** The parts of a session. Files are absolute paths. */
export interface SessionPlan {
  malloc: Malloc;
  /** The value of LD_PRELOAD for the program; empty for none. */
  preload: string;
  /** Whether the library that keeps a table of live blocks stands in front of the malloc. */
  tracked: boolean;
  program: Debuggee | undefined;
  core: string | undefined;
  /** A running process to attach to. */
  pid: number | undefined;
  /** Locations as the user gave them. */
  breaks: string[];
  /** The call of malloc at which to stop: 1 is the first. */
  atCall: number | undefined;
  /** The events that the session stops at when the library detects them. */
  on: string[];
  /** Which process goes on under GDB after a fork. */
  follow: Follow | undefined;
  /** The user's own commands. */
  script: string | undefined;
  batch: boolean;
  /** The environment that the program is to see. */
  env: Record<string, string | undefined>;
}

/** Set only in a started session; --print leaves it out. */
export interface Plumbing {
  /** LIBMALLOC_REPORT for the program. */
  report: string;
  /** The descriptor that is the program's standard output; GDB's own is another one. */
  stdout: number;
}

export const follows = ['parent', 'child', 'both'] as const;
export type Follow = (typeof follows)[number];

/** The events at which native/gdb/stops.py can stop. */
export const events = ['double-free', 'corruption', 'oom'] as const;

/** The malloc family, and the parameters as our sources call them. */
const parameters: Record<string, string[]> = {
  malloc: ['size'],
  calloc: ['count', 'size'],
  realloc: ['p', 'size'],
  reallocarray: ['p', 'count', 'size'],
  free: ['p'],
  free_sized: ['p', 'size'],
  free_aligned_sized: ['p', 'alignment', 'size'],
  posix_memalign: ['out', 'alignment', 'size'],
  aligned_alloc: ['alignment', 'size'],
  memalign: ['alignment', 'size'],
  valloc: ['size'],
  pvalloc: ['size'],
  malloc_usable_size: ['p'],
};

/** glibc's own names: the dynamic linker has a malloc as well, for before glibc is there. */
const glibcs: Record<string, string> = {
  malloc: '__libc_malloc',
  calloc: '__libc_calloc',
  realloc: '__libc_realloc',
  free: '__libc_free',
  memalign: '__libc_memalign',
};

/** The registers that hold the first arguments of a call when it begins. */
const registers: Partial<Record<NodeJS.Architecture, string[]>> = {
  x64: ['$rdi', '$rsi', '$rdx'],
  arm64: ['$x0', '$x1', '$x2'],
};

/**
 * A condition on a function of the family, in terms that hold at its first instruction: `n` (bytes),
 * `ptr` (a block) and the parameters become registers. That works without debug information, and
 * where the compiler has inlined the rest of the function, GDB cannot tell whose `size` is meant.
 */
function conditionOf(condition: string, name: string): string {
  const names = parameters[name] ?? [];
  const words: Record<string, string> = {
    n: names.includes('count') ? '(count * size)' : 'size',
    ptr: 'p',
  };
  const plain = condition.replaceAll(/(?<![\w$.>])(n|ptr)\b/g, (word) => {
    const meant = words[word] ?? word;
    if (names.includes(meant) || meant.startsWith('(')) return meant;
    throw new Failure(`${name} has no ${word} that a breakpoint could ask for`, {
      hint: '`n` is a number of bytes, `ptr` a block: malloc:n>4096, free:ptr==0x5555555592a0',
    });
  });
  const passed = registers[process.arch];
  if (!passed) return plain;
  return plain.replaceAll(/(?<![\w$.>])[a-z]+\b/g, (word) =>
    names.includes(word) ? `(unsigned long)${passed[names.indexOf(word)]}` : word,
  );
}

/** What a breakpoint consists of; `guard` is a condition of ours that comes before the user's. */
interface Stop {
  place: string;
  condition: string | undefined;
  family: boolean;
  guard: string | undefined;
}

/**
 * A bare `malloc` means the one in use: GDB would stop in the dynamic linker's as well, and in libc's. A
 * condition must not be looked at before the library is there.
 */
function stopOf(spec: string, m: Malloc): Stop {
  if (/[\r\n]/.test(spec) || spec.trim() === '')
    throw new Failure(`--break ${JSON.stringify(spec)} is no location`, {
      hint: 'give a function (malloc), FILE:LINE or FILE:FUNCTION, with `if CONDITION` if you like, or malloc:n>4096',
    });
  const variant = variantOf(m);
  const placed = (name: string): string =>
    variant ? `${variant}.c:${name}` : m.kind === 'glibc' ? (glibcs[name] ?? name) : name;
  const asked = /^\s*(\w+):(.*\D.*)$/.exec(spec) ?? /^(.*?)\s+if\b\s*(.*)$/.exec(spec.trim());
  const [, location = spec, condition] =
    asked && (asked[1] ?? '') in parameters
      ? asked
      : (/^(.*?)\s+if\b\s*(.*)$/.exec(spec.trim()) ?? []);
  const name = location.trim();
  const family = name in parameters;
  return {
    place: family ? placed(name) : name,
    condition: family && condition !== undefined ? conditionOf(condition, name) : condition,
    family,
    // a peer's functions have names that other files have as well
    guard: family && !variant && m.kind !== 'glibc' ? `$_in_use("${name}")` : undefined,
  };
}

/** The `break` command for a location. */
export function breakCommand(spec: string, m: Malloc): string {
  const { place, condition, guard } = stopOf(spec, m);
  if (condition === undefined && guard === undefined) return `break ${place}`;
  const all =
    guard && condition !== undefined ? `${guard} && (${condition})` : (guard ?? condition);
  return `break ${place} -force-condition if ${all}`;
}

/** The same, and before it what refuses a condition that GDB cannot evaluate. */
function breakLines(spec: string, m: Malloc): string[] {
  const { place, condition, family } = stopOf(spec, m);
  const check = python('in_use', 'check', place, condition, m.file, family);
  return [...(condition === undefined ? [] : [check]), breakCommand(spec, m)];
}

/** The session file. GDB gets the program and its arguments on its command line (`gdbArguments`). */
export function sessionText(plan: SessionPlan, plumbing?: Plumbing): string {
  const lines = [
    `# A session of \`libmalloc gdb\`. By hand: ${gdbLine(plan, 'SESSION').replaceAll('\n', ' ')}`,
    `source ${join(root, 'gdbinit')}`,
    `directory ${JSON.stringify(root)}`,
    ...(plan.core !== undefined
      ? postMortem(plan)
      : plan.pid !== undefined
        ? attached(plan)
        : live(plan, plumbing)),
  ];
  return `${lines.join('\n')}\n`;
}

/** The command that starts the session by hand. */
export function gdbLine(plan: SessionPlan, session: string): string {
  return shellLine(['gdb', ...gdbArguments(plan, session)]);
}

function live(plan: SessionPlan, plumbing: Plumbing | undefined): string[] {
  const { batch, script } = plan;
  return [
    'set startup-with-shell on',
    ...wrapper(plan.preload, plumbing),
    ...environment(plan.env),
    ...(plumbing ? [`set environment LIBMALLOC_REPORT ${plumbing.report}`] : []),
    ...(batch ? ['set confirm off', 'set debuginfod enabled off'] : []),
    ...following(plan.follow),
    ...stops(plan),
    batch ? python('session', 'batch', script, hasStops(plan)) : banner(plan),
  ];
}

const hasStops = ({ breaks, atCall, on }: SessionPlan): boolean =>
  breaks.length > 0 || atCall !== undefined || on.length > 0;

/** Where the program stops; without --break an interactive session stops at our first malloc. */
function stops(plan: SessionPlan): string[] {
  const { atCall, batch, breaks, malloc: m, on, pid } = plan;
  const quiet = hasStops(plan) || batch || pid !== undefined || !variantOf(m);
  return [
    ...(quiet ? breaks : ['malloc']).flatMap((spec) => breakLines(spec, m)),
    ...(atCall === undefined
      ? []
      : [`t${breakCommand('malloc', m)}`, `ignore $bpnum ${atCall - 1}`]),
    ...on.map((event) => python('stops', 'on', event)),
  ];
}

function following(follow: Follow | undefined): string[] {
  if (follow === undefined) return [];
  if (follow === 'both') return ['set detach-on-fork off', 'set schedule-multiple on'];
  return [`set follow-fork-mode ${follow}`];
}

function attached(plan: SessionPlan): string[] {
  const { batch, pid, script } = plan;
  const settings = ['set debuginfod enabled off', ...(batch ? ['set confirm off'] : [])];
  if (batch) return [...settings, python('session', 'batch_attached', pid, script)];
  return [...settings, python('session', 'attach', pid), ...following(plan.follow), ...stops(plan)];
}

/**
 * The preload is set between the start-up shell and the program, so that it reaches the program
 * alone: neither GDB nor that shell. A shell takes a redirection anywhere in a command.
 */
function wrapper(preload: string, plumbing: Plumbing | undefined): string[] {
  const words = preload === '' ? ['env'] : ['env', `LD_PRELOAD=${shellWord(preload)}`];
  if (plumbing) words.push(`>&${plumbing.stdout}`, `${plumbing.stdout}>&-`);
  return words.length > 1 ? [`set exec-wrapper ${words.join(' ')}`] : [];
}

/** GDB adds LINES and COLUMNS to the program's environment, and we gave it a SHELL of its own. */
function environment(env: SessionPlan['env']): string[] {
  return ['SHELL', 'LINES', 'COLUMNS'].map((name) =>
    env[name] === undefined ? `unset environment ${name}` : `set environment ${name} ${env[name]}`,
  );
}

function postMortem(plan: SessionPlan): string[] {
  const lines = [python('session', 'open_core', plan.core)];
  if (plan.batch) lines.push(python('session', 'batch_core', plan.script));
  return lines;
}

function python(module: string, call: string, ...args: unknown[]): string {
  const literals = args.map((each) =>
    each === undefined
      ? 'None'
      : typeof each === 'boolean'
        ? each
          ? 'True'
          : 'False'
        : JSON.stringify(each),
  );
  return `python import libmalloc.${module}; libmalloc.${module}.${call}(${literals.join(', ')})`;
}

function banner({ malloc: m, tracked }: SessionPlan): string {
  const text =
    variantOf(m) || m.kind === 'glibc' || tracked
      ? `\`run\` starts the program on ${m.name}, \`heap\` shows its heap, \`help heap\` the rest`
      : `\`run\` starts the program on ${m.name}, \`heap\` shows its heap, or says why it cannot be read`;
  return `echo libmalloc: ${text}\\n`;
}

/** GDB's arguments. An interactive session reads ~/.gdbinit; a batch does not. */
export function gdbArguments(plan: SessionPlan, session: string): string[] {
  const { batch, program, script } = plan;
  const args = ['-q', ...(batch ? ['-nx', '-batch'] : []), '-x', session];
  if (script !== undefined && !batch) args.push('-x', script);
  if (program === undefined || plan.pid !== undefined) return args;
  return plan.core === undefined
    ? [...args, '--args', program.file, ...program.args]
    : [...args, program.file];
}
