// Runs one program of the kit under one malloc, in a child that may crash or hang, and judges.

import { execaSync } from 'execa';
import { shellLine } from '../lib/words.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { type Env, type Launched, launch } from '../malloc/preload.ts';
import { findProgram, programs } from '../malloc/programs.ts';
import { execute } from '../process/execute.ts';
import type { Case, Evidence, Group, ProgramCase, Run, Subject, Verdict } from './case.ts';
import {
  caseLibrary,
  caseProgram,
  fromHere,
  ourCommand,
  programFlags,
  sourceOf,
} from './compile-case.ts';
import { gap } from './features.ts';

const TIMEOUT = 60;
/** A debug build does several times as much in each call. */
const DEBUG_PATIENCE = 4;
const PRINTED = 2000;

/** A case of the catalogue, from one line of its tables. */
export function programCase(group: Group, each: ProgramCase): Case {
  return {
    group,
    name: each.name,
    promise: each.promise,
    level: each.level ?? 'must',
    promised: each.promised ?? each.level === 'promise',
    quick: each.quick ?? false,
    run: (subject, patience) => judge(subject, each, patience),
  };
}

const skipped = (because: string): Verdict => ({ state: 'skipped', because, seconds: 0 });

async function judge(subject: Subject, each: ProgramCase, patience: number): Promise<Verdict> {
  const run = runFor(subject, each);
  const reason = obstacle(subject, each, run);
  if (reason !== undefined) return skipped(reason);
  const plan = planRun(subject, each.program, run);
  const slower = (subject.malloc.debug ? DEBUG_PATIENCE : 1) * (subject.machine?.patience ?? 1);
  const timeout = (run.timeout ?? TIMEOUT) * patience * slower;
  const result = await begin(subject, plan, timeout);
  const because = complaint(subject.malloc, run, result, timeout);
  if (because === undefined) return { state: 'passed', seconds: result.seconds };
  const failure = evidence(subject.malloc, each.program, run, plan, result);
  return { state: 'failed', because, seconds: result.seconds, failure };
}

/** Runs the program, here or on the machine. */
async function begin({ malloc, machine }: Subject, plan: Plan, timeout: number): Promise<Launched> {
  if (machine === undefined) return launch(malloc, plan.argv, { timeout, env: plan.env });
  const preload = [malloc.file, plan.settings.LD_PRELOAD].filter((file) => file !== undefined);
  const own = { MALLOC_UNDER_TEST: malloc.file ?? '', LD_PRELOAD: preload.join(':') };
  const [file = '', ...args] = machine.command(plan.argv, { ...plan.settings, ...own });
  return { ...(await execute(file, args, { timeout, env: process.env })), proofs: [] };
}

/**
 * The sizes for this malloc: the usual ones, smaller ones for a slow malloc, or stricter ones for
 * ours.
 */
function runFor({ malloc, slow }: Subject, each: ProgramCase): Run {
  const frugal = gap(malloc.name, 'reuse') !== undefined && malloc.kind === 'variant';
  return {
    ...each,
    ...(malloc.kind === 'variant' && each.strict),
    ...(malloc.debug && each.guarded),
    ...(slow && each.slow),
    ...(frugal && each.frugal),
  };
}

/** Why the case cannot be run at all; undefined when it can. */
function obstacle({ malloc, machine }: Subject, each: ProgramCase, run: Run): string | undefined {
  const lacks = malloc.kind === 'variant' ? (each.needs ?? []) : [];
  const reason = lacks
    .map((need) => gap(malloc.name, need, malloc.debug))
    .find((text) => text !== undefined);
  if (reason !== undefined) return reason;
  if (machine !== undefined) return machine.obstacle(each, run);
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
  /** What of the environment a reader has to set as well. */
  settings: Record<string, string>;
}

