import { Command, InvalidArgumentError } from 'commander';
import { Failure } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { writeOutput } from '../lib/outputs.ts';
import { INTERRUPTED } from '../lib/status.ts';
import { type Choice, choose, readCatalog } from './catalog.ts';
import { measureCommand, measureContests, planContests } from './contests.ts';
import { measureCurve, planCurve } from './curve.ts';
import { measureLife, planLife } from './life.ts';
import { measurePairs, planPairs } from './pairs.ts';
import { provenance } from './provenance.ts';
import { describe } from './report.ts';
import type { BenchResult } from './result.ts';
import { type Selection, selectMallocs } from './select.ts';
import { measureStart, planStart } from './start.ts';
import { warmMemory } from './warm.ts';

interface BenchOptions {
  malloc?: string[];
  runs?: number;
  quick?: boolean;
  versionOf?: Record<string, string>;
  json?: string;
  svg?: string;
}

/** The work to measure: a choice from the catalogue, or a command. */
export interface BenchPlan extends Choice {
  command?: string[];
}

function positive(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) throw new InvalidArgumentError('give a whole number from 1.');
  return n;
}

function version(text: string, all: Record<string, string> = {}): Record<string, string> {
  const [, name, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  if (!name || !value) throw new InvalidArgumentError('give NAME=TEXT.');
  return { ...all, [name]: value };
}

/** The plan for these names or this command; throws Failure if a name is unknown or both are given. */
export function planBench(names: string[], command?: string[]): BenchPlan {
  if (command === undefined) return choose(names, readCatalog());
  if (command.length === 0)
    throw new Failure('no command after --', { hint: 'libmalloc bench -- ls -l /' });
  if (names.length > 0) {
    throw new Failure(`both a workload and a command: ${names[0]}, ${command.join(' ')}`, {
      hint: 'measure them one after the other',
    });
  }
  return { workloads: [], programs: [], scenarios: [], measurements: [], command };
}

/** Beside workloads, pairs are only counted in instructions; their CPU time is measured by `bench pairs`. */
const pairsAmongOthers = { stepped: 100, runs: 0 };

/** From this many workloads on, memory is warmed first: a minute is short beside their time. */
const MANY = 10;

/** Measures; the slow part. */
export async function measure(
  plan: BenchPlan,
  { mallocs, notRun }: Selection,
  options: Pick<BenchOptions, 'runs' | 'quick' | 'versionOf'>,
): Promise<BenchResult> {
  const result: BenchResult = { provenance: provenance(mallocs, options.versionOf), notRun };
  const { command, measurements } = plan;
  const among = plan.workloads.length + plan.programs.length > 0;
  if (!options.quick && plan.workloads.length + plan.scenarios.length >= MANY) await warmMemory();
  if (measurements.includes('start'))
    result.start = await measureStart(mallocs, planStart(options));
  if (measurements.includes('pairs')) {
    const pairs = { ...planPairs(options), ...(among && pairsAmongOthers) };
    result.pairs = await measurePairs(mallocs, pairs);
  }
  if (measurements.includes('curve'))
    result.curve = await measureCurve(mallocs, planCurve(options));
  if (plan.scenarios.length > 0)
    result.life = await measureLife(plan.scenarios, mallocs, planLife(options));
  if (command) result.contests = await measureCommand(command, mallocs, planContests(options));
  else if (among) result.contests = await measureContests(plan, mallocs, planContests(options));
  return result;
}

/** The words after `--`, which commander returns together with the names before it. */
function commandAfterDashes(command: Command): string[] | undefined {
  const { rawArgs } = (command.parent ?? command) as Command & { rawArgs: string[] };
  const at = rawArgs.indexOf('--');
  return at < 0 ? undefined : rawArgs.slice(at + 1);
}

async function bench(words: string[], options: BenchOptions, command: Command): Promise<void> {
  const after = commandAfterDashes(command);
  const plan = planBench(words.slice(0, words.length - (after?.length ?? 0)), after);
  const work = plan.workloads.length + plan.programs.length + plan.scenarios.length;
  const hard = plan.command !== undefined || work > 0;
  const result = await measure(plan, selectMallocs(options.malloc ?? [], { hard }), options);
  if (options.json !== '-') process.stdout.write(describe(result));
  if (options.json !== undefined) writeJson('bench', options.json, result);
  if (options.svg !== undefined) {
    const { draw } = await import('./pictures.ts');
    writeOutput('--svg', options.svg, draw(result));
  }
  if (result.contests?.interrupted || result.life?.interrupted) process.exitCode = INTERRUPTED;
}

export function benchCommand(): Command {
  return new Command('bench')
    .summary('measure mallocs side by side: runs interleaved, medians with spread')
    .description(
      'Runs every malloc on the same work, in turn, and compares CPU time, time by the clock, peak ' +
        'memory and page faults. Without a name: all workloads, real programs, the start of a process ' +
        'and instructions per pair. Ctrl-C ends it with what was measured so far.',
    )
    .usage('[options] [WORKLOAD… | -- CMD…]')
    .argument(
      '[WORKLOAD...]',
      'a name of tests/workloads/workloads.json, or the beginning of several (tight); workloads, ' +
        'programs: all of them; start: of a process; pairs: one small malloc+free; curve: cost per ' +
        'call against live blocks; life: memory and latency in what services live through',
    )
    .option(
      '-m, --malloc <M>',
      'NAME, FILE.so or NAME=FILE.so; repeatable (default: our variants, glibc, installed peers)',
      (spec: string, all: string[] = []) => [...all, spec],
    )
    .option('--runs <N>', 'interleaved runs of each malloc', positive)
    .option('--quick', 'a sixth of the work: under three minutes')
    .option(
      '--version-of <NAME=TEXT>',
      'what to write beside NAME in the report; repeatable',
      version,
    )
    .option('--json <FILE>', 'everything found, as JSON (- is standard output)')
    .option('--svg <FILE>', 'pictures of it, in one file')
    .addHelpText(
      'after',
      '\nExit status: 0; 130 if Ctrl-C ended it early; 125 if libmalloc failed.',
    )
    .action(bench);
}
