// libmalloc profile: who allocates, by call stacks, under any malloc.

import { closeSync, existsSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { writeJson } from '../lib/json.ts';
import { writeOutput } from '../lib/outputs.ts';
import { FAILED } from '../lib/status.ts';
import { howItEnded, launchInForeground } from '../malloc/foreground.ts';
import { resolveMalloc } from '../malloc/mallocs.ts';
import { disproof } from '../malloc/proof.ts';
import { checkEnvironment, variableFault } from '../malloc/variables.ts';
import { type Profile, readProfile } from '../trace/profile.ts';
import { openTrace, proofsOf } from '../trace/trace.ts';
import { assemble } from './assemble.ts';
import { compare, toFoldedDifference, unlikeness } from './compare.ts';
import { formOf, writeProfile } from './forms.ts';
import { type Measure, measures } from './measures.ts';
import { describeChanges, describeProfile } from './profile-text.ts';

interface Options {
  malloc?: string;
  every?: number;
  all?: boolean;
  roots?: boolean;
  output: string[];
  of?: Measure;
  top: number;
  seconds?: number;
  signal?: string;
  read?: string;
  diff?: boolean;
  quiet?: boolean;
  json?: string;
}

/** The verb `profile`. */
export function profileCommand(): Command {
  return new Command('profile')
    .summary('who allocates: call stacks, sampled or complete')
    .description(
      'Runs CMD with the malloc M and samples its allocations, and those of everything it starts, by bytes: ' +
        'which call stacks allocate, what of it is live at the end and at the peak, and what is freed at ' +
        'once. Says so on standard error when CMD has ended; -o writes it in other forms, too.',
    )
    .usage(
      '[options] -- CMD…\n       libmalloc profile [options] --read FILE\n       libmalloc profile [options] --diff A B',
    )
    .argument('[cmd...]', 'the program and its arguments; with --diff, two profiles')
    .option('-m, --malloc <M>', 'NAME, FILE.so or NAME=FILE.so (default: the last variant)')
    .option(
      '--every <bytes>',
      'bytes between two samples in the mean: 64K, 1M… (default: 512K)',
      parseBytes,
    )
    .option('--all', 'look at every allocation: exact sums, and slower')
    .option(
      '--roots',
      'at each exit, find what still points to the live blocks, and which are lost (with --all always; ' +
        'otherwise under mallocs with libmalloc_walk)',
    )
    .option(
      '-o, --output <file>',
      'write the profile as well, in the form of its name: .html (page), .pb.gz (pprof), .folded, ' +
        '.speedscope.json, .json (for view and --diff); may be repeated',
      (file: string, files: string[]) => [...files, file],
      [],
    )
    .addOption(
      new Option(
        '--of <what>',
        'what .folded files and the text are about (default: all but the text of short)',
      ).choices(Object.keys(measures)),
    )
    .option('--top <n>', 'lines of each table', parseCount, 10)
    .option('--seconds <s>', 'a snapshot of what is live every so many seconds', parseCount)
    .option(
      '--signal <signal>',
      'a snapshot whenever a process receives it: USR1, USR2, HUP, URG, WINCH, IO, PWR',
    )
    .option('--read <file>', 'what a service wrote under LIBMALLOC_PROFILE, or a .json of ours')
    .option('--diff', 'compare two profiles, each a .json or what a service wrote')
    .option('-q, --quiet', 'nothing on standard error')
    .option(
      '--json <file>',
      'write the profile as JSON (- is standard output, with --read and --diff only)',
    )
    .passThroughOptions()
    .showHelpAfterError('(libmalloc profile --help explains)')
    .addHelpText(
      'after',
      '\nExit status: as of libmalloc run; with --read and --diff 0, or 125 if libmalloc failed.',
    )
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : FAILED))
    .action(profile);
}

function parseBytes(text: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,12})([KMG]?)$/i.exec(text) ?? [];
  const n = Number(digits) * 1024 ** ' KMG'.indexOf(unit.toUpperCase() || ' ');
  if (!(n > 0 && n <= 2 ** 40))
    throw new InvalidArgumentError('a number of bytes above 0 is needed: 65536, 64K, 1M');
  return n;
}

function parseCount(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('a number from 1 on is needed');
  return Number(text);
}

async function profile(argv: string[], options: Options): Promise<void> {
  for (const file of options.output) if (!options.diff) formOf(file);
  if (options.all && options.every !== undefined)
    throw new Failure('--all and --every exclude each other', { hint: 'give one of them' });
  if (options.diff) return showDifference(argv, options);
  if (options.read !== undefined) {
    if (argv.length > 0)
      throw new Failure('--read runs no program', { hint: 'libmalloc profile --read FILE' });
    const found = await readAny(options.read);
    if (options.json !== '-' && !options.quiet) process.stdout.write(describe(found, options));
    return write(found, options);
  }
  await profileProgram(argv, options);
}