function planRun({ malloc, machine }: Subject, program: string, run: Run): Plan {
  const file = caseProgram(program, run.flags, machine);
  const library = run.library === undefined ? [] : [caseLibrary(run.library, [], machine)];
  const args = [...library, ...(run.args ?? []).map(String)];
  const behind = run.behind && caseLibrary(run.behind.program, run.behind.flags, machine);
  const settings = { ...run.env, ...(behind && { LD_PRELOAD: behind }) };
  const env = { ...process.env, LD_PRELOAD: '', MALLOC_UNDER_TEST: malloc.file ?? '', ...settings };
  return { argv: [...(run.via ?? []), file, ...args], env, settings };
}

/** What was broken, in a sentence; undefined when all is well. */
function complaint(
  malloc: Malloc,
  run: Run,
  result: Launched,
  timeout: number,
): string | undefined {
  const stderr = result.stderr.toString();
  const stdout = result.stdout.toString();
  if (result.timedOut) return `not over after ${Math.round(timeout)} s`;
  if (result.status !== (run.status ?? 0)) return ending(result);
  const silent = run.stderr ?? (malloc.kind === 'variant' ? /^$/ : /(?:)/);
  if (!silent.test(stderr)) return `printed on standard error: ${cut(stderr, 100)}`;
  if (run.stdout === '*' || malloc.kind !== 'variant') return undefined;
  const wanted = run.stdout ?? '';
  return stdout === wanted ? undefined : `printed “${cut(stdout, 100)}”, not “${cut(wanted, 100)}”`;
}

/**
 * How a program ended: its own message if it printed one (program.h), else its signal or status.
 */
export function ending(result: Launched): string {
  const lines = result.stderr.toString().trim().split('\n');
  const own = lines.map((line) => /^\S+\.[ch]:\d+: (.*)$/.exec(line)?.[1]).find((text) => text);
  if (own !== undefined) return own;
  const last = lines.at(-1) ?? '';
  const how = result.signal ? `ended by ${result.signal}` : `ended with status ${result.status}`;
  return last === '' ? how : `${how}: ${cut(last, 120)}`;
}

const cut = (text: string, length: number): string =>
  text.length > length ? `${text.slice(0, length)}…` : text.trimEnd();

function evidence(
  malloc: Malloc,
  program: string,
  run: Run,
  plan: Plan,
  result: Launched,
): Evidence {
  const source = sourceOf(program);
  return {
    source: fromHere(source),
    reproduce: reproduceLine(malloc, source, run, plan),
    debug: debugLine(malloc, plan.argv, plan.settings),
    printed: cut(result.stderr.toString(), PRINTED),
  };
}

/** Compiles the program and runs it under the malloc, without us. */
function reproduceLine(malloc: Malloc, source: string, run: Run, { argv, settings }: Plan): string {
  const flags = [...programFlags.filter((flag) => !flag.startsWith('-W')), '-pthread'];
  const cc = ['cc', ...flags, ...(run.flags ?? []), '-o', 'case', fromHere(source)];
  const { LD_PRELOAD: behind, ...others } = settings;
  const preload = [malloc.file, behind].filter((file) => file !== undefined);
  const variables = Object.entries({
    ...others,
    ...(preload.length > 0 && { LD_PRELOAD: preload.join(':') }),
  }).map(([name, value]) => `${name}=${value}`);
  const own = argv.indexOf(argv.find((word) => /\/\w[\w-]*-[0-9a-f]{10}$/.test(word)) ?? '');
  const words = [...argv.slice(0, own), './case', ...argv.slice(own + 1)];
  const command = variables.length > 0 ? ['env', ...variables, ...words] : words;
  return `${shellLine(cc)} && ${shellLine(command)}`;
}

/** The session that shows the program where it fails. */
export function debugLine(
  malloc: Malloc,
  argv: string[],
  settings: Record<string, string> = {},
): string {
  const variables = Object.entries(settings).map(([name, value]) => `${name}=${value}`);
  const known = malloc.kind !== 'file' ? malloc.name : fromHere(malloc.file ?? '');
  const spec = known.includes('/') || malloc.kind !== 'file' ? known : `./${known}`;
  const verb = ['gdb', ...(malloc.debug ? ['--debug'] : []), '-m', spec, '--'];
  return shellLine([...variables, ...ourCommand(), ...verb, ...argv.map(fromHere)]);
}
