// The text of a GDB session: a pure function of what was asked for, so that it can be printed and tested.

import { basename, join } from 'node:path';
import { Failure } from './errors.ts';
import type { Debuggee } from './gdb-program.ts';
import type { Malloc } from './mallocs.ts';
import { root } from './paths.ts';

/** What a session is made of. Files are absolute paths. */
export interface SessionPlan {
  malloc: Malloc;
  /** The value of LD_PRELOAD for the program; empty for none. */
  preload: string;
  program: Debuggee | undefined;
  core: string | undefined;
  /** Locations as the user gave them. */
  breaks: string[];
  /** The user's own commands. */
  script: string | undefined;
  batch: boolean;
  /** The environment that the program is to see. */
  env: Record<string, string | undefined>;
}

/** What only a session that is really started has: --print leaves it out. */
export interface Plumbing {
  /** LIBMALLOC_REPORT for the program. */
  report: string;
  /** The descriptor that is the program's standard output; GDB's own is another one. */
  stdout: number;
}

const family = [
  'malloc',
  'calloc',
  'realloc',
  'reallocarray',
  'free',
  'free_sized',
  'free_aligned_sized',
  'posix_memalign',
  'aligned_alloc',
  'memalign',
  'valloc',
  'pvalloc',
  'malloc_usable_size',
];

/** The variant's name when `m` is one of ours, also when it was given as a file. */
export function variantOf(m: Malloc): string | undefined {
  if (m.kind === 'variant') return m.name;
  return /^libmalloc-(\w+)\.so$/.exec(basename(m.file ?? ''))?.[1];
}

/**
 * The `break` command for a location. A bare `malloc` means ours: GDB would stop in the dynamic
 * linker's as well. A condition must not be looked at before our library is there.
 */
export function breakCommand(spec: string, m: Malloc): string {
  if (/[\r\n]/.test(spec) || spec.trim() === '')
    throw new Failure(`--break ${JSON.stringify(spec)} is no location`, {
      hint: 'give a function (malloc), FILE:LINE or FILE:FUNCTION, with `if CONDITION` if you like',
    });
  const [, location = spec, condition] = /^(.*?)\s+if\b\s*(.*)$/.exec(spec.trim()) ?? [];
  const variant = variantOf(m);
  const place = variant && family.includes(location.trim()) ? `${variant}.c:${location}` : location;
  if (condition === undefined) return `break ${place.trim()}`;
  return `break ${place.trim()} -force-condition if ${condition}`;
}

/** A word as a POSIX shell reads it. */
export function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The session file. GDB gets the program and its arguments on its command line (`gdbArguments`). */
export function sessionText(plan: SessionPlan, plumbing?: Plumbing): string {
  const lines = [
    `# A session of \`libmalloc gdb\`. By hand: ${shellLine(plan)}`,
    `source ${join(root, 'gdbinit')}`,
    `directory ${JSON.stringify(root)}`,
    ...(plan.core === undefined ? live(plan, plumbing) : postMortem(plan)),
  ];
  return `${lines.join('\n')}\n`;
}

function shellLine(plan: SessionPlan): string {
  return ['gdb', ...gdbArguments(plan, 'SESSION')].map(shellWord).join(' ').replaceAll('\n', ' ');
}

function live(plan: SessionPlan, plumbing: Plumbing | undefined): string[] {
  const { batch, malloc: m, script } = plan;
  const wanted = plan.breaks.length > 0 || batch || !variantOf(m) ? plan.breaks : ['malloc'];
  return [
    'set startup-with-shell on',
    ...wrapper(plan.preload, plumbing),
    ...environment(plan.env),
    ...(plumbing ? [`set environment LIBMALLOC_REPORT ${plumbing.report}`] : []),
    ...(batch ? ['set confirm off', 'set debuginfod enabled off'] : []),
    ...wanted.map((spec) => breakCommand(spec, m)),
    batch ? python('batch', script, plan.breaks.length > 0) : banner(m),
  ];
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
  const lines = [python('open_core', plan.core)];
  if (plan.batch) lines.push(python('batch_core', plan.script));
  return lines;
}

function python(call: string, ...args: (string | boolean | undefined)[]): string {
  const literals = args.map((each) =>
    typeof each === 'string'
      ? JSON.stringify(each)
      : each
        ? 'True'
        : each === false
          ? 'False'
          : 'None',
  );
  return `python import libmalloc.session; libmalloc.session.${call}(${literals.join(', ')})`;
}

function banner(m: Malloc): string {
  return `echo libmalloc: \`run\` starts the program on ${m.name}, \`heap\` shows its heap, \`help heap\` the rest\\n`;
}

/** GDB's arguments. What the user wrote in ~/.gdbinit counts when a person watches, not in a batch. */
export function gdbArguments(plan: SessionPlan, session: string): string[] {
  const { batch, program, script } = plan;
  const args = ['-q', ...(batch ? ['-nx', '-batch'] : []), '-x', session];
  if (script !== undefined && !batch) args.push('-x', script);
  if (program === undefined) return args;
  return plan.core === undefined
    ? [...args, '--args', program.file, ...program.args]
    : [...args, program.file];
}