/** The text is about what costs memory, unless it is asked for something else. */
function describe(found: Profile, { of, top }: Options): string {
  return describeProfile(found, of ? [of] : ['live', 'peak', 'all', 'short'], top);
}

function write(found: Profile, { output, of, json }: Options): void {
  for (const file of output) writeProfile(file, found, of ?? 'all');
  if (json === undefined) return;
  const { schema: _, ...rest } = found;
  writeJson('profile', json, rest);
}

async function profileProgram(argv: string[], options: Options): Promise<void> {
  if (argv.length === 0)
    throw new Failure('no program to profile', { hint: 'libmalloc profile -- CMD…' });
  if (options.json === '-')
    throw new Failure('--json - is not for a program: standard output belongs to it', {
      hint: 'give a file: --json profile.json',
    });
  checkEnvironment();
  const m = resolveMalloc(options.malloc);
  const folder = temporaryFolder('profile');
  try {
    const file = join(folder, 'profile');
    const result = await launchInForeground(m, argv, { profile: variableOf(file, options) });
    if (!options.quiet) for (const line of howItEnded(argv, result)) say(line);
    if (!existsSync(file))
      throw new Failure(`nothing was profiled: no process of ${argv[0]} could write ${file}`, {
        hint: 'does the program start with another LD_PRELOAD, or clear its environment?',
      });
    const trace = openTrace(file);
    const doubt = disproof(m, proofsOf(trace));
    const found = await assemble(trace, { name: m.name, file: m.file ?? null }, argv);
    trace.close();
    if (!options.quiet) process.stderr.write(describe(found, options));
    write(found, options);
    if (doubt) throw new Failure(doubt, { hint: 'the profile is of that malloc' });
    process.exitCode = result.status;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function say(line: string): void {
  process.stderr.write(`libmalloc: ${line}\n`);
}

/** The value of LIBMALLOC_PROFILE; throws Failure for what the library would ignore. */
function variableOf(file: string, { all, roots, every, seconds, signal }: Options): string {
  const words = [
    ...(all ? ['all'] : []),
    ...(all || roots ? ['roots'] : []),
    ...(every === undefined ? [] : [`every=${every}`]),
    ...(seconds === undefined ? [] : [`seconds=${seconds}`]),
    ...(signal === undefined ? [] : [`signal=${signal.replace(/^SIG/, '')}`]),
  ];
  const value = [...words, file].join(',');
  const fault = variableFault('LIBMALLOC_PROFILE', value);
  if (fault) throw new Failure(`cannot profile so: ${fault.message}`, { hint: fault.hint });
  return value;
}

/** A profile in our form, or what a service left. */
async function readAny(file: string): Promise<Profile> {
  if (!isTrace(file)) return readProfile(file);
  const trace = openTrace(file);
  try {
    const [first] = proofsOf(trace);
    const found = await assemble(trace, {
      name: first?.malloc ?? 'unknown',
      file: first?.malloc ?? null,
    });
    if (trace.processes.every(({ records }) => records === 0)) return found;
  } finally {
    trace.close();
  }
  throw new Failure(`${file} is a trace of calls, and no profile`, {
    hint: 'show it with libmalloc view; a profile is written under LIBMALLOC_PROFILE=/FILE',
  });
}

function isTrace(file: string): boolean {
  if (!existsSync(file)) return false;
  const head = Buffer.alloc(8);
  const fd = openSync(file, 'r');
  try {
    readSync(fd, head, 0, 8, 0);
  } catch {
    return false; // a folder
  } finally {
    closeSync(fd);
  }
  return head.toString('latin1') === 'LMTRACE\0';
}

async function showDifference(files: string[], options: Options): Promise<void> {
  const [a, b] = files;
  if (a === undefined || b === undefined || files.length > 2)
    throw new Failure('--diff compares two profiles', {
      hint: 'libmalloc profile [options] --diff A B, with the options before A',
    });
  for (const file of options.output)
    if (!file.endsWith('.folded'))
      throw new Failure(`a difference is written as .folded, not as ${file}`, {
        hint: '-o difference.folded; for pprof: go tool pprof -diff_base A.pb.gz B.pb.gz',
      });
  const measure = options.of ?? 'live';
  const [before, after] = [await readAny(a), await readAny(b)];
  const changes = compare(before, after, measure);
  const remarks = unlikeness(before, after);
  if (options.json !== '-' && !options.quiet)
    process.stdout.write(describeChanges(changes, remarks, measure, options.top));
  for (const file of options.output) writeOutput('-o', file, toFoldedDifference(changes));
  if (options.json !== undefined)
    writeJson('profile', options.json, { of: measure, remarks, changes });
}
