// libmalloc replay: plays the calls of one recorded program on other mallocs.

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { writeRep } from '../foreign/rep.ts';
import { openSource, type Source } from '../foreign/source.ts';
import { Failure, reasonOf } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { writeJson } from '../lib/json.ts';
import { progress } from '../lib/progress.ts';
import { BAD } from '../lib/status.ts';
import { count } from '../lib/units.ts';
import { defaultVariant, type Malloc, resolveMalloc } from '../malloc/mallocs.ts';
import { checkEnvironment } from '../malloc/variables.ts';
import { atOurEnd } from '../process/ending.ts';
import { writePlan } from '../trace/plan.ts';
import { scoresOf } from './lab.ts';
import { checkPatience } from './patience.ts';
import { play } from './play.ts';
import { describe, type Outcome } from './results.ts';

interface Options {
  malloc?: string[];
  runs: number;
  process?: number;
  timeout?: number;
  force?: boolean;
  json?: string;
  export?: string;
}

/** The verb `replay`. */
export function replayCommand(): Command {
  return new Command('replay')
    .summary('play traces on other mallocs, side by side')
    .description(
      'Makes the calls that T recorded once more, on each malloc in turn: threads, frees by other ' +
        'threads, sizes and alignments as they were, each block touched once in each page. T is a ' +
        'trace of libmalloc record, a .rep file of the CS:APP malloc lab, or what mtrace, ltrace or ' +
        'heaptrack recorded. Several get a score together, as the lab has it.',
    )
    .argument('<T...>', 'the traces')
    .option(
      '-m, --malloc <M>',
      'NAME, FILE.so or NAME=FILE.so; repeatable (default: the last variant and glibc)',
      (spec: string, all: string[] = []) => [...all, spec],
    )
    .option('--runs <N>', 'interleaved runs of each malloc', positive, 5)
    .option(
      '--process <N>',
      'which process of the trace (default: the one with most calls)',
      positive,
    )
    .option('--timeout <seconds>', 'end a run after so long', positive)
    .option('--force', 'more than 100,000 calls on dumb and list, too')
    .option('--export <FILE.rep>', 'write T as a file of the malloc lab instead of playing it')
    .option('--json <FILE>', 'everything found, as JSON (- is standard output)')
    .addHelpText('after', '\nExit status: 0; 1 if a malloc failed; 125 if libmalloc failed.')
    .action(replay);
}

function positive(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1 || n > 2e6)
    throw new InvalidArgumentError('give a whole number from 1.');
  return n;
}

async function replay(files: string[], options: Options): Promise<void> {
  checkEnvironment();
  const specs = options.malloc ?? [defaultVariant(), 'glibc'];
  const mallocs = specs.map((spec) => resolveMalloc(spec));
  if (options.export !== undefined && files.length > 1)
    throw new Failure('--export writes one trace, not several', { hint: 'export them one by one' });
  const found: { outcome: Outcome; json: object }[] = [];
  for (const file of files) {
    const source = openSource(file, options.process);
    try {
      if (options.export !== undefined) await exportTo(options.export, source);
      else found.push(await playAll(source, mallocs, options));
    } finally {
      source.close();
    }
  }
  if (options.export === undefined) report(found, options);
}

async function exportTo(file: string, source: Source): Promise<void> {
  const { operations, blocks, plain, empty } = await attempt(file, () =>
    writeRep(file, () => source.steps(), turn),
  );
  const lost = [
    ...(plain > 0 ? [`${count(plain)} were aligned or cleared, which it cannot say`] : []),
    ...(empty > 0 ? [`${count(empty)} of 0 bytes became 1`] : []),
  ];
  process.stderr.write(
    `libmalloc: ${[`${count(operations)} operations on ${count(blocks)} blocks in ${file}`, ...lost].join('; ')}\n`,
  );
  for (const line of source.remarks()) process.stderr.write(`libmalloc: ${line}\n`);
}

async function attempt<T>(file: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (cause) {
    if (cause instanceof Failure || !(cause as NodeJS.ErrnoException).code) throw cause;
    throw new Failure(`cannot write ${file}: ${reasonOf(cause)}`, { cause });
  }
}

async function playAll(source: Source, mallocs: Malloc[], options: Options) {
  const folder = temporaryFolder('replay');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const release = atOurEnd(remove);
  try {
    const plan = join(folder, 'plan');
    const figures = await attempt(plan, () =>
      writePlan(plan, source.steps(), (n) => progress(`replay: ${count(n)} calls read`)),
    );
    progress('');
    if (figures.calls === 0)
      throw new Failure(`there are no calls to play in ${source.name}`, {
        hint: source.remarks()[0] ?? 'record a program that calls malloc',
      });
    for (const line of checkPatience(mallocs, figures, options.force === true))
      process.stderr.write(`libmalloc: ${line}\n`);
    const played = await play(plan, figures, mallocs, options);
    const { name, weight, left } = source;
    const remarks = source.remarks();
    return {
      outcome: { name, weight, calls: figures.calls, figures, played, remarks },
      json: { ...source.about(), weight, ...figures, ...left, remarks, runs: options.runs, played },
    };
  } finally {
    release();
    remove();
  }
}

function report(found: { outcome: Outcome; json: object }[], { json }: Options): void {
  const outcomes = found.map(({ outcome }) => outcome);
  if (json !== '-') process.stdout.write(describe(outcomes));
  const scores = scoresOf(outcomes);
  const [only] = found;
  if (json !== undefined && only !== undefined)
    writeJson(
      'replay',
      json,
      found.length === 1
        ? { ...only.json, scores }
        : { traces: found.map((each) => each.json), scores },
    );
  if (outcomes.some(({ played }) => played.some(({ failure }) => failure !== undefined)))
    process.exitCode = BAD;
}
