// Runs one program of the kit under one malloc, in a child that may crash or hang, and judges.

import { readFileSync } from 'node:fs';
import { execaSync } from 'execa';
import { shellLine } from '../lib/words.ts';
import { needsLink } from '../malloc/aside.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { type Env, type Launched, launch, preloadValue } from '../malloc/preload.ts';
import { findProgram, programs } from '../malloc/programs.ts';
import { execute } from '../process/execute.ts';
import type { Case, Evidence, Group, ProgramCase, Run, Subject, Verdict } from './case.ts';
import {
  caseCommand,
  caseLibrary,
  caseProgram,
  fromHere,
  ourCommand,
  sourceOf,
} from './compile-case.ts';
import { firstLack, lack, toldLacks } from './lacks.ts';
import type { Lack, Need } from './needs.ts';
import { whereIs } from './stacks.ts';
import { withoutWitness, witness, witnessed } from './witnessed.ts';

/** Seconds of processor time that a case may use; on the clock, thirty times that. */
const TIMEOUT = 60;
const CLOCK = 30;
/** A case counts as hung when all its threads sleep this many seconds; no case sleeps so long. */
const IDLE = 15;
/** A debug build does several times as much work in each call. */
const DEBUG_PATIENCE = 4;
const PRINTED = 2000;

/** What every case of a group needs, in addition to its own `needs`. */
const groupNeeds: Partial<Record<Group, Need[]>> = {
  structure: ['blocks'],
  threads: ['blocks', 'threads'],
  process: ['blocks'],
  exhaustion: ['blocks'],
  misuse: ['blocks'],
  random: ['blocks'],
  programs: ['blocks'],
};

/** Why no case of this group with these needs can run on the malloc; undefined if it can. */
export const missing = (subject: Subject, group: Group, needs: readonly Need[] = []) =>
  firstLack(subject, ['calls', ...(groupNeeds[group] ?? []), ...needs]);

/** Makes a case of one entry in the tables of `cases/`. */
export function programCase(group: Group, each: ProgramCase): Case {
  return {
    group,
    name: each.name,
    promise: each.promise,
    level: each.level ?? 'must',
    promised: each.promised ?? each.level === 'promise',
    quick: each.quick ?? false,
    ...(each.question && { question: each.question }),
    run: (subject, patience) => {
      const why = missing(subject, group, each.needs);
      return why === undefined ? judge(subject, each, patience) : skipped(why);
    },
  };
}

/** The verdict of a case that cannot run on this malloc. */
export const skipped = async (why: Lack): Promise<Verdict> => ({
  state: 'skipped',
  ...why,
  seconds: 0,
});

async function judge(subject: Subject, each: ProgramCase, patience: number): Promise<Verdict> {
  const run = runFor(subject, each);
  const reason = obstacle(subject, each, run);
  if (reason !== undefined) return skipped({ because: reason });
  const plan = planRun(subject, each.program, run);
  const slower = (subject.malloc.debug ? DEBUG_PATIENCE : 1) * (subject.machine?.patience ?? 1);
  const allowed = patiently((run.timeout ?? TIMEOUT) * patience * slower);
  const result = await begin(subject, plan, allowed);
  const because = complaint(subject.malloc, run, result);
  if (because === undefined) return { state: 'passed', seconds: result.seconds };
  const failure = evidence(subject, each.program, run, plan, result);
  return { state: 'failed', because, seconds: result.seconds, failure };
}

/** Runs the program, here or on the machine. */
async function begin(
  { malloc, machine }: Subject,
  plan: Plan,
  allowed: ReturnType<typeof patiently>,
): Promise<Launched> {
  if (machine === undefined) return launch(malloc, plan.argv, { ...allowed, env: plan.env });
  const preload = [malloc.file, plan.settings.LD_PRELOAD].filter((file) => file !== undefined);
  const own = { MALLOC_UNDER_TEST: malloc.file ?? '', LD_PRELOAD: preload.join(':') };
  const [file = '', ...args] = machine.command(plan.argv, { ...plan.settings, ...own });
  const { timeout, patience } = allowed;
  const { cpu, idle } = patience; // GDB would show the emulator
  return {
    ...(await execute(file, args, { timeout, patience: { cpu, idle }, env: process.env })),
    proofs: [],
    unreached: [],
    findings: [],
  };
}

