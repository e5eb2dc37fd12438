// Runs real programs under a malloc and under glibc, and compares output and exit status.

import { realpathSync, rmSync, statSync } from 'node:fs';
import { temporaryFolder } from '../../lib/folders.ts';
import { besideMalloc } from '../../malloc/beside.ts';
import { readElf } from '../../malloc/elf.ts';
import { glibc, type Malloc } from '../../malloc/mallocs.ts';
import { type Launched, launch, type Proof } from '../../malloc/preload.ts';
import { findProgram, type Program, programs } from '../../malloc/programs.ts';
import { disproof } from '../../malloc/proof.ts';
import { atOurEnd } from '../../process/ending.ts';
import type { Case, Evidence, Subject, Verdict } from '../case.ts';
import { commandLine, debugLine, missing, overdue, patiently, skipped } from '../judge.ts';
import { lack } from '../lacks.ts';
import { prepared, workshop } from '../workshop.ts';
import { type RealProgram, realPrograms } from './real-programs-table.ts';

const TIMEOUT = 90;
const GiB = 2 ** 30;
/** The reason to skip a program that fails or prints nothing even on glibc. */
export const idle = 'does not work here on glibc either';

/** How a command is run. */
interface Play {
  malloc: Malloc;
  /** Preloaded after the malloc: provides the functions that it lacks and programs need. */
  standIn?: string | undefined;
  /** `$N`, which says how much there is to do. */
  n: number;
  /** In seconds of processor time. */
  timeout: number;
}

const isDumb = ({ kind, name }: Malloc): boolean => kind === 'variant' && name === 'dumb';

/** The variables that the command gets in addition to ours. */
function settings(each: RealProgram, { malloc, n }: Pick<Play, 'malloc' | 'n'>) {
  return {
    ...{ LC_ALL: 'C.UTF-8', TZ: 'UTC', GIT_PAGER: 'cat', IN: workshop(), NODE: process.execPath },
    N: String(n),
    ...each.env,
    ...(isDumb(malloc) && each.dumb),
  };
}

async function play(each: RealProgram, { malloc, standIn, n, timeout }: Play): Promise<Launched> {
  const cwd = temporaryFolder('check');
  const remove = () => rmSync(cwd, { recursive: true, force: true });
  const release = atOurEnd(remove);
  const env = { ...process.env, ...settings(each, { malloc, n }), ...behind(standIn) };
  const report = malloc.kind !== 'glibc';
  // A malloc that never reuses memory must not use up all of the machine.
  const limits = isDumb(malloc) ? { addressSpace: 2 * GiB, cpu: 20, core: 0 } : {};
  try {
    const argv = ['/bin/sh', '-c', each.command];
    const result = await launch(malloc, argv, { cwd, env, report, limits, ...patiently(timeout) });
    return { ...result, proofs: result.proofs.map((proof) => credited(proof, malloc, standIn)) };
  } finally {
    release();
    remove();
  }
}

/** The proof, with the functions of the stand-in counted as the malloc's. */
const credited = (proof: Proof, { file }: Malloc, standIn?: string): Proof =>
  Object.fromEntries(
    Object.entries(proof).map(([name, value]) => [name, value === standIn ? file : value]),
  ) as unknown as Proof;

const behind = (standIn?: string) =>
  standIn && { LD_PRELOAD: [standIn, process.env.LD_PRELOAD].filter(Boolean).join(':') };

/** The result of each command on glibc, which runs once. */
const references = new Map<string, Promise<Launched>>();

function reference(each: RealProgram, how: Omit<Play, 'malloc' | 'standIn'>): Promise<Launched> {
  const key = `${each.name} ${how.n}`;
  const known = references.get(key) ?? playFirst(each, { ...how, malloc: glibc });
  references.set(key, known);
  return known;
}

async function playFirst(each: RealProgram, how: Play): Promise<Launched> {
  if (each.prepare !== undefined) await prepared(...each.prepare);
  return play(each, how);
}

/** Names the first program that is not installed, and its package; undefined if all are. */
function absent(each: RealProgram): string | undefined {
  for (const name of each.needs) {
    const entry = programs()[name];
    if (entry === undefined) throw new Error(`${name} is not in tests/programs.json`);
    if (findProgram(name, entry) === undefined)
      return `${name} is missing: apt-get install ${entry.package}`;
  }
  return undefined;
}

