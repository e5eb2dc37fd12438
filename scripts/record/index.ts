// libmalloc record: every call that a program makes of its malloc, in a file.

import { closeSync, existsSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { Failure } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { progress } from '../lib/progress.ts';
import { FAILED } from '../lib/status.ts';
import { count, megabytes } from '../lib/units.ts';
import { howItEnded, launchInForeground } from '../malloc/foreground.ts';
import { type Malloc, resolveMalloc } from '../malloc/mallocs.ts';
import type { Launched } from '../malloc/preload.ts';
import { disproof, programNames } from '../malloc/proof.ts';
import { unreachedLines } from '../malloc/unreached.ts';
import { checkEnvironment, variableFault } from '../malloc/variables.ts';
import { openTrace, proofsOf, type Trace } from '../trace/trace.ts';
import { describeCost, measureCost } from './cost.ts';

interface Options {
  malloc?: string;
  output?: string;
  cost?: boolean;
  sites?: boolean;
  stacks?: boolean;
  snapshots?: number | true;
  quiet?: boolean;
  progress?: boolean;
  json?: string;
}

/** The verb `record`. */
export function recordCommand(): Command {
  return new Command('record')
    .summary('record every call that a program makes of its malloc')
    .description(
      'Runs CMD with the malloc M and writes each call of malloc, free and their kin to the file T, in it and ' +
        'in everything it starts: what was asked, the block, the thread, the time. 16 bytes and less ' +
        'than 0.1 µs a call. What has been called is in T even when a process is killed.',
    )
    .usage('[options] -o T -- CMD…')
    .argument('[cmd...]', 'the program and its arguments')
    .option('-o, --output <T>', 'the trace; a trace that is there already is replaced')
    .option('-m, --malloc <M>', 'NAME, FILE.so or NAME=FILE.so (default: the last variant)')
    .option('--sites', 'where each call returns to, as well')
    .option('--stacks', 'the whole stack of callers of each call, as well (includes --sites)')
    .option(
      '--snapshots [calls]',
      'the heap from inside, for mallocs with libmalloc_walk: every so many calls of a thread, or ' +
        'each time the live bytes have grown by a quarter, at their peaks, and at the end',
      parseCalls,
    )
    .option('--cost', 'record nothing: measure what recording costs a call of M')
    .option('-q, --quiet', 'no line on standard error')
    .option(
      '--progress',
      'say twice a second how large the trace is; of itself where standard error is a terminal and ' +
        "the program's output goes elsewhere",
    )
    .option('--json <file>', 'write what happened to a file')
    .passThroughOptions()
    .showHelpAfterError('(libmalloc record --help explains)')
    .addHelpText('after', '\nExit status: as of libmalloc run.')
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : FAILED))
    .action(record);
}

function parseCalls(text: string): number {
  if (!/^[1-9]\d{0,14}$/.test(text))
    throw new InvalidArgumentError('a number of calls above 0 is needed');
  return Number(text);
}

async function record(argv: string[], options: Options): Promise<void> {
  if (options.cost) return showCost(options);
  const { output } = options;
  if (output === undefined || argv.length === 0)
    throw new Failure(output === undefined ? 'no file for the trace' : 'no program to record', {
      hint: 'libmalloc record -o FILE -- CMD…',
    });
  if (options.json === '-')
    throw new Failure('--json - is not for record: standard output belongs to the program', {
      hint: 'give a file: --json record.json',
    });
  checkEnvironment();
  const m = resolveMalloc(options.malloc);
  const file = resolve(output);
  const trace = traceVariable(file, options);
  clear(file);
  const done = watch(file, options);
  const result = await launchInForeground(m, argv, { trace, report: true }).finally(done);
  if (!options.quiet) for (const line of howItEnded(argv, result)) say(line);
  if (!existsSync(file))
    throw new Failure(`nothing was recorded: no process of ${argv[0]} could write ${file}`, {
      hint: 'does the program start with another LD_PRELOAD, or clear its environment?',
    });
  const recorded = openTrace(file);
  const doubt = disproof(m, proofsOf(recorded));
  if (options.json !== undefined)
    writeJson('record', options.json, summary(m, argv, result, recorded, doubt));
  if (!options.quiet)
    for (const line of [...remarks(m, recorded), ...unreachedLines(result.unreached)]) say(line);
  recorded.close();
  if (doubt) throw new Failure(doubt, { hint: `the trace is in ${output} all the same` });
  process.exitCode = result.status;
}

/**
 * Says how large the trace is, on a terminal that the program leaves to us, or wherever we are told
 * to; returns what ends it.
 */
function watch(file: string, { quiet, progress: wanted }: Options): () => void {
  if (!wanted && (quiet || process.stdout.isTTY)) return () => {};
  const say = (): void => {
    const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    const line = `record: ${megabytes(size)}`;
    if (process.stderr.isTTY) progress(line);
    else if (wanted) process.stderr.write(`libmalloc: ${line}\n`);
  };
  const timer = setInterval(say, 500);
  return () => {
    clearInterval(timer);
    progress('');
  };
}

async function showCost(options: Options): Promise<void> {
  checkEnvironment();
  const cost = await measureCost(resolveMalloc(options.malloc));
  if (options.json !== '-') process.stdout.write(describeCost(cost));
  if (options.json !== undefined) writeJson('record', options.json, { cost });
}

function say(line: string): void {
  process.stderr.write(`libmalloc: ${line}\n`);
}

/** The value of LIBMALLOC_TRACE; throws Failure where the library could not write. */
function traceVariable(file: string, options: Options): string {
  const words = [
    ...(options.sites ? ['sites,'] : []),
    ...(options.stacks ? ['stacks,'] : []),
    ...(options.snapshots === true ? ['snapshots,'] : []),
    ...(typeof options.snapshots === 'number' ? [`snapshots=${options.snapshots},`] : []),
  ];
  const value = words.join('') + file;
  const fault = variableFault('LIBMALLOC_TRACE', value);
  if (fault) throw new Failure(`cannot record to ${file}`, { hint: fault.hint });
  return value;
}

/** Replaces a trace, and nothing else. */
function clear(file: string): void {
  if (!existsSync(file)) return;
  const keep = new Failure(`${file} is there already, and is no trace`, {
    hint: 'give another name to -o, or remove it',
  });
  if (!statSync(file).isFile()) throw keep;
  const head = Buffer.alloc(8);
  const fd = openSync(file, 'r');
  const length = readSync(fd, head, 0, 8, 0);
  closeSync(fd);
  if (length > 0 && head.toString('latin1') !== 'LMTRACE\0') throw keep;
  rmSync(file);
}

function remarks(m: Malloc, trace: Trace): string[] {
  const records = trace.processes.reduce((sum, { records }) => sum + records, 0);
  const n = trace.processes.length;
  const names = programNames(proofsOf(trace));
  const where = `${n} ${n === 1 ? 'process' : 'processes'} (${names})`;
  return [
    `${count(records)} records of ${m.name} in ${where}: ${trace.file}, ${megabytes(trace.bytes)}`,
    ...trace.damage,
  ];
}

function summary(
  m: Malloc,
  argv: string[],
  result: Launched,
  trace: Trace,
  doubt: string | undefined,
): object {
  return {
    malloc: { name: m.name, file: m.file ?? null },
    command: argv,
    status: doubt ? FAILED : result.status,
    signal: result.signal ?? null,
    seconds: result.seconds,
    proven: !doubt,
    ...(doubt && { doubt }),
    trace: { file: trace.file, bytes: trace.bytes, lost: trace.lost, damage: trace.damage },
    processes: trace.processes,
    unreached: result.unreached,
  };
}