/** The limits for a program that may use `cpu` seconds of processor time. */
export const patiently = (cpu: number) => ({
  timeout: cpu * CLOCK,
  patience: { cpu, idle: Math.min(IDLE, cpu), ask: whereIs },
});

/** Says how a program exceeded its limits. */
export function overdue({ lost, seconds }: Launched): string {
  const where = lost?.answer === undefined ? '' : ` in ${lost.answer}`;
  if (lost?.because === 'idle')
    return `hung${where || `: nothing moved for ${Math.round(lost.seconds)} s`}`;
  if (lost?.because === 'busy')
    return `not over after ${Math.round(lost.seconds)} s of processor time${where && `, then${where}`}`;
  return `not over after ${Math.round(seconds)} s`;
}

/**
 * The arguments for this malloc: the usual ones, smaller ones for a slow or frugal malloc, stricter
 * ones for ours.
 */
function runFor(subject: Subject, each: ProgramCase): Run {
  const { malloc, slow } = subject;
  const frugal = lack(subject, 'reuse') !== undefined || lack(subject, 'sizes') !== undefined;
  return {
    ...each,
    ...(malloc.kind === 'variant' && each.strict),
    ...(malloc.debug && each.guarded),
    ...(slow && each.slow),
    ...(frugal && each.frugal),
  };
}

/** Why the case cannot run here; undefined if it can. */
function obstacle({ malloc, machine }: Subject, each: ProgramCase, run: Run): string | undefined {
  if (machine !== undefined) return machine.obstacle(each, run, malloc.name);
  const [command] = run.via ?? [];
  const entry = command === undefined ? undefined : programs()[command];
  if (command !== undefined && entry && findProgram(command, entry) === undefined)
    return `${command} is missing: apt-get install ${entry.package}`;
  if (run.possible === undefined) return undefined;
  const [file = '', ...args] = run.possible.command;
  const { exitCode } = execaSync(file, args, { reject: false });
  return exitCode === 0 ? undefined : run.possible.otherwise;
}

interface Plan {
  argv: string[];
  env: Env;
  /** The variables that a reader has to set, too, to reproduce the run. */
  settings: Record<string, string>;
}

/** The variables that tell a program of the kit what the malloc lacks; empty if it lacks nothing. */
export const toldTo = (subject: Subject, program: string): Record<string, string> =>
  subject.lacks === undefined ? {} : toldLacks(subject, readFileSync(sourceOf(program), 'utf8'));

/** The environment of a program of the kit. `more` may preload a library behind the malloc. */
export function environmentFor(subject: Subject, more: Record<string, string> = {}): Env {
  const { malloc, standIn } = subject;
  const behind = [standIn, witness(), more.LD_PRELOAD]
    .filter((file) => file !== undefined)
    .join(':');
  const ours = { MALLOC_UNDER_TEST: preloadValue(malloc) };
  return { ...process.env, ...ours, ...more, LD_PRELOAD: behind };
}

/**
 * The shell command that runs `argv` under the malloc; by a link in the current folder if LD_PRELOAD
 * would split the path of the malloc.
 */
export function commandLine(subject: Subject, argv: string[], more: Record<string, string> = {}) {
  const { LD_PRELOAD: behind, ...others } = more;
  const { file } = subject.malloc;
  const aside = file !== undefined && needsLink(file);
  const preload = [aside ? './malloc.so' : file, subject.standIn, behind].filter((path) => path);
  const variables = Object.entries({
    ...others,
    ...(preload.length > 0 && { LD_PRELOAD: preload.join(':') }),
  }).map(([name, value]) => `${name}=${value}`);
  const command = shellLine(variables.length > 0 ? ['env', ...variables, ...argv] : argv);
  return aside ? `${shellLine(['ln', '-sf', file, 'malloc.so'])} && ${command}` : command;
}