/** The file that must be proved to use the malloc; undefined if a script starts the program. */
function mainProgram({ needs, ownMalloc }: RealProgram): string | undefined {
  const [name] = needs;
  if (ownMalloc) return undefined;
  if (name === undefined) return process.execPath;
  const file = findProgram(name, programs()[name] as Program) as string;
  return statSync(file).isFile() && readElf(file) ? realpathSync(file) : undefined;
}

/** A run's messages without the name of its temporary folder, which differs from run to run. */
const said = ({ stderr }: Launched): string =>
  stderr.toString().replaceAll(/libmalloc-check-\w+/g, '');

const briefly = (text: string): string =>
  text.length > 80 ? `${text.slice(0, 80).replaceAll('\n', ' / ')}…` : text.trimEnd();

function complaint(each: RealProgram, malloc: Malloc, ours: Launched, theirs: Launched) {
  if (ours.timedOut) return overdue(ours);
  if (ours.status !== theirs.status)
    return `ended with status ${ours.status}, on glibc with ${theirs.status}`;
  if (!ours.stdout.equals(theirs.stdout))
    return `printed ${ours.stdout.length} bytes that differ from the ${theirs.stdout.length} on glibc`;
  if (said(ours) !== said(theirs))
    return `said on standard error “${briefly(said(ours))}”, on glibc “${briefly(said(theirs))}”`;
  if (each.ownMalloc || malloc.kind === 'glibc') return undefined;
  const main = mainProgram(each);
  if (main !== undefined && !ours.proofs.some(({ executable }) => executable === main))
    return `${main} did not run on it, according to the reports of all programs started`;
  return disproof(malloc, ours.proofs);
}

/** Whether the program calls functions of another malloc beside malloc. */
function besides(each: RealProgram, { file }: Malloc): string | undefined {
  const main = file === undefined ? undefined : mainProgram(each);
  return main === undefined ? undefined : besideMalloc(main, file);
}

/** Why this malloc cannot run the program by design. */
function obstacle(subject: Subject, each: RealProgram): string | undefined {
  const { malloc } = subject;
  const missing = absent(each) ?? besides(each, malloc);
  if (missing !== undefined || malloc.kind !== 'variant') return missing;
  if (isDumb(malloc) && each.dumb === undefined) return lack(subject, 'sizes')?.because;
  return each.cannot?.[malloc.name];
}

/** `$N`: 1 for a malloc whose calls walk all blocks, or that never reuses one, else 100. */
function amount(subject: Subject): number {
  return subject.slow || lack(subject, 'reuse') !== undefined ? 1 : 100;
}

async function judge(subject: Subject, each: RealProgram, patience: number): Promise<Verdict> {
  const { malloc, slow } = subject;
  const lacking = missing(subject, 'programs');
  if (lacking !== undefined) return skipped(lacking);
  const reason = obstacle(subject, each);
  if (reason !== undefined) return skipped({ because: reason });
  const how = { n: amount(subject), timeout: TIMEOUT * patience };
  const theirs = await reference(each, how);
  if (theirs.timedOut || theirs.stdout.length === 0)
    return skipped({ because: `${each.name} ${idle}` });
  const ours = await play(each, { malloc, standIn: subject.standIn, ...how });
  const because = complaint(each, malloc, ours, theirs);
  if (because === undefined) return { state: 'passed', seconds: ours.seconds };
  if (ours.timedOut && slow)
    return skipped({
      because: 'so many blocks are live at once that calls that walk all of them take too long',
    });
  return {
    state: 'failed',
    because,
    seconds: ours.seconds,
    failure: evidence(subject, each, how.n, ours),
  };
}

function evidence(subject: Subject, each: RealProgram, n: number, { stderr }: Launched): Evidence {
  const argv = ['/bin/sh', '-c', each.command];
  const needed = settings(each, { malloc: subject.malloc, n });
  return {
    source: each.needs.join(', ') || 'node',
    reproduce: `cd $(mktemp -d) && ${commandLine(subject, argv, needed)}`,
    debug: debugLine(subject, argv, needed),
    printed: stderr.toString().slice(0, 2000),
  };
}

export function realProgramCases(): Case[] {
  return realPrograms.map((each) => ({
    group: 'programs',
    name: each.name.replaceAll(' ', '-'),
    promise: `${each.name} has the same output and exit status as on glibc`,
    level: 'must',
    promised: true,
    quick: each.quick ?? false,
    run: (subject, patience) => judge(subject, each, patience),
  }));
}
