// libmalloc run: a program under any malloc, and the proof that it was really in use.

import { Command, InvalidArgumentError } from 'commander';
import { Failure } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { FAILED } from '../lib/status.ts';
import { shellWord } from '../lib/words.ts';
import { howItEnded, launchInForeground } from '../malloc/foreground.ts';
import { type Malloc, resolveMalloc } from '../malloc/mallocs.ts';
import type { Launched } from '../malloc/preload.ts';
import { disproof, proofLine, remedy } from '../malloc/proof.ts';
import { unreachedLines } from '../malloc/unreached.ts';
import { checkEnvironment } from '../malloc/variables.ts';
import { type Core, crashes, findCore } from './core.ts';
import { launchCounted } from './counted.ts';
import { findingLines, type NamedFindings, nameFindings } from './named.ts';

interface Options {
  malloc?: string;
  timeout?: number;
  quiet?: boolean;
  stats?: boolean;
  track?: boolean;
  json?: string;
}

/** The verb `run`. */
export function runCommand(): Command {
  return new Command('run')
    .summary('run a program under a malloc, and prove that it was in use')
    .description(
      'Runs CMD with the malloc M preloaded, in it and in everything it starts, and proves from ' +
        'inside each of these processes that malloc, calloc, realloc and free came from M. Processes ' +
        'that it could not reach (env -i, static programs) are named.',
    )
    .usage('[options] -- CMD…')
    .argument('<cmd...>', 'the program and its arguments')
    .option('-m, --malloc <M>', 'NAME, FILE.so or NAME=FILE.so (default: the last variant)')
    .option('--stats', 'count what CMD asks of M: calls, sizes, peaks, waste, system calls')
    .option('--track', 'keep a table of live blocks and who allocated them, for libmalloc gdb')
    .option('--timeout <seconds>', 'end CMD and all that it started after so long', parseSeconds)
    .option('-q, --quiet', 'no line of proof on standard error')
    .option('--json <file>', 'write what happened to a file')
    .passThroughOptions()
    .showHelpAfterError('(libmalloc run --help explains)')
    .addHelpText('after', exitStatus)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : FAILED))
    .action(run);
}

const exitStatus = `
Exit status: that of CMD; 128+N if signal N ended it; 124 if the time ran out; 127 if CMD was not
found, 126 if it cannot be executed; 125 if libmalloc failed, or if M was not in use after all.`;

function parseSeconds(text: string): number {
  const seconds = Number(text);
  // setTimeout counts milliseconds in 31 bits.
  if (!(seconds > 0 && seconds * 1000 < 2 ** 31))
    throw new InvalidArgumentError('a number of seconds above 0 is needed');
  return seconds;
}

async function run(argv: string[], options: Options): Promise<void> {
  if (options.json === '-') {
    throw new Failure('--json - is not for run: standard output belongs to the program', {
      hint: 'give a file: --json run.json',
    });
  }
  if (options.stats && options.track)
    throw new Failure('--stats and --track are two libraries in front of M', { hint: 'give one' });
  checkEnvironment();
  const m = resolveMalloc(options.malloc);
  const started = Date.now();
  const { timeout, track = false } = options;
  const { result, counted } = options.stats
    ? await launchCounted(m, argv, timeout)
    : {
        result: await launchInForeground(m, argv, { report: true, timeout, track }),
        counted: undefined,
      };
  const doubt = disproof(m, result.proofs);
  const named = await nameFindings(result.findings);
  if (options.json !== undefined)
    writeJson('run', options.json, { ...record(m, argv, result, doubt, named), ...counted?.json });
  if (!options.quiet)
    for (const line of remarks(m, argv, result, doubt))
      process.stderr.write(`libmalloc: ${line}\n`);
  if (!options.quiet && crashes.includes(result.signal ?? ''))
    for (const line of nextSteps(options.malloc, argv, findCore(started)))
      process.stderr.write(`  ${line}\n`);
  for (const line of options.quiet ? [] : findingLines(named, result.proofs))
    process.stderr.write(`${line}\n`);
  for (const line of counted?.lines ?? []) process.stderr.write(`${line}\n`);
  if (doubt) throw new Failure(doubt, { hint: remedy(m) });
  process.exitCode = result.status;
}

/** The lines on standard error afterwards: an unusual ending, and the proof. */
export function remarks(
  m: Malloc,
  argv: string[],
  result: Launched,
  doubt: string | undefined,
): string[] {
  const lines = howItEnded(argv, result);
  if (!doubt) lines.push(proofLine(m, result.proofs));
  lines.push(...unreachedLines(result.unreached));
  return lines;
}

/** The remedy after a crash: the command that debugs it, and its core or how to get one. */
export function nextSteps(malloc: string | undefined, argv: string[], core: Core): string[] {
  const under = malloc === undefined ? '' : ` -m ${shellWord(malloc)}`;
  const found = 'file' in core;
  return [
    `debug it: libmalloc gdb${under} -- ${argv.map(shellWord).join(' ')}`,
    found ? `its core: libmalloc gdb --core ${shellWord(core.file)}` : core.reason,
  ];
}

function record(
  m: Malloc,
  argv: string[],
  result: Launched,
  doubt: string | undefined,
  { findings }: NamedFindings,
): object {
  const { status, signal, timedOut, seconds, proofs, unreached } = result;
  return {
    malloc: { name: m.name, file: m.file ?? null },
    command: argv,
    status: doubt ? FAILED : status,
    signal: signal ?? null,
    timedOut,
    seconds,
    proven: !doubt,
    ...(doubt && { doubt }),
    processes: proofs,
    unreached,
    ...(findings.length > 0 && { findings }),
  };
}