function planRun(subject: Subject, program: string, run: Run): Plan {
  const { machine } = subject;
  const file = caseProgram(program, run.flags, machine);
  const library = run.library === undefined ? [] : [caseLibrary(run.library, [], machine)];
  const args = [...library, ...(run.args ?? []).map(String)];
  const behind = run.behind && caseLibrary(run.behind.program, run.behind.flags, machine);
  const told = toldTo(subject, program);
  const settings = { ...told, ...run.env, ...(behind && { LD_PRELOAD: behind }) };
  const env = machine === undefined ? environmentFor(subject, settings) : {};
  return { argv: [...(run.via ?? []), file, ...args], env, settings };
}

/** What was broken, in a sentence; undefined if nothing was. */
function complaint(malloc: Malloc, run: Run, result: Launched): string | undefined {
  const stderr = withoutWitness(result.stderr.toString());
  const stdout = result.stdout.toString();
  if (result.timedOut) return overdue(result);
  if (result.status !== (run.status ?? 0)) return ending(result);
  const silent = run.stderr ?? (malloc.kind === 'variant' ? /^$/ : /(?:)/);
  if (!silent.test(stderr)) return `printed on standard error: ${cut(stderr, 100)}`;
  if (run.stdout === '*' || malloc.kind !== 'variant') return undefined;
  const wanted = run.stdout ?? '';
  return stdout === wanted ? undefined : `printed “${cut(stdout, 100)}”, not “${cut(wanted, 100)}”`;
}

/**
 * How a program ended, and where it was: its own message if it printed one (program.h), else its
 * signal or status.
 */
export function ending(result: Launched): string {
  const seen = witnessed(result.stderr.toString());
  const lines = withoutWitness(result.stderr.toString()).trim().split('\n');
  const own = lines.map((line) => /^\S+\.[ch]:\d+: (.*)$/.exec(line)?.[1]).find((text) => text);
  if (own !== undefined) return seen === undefined ? own : `${own}; it was${seen.where}`;
  const last = lines.at(-1) ?? '';
  if (last !== '' && result.status === 1) return cut(last, 120);
  const signal = result.signal ?? seen?.signal;
  const how = signal ? `ended by ${signal}` : `ended with status ${result.status}`;
  return `${how}${seen?.where ?? ''}${last === '' ? '' : `: ${cut(last, 120)}`}`;
}

/** Makes text printable, because a broken malloc may write any bytes, and shortens it. */
function cut(text: string, length: number): string {
  const clean = text.replaceAll(/[^\t\n\x20-\x7e\u00a0-\uffff]/g, '?');
  return clean.length > length ? `${clean.slice(0, length)}…` : clean.trimEnd();
}

function evidence(
  subject: Subject,
  program: string,
  run: Run,
  plan: Plan,
  result: Launched,
): Evidence {
  const source = sourceOf(program);
  return {
    source: fromHere(source),
    reproduce: reproduceLine(subject, source, run, plan),
    debug: debugLine(subject, plan.argv, plan.settings),
    printed: cut(withoutWitness(result.stderr.toString()), PRINTED),
  };
}

/** The shell command that compiles the program and runs it under the malloc, without our command. */
function reproduceLine(
  subject: Subject,
  source: string,
  run: Run,
  { argv, settings }: Plan,
): string {
  const own = argv.indexOf(argv.find((word) => /\/\w[\w-]*-[0-9a-f]{10}$/.test(word)) ?? '');
  const words = [...argv.slice(0, own), './case', ...argv.slice(own + 1)];
  return `${shellLine(caseCommand(source, run.flags))} && ${commandLine(subject, words, settings)}`;
}

/** The shell command for a GDB session with the failing program. */
export function debugLine(
  { malloc, standIn }: Subject,
  argv: string[],
  { LD_PRELOAD: more, ...settings }: Record<string, string> = {},
): string {
  const behind = [standIn, more].filter((file) => file).join(':');
  const variables = Object.entries({ ...settings, ...(behind && { LD_PRELOAD: behind }) }).map(
    ([name, value]) => `${name}=${value}`,
  );
  const known = malloc.kind !== 'file' ? malloc.name : fromHere(malloc.file ?? '');
  const spec = known.includes('/') || malloc.kind !== 'file' ? known : `./${known}`;
  const verb = ['gdb', ...(malloc.debug ? ['--debug'] : []), '-m', spec, '--'];
  return shellLine([...variables, ...ourCommand(), ...verb, ...argv.map(fromHere)]);
}
