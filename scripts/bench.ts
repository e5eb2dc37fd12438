import { Command, InvalidArgumentError } from 'commander';
import { type Curve, measureCurve, planCurve } from './lib/bench/curve.ts';
import { measurePairs, type Pairs, planPairs } from './lib/bench/pairs.ts';
import { describeProvenance, type Provenance, provenance } from './lib/bench/provenance.ts';
import { type Selection, selectMallocs } from './lib/bench/select.ts';
import {
  curveNotes,
  curvePicture,
  curveTables,
  pairsPicture,
  pairsTable,
} from './lib/bench/show.ts';
import { Failure } from './lib/errors.ts';
import { writeJson } from './lib/json.ts';
import { writePicture } from './lib/svg.ts';
import { color } from './lib/table.ts';

const measurements = ['curve', 'pairs'] as const;
type Measurement = (typeof measurements)[number];

interface BenchOptions {
  malloc?: string[];
  runs?: number;
  quick?: boolean;
  json?: string;
  svg?: string;
}

/** Everything that one `bench` found out; the JSON document, but for its schema. */
export interface BenchResult {
  provenance: Provenance;
  notRun: Selection['notRun'];
  curve?: { curves: Curve[]; uncounted?: string };
  pairs?: { pairs: Pairs[]; uncounted?: string };
}

function positive(text: string): number {
  const n = Number(text);
  if (!Number.isInteger(n) || n < 1) throw new InvalidArgumentError('give a whole number from 1.');
  return n;
}

/** The measurements asked for; all when none is named. Throws Failure for an unknown one. */
export function planBench(names: string[], options: Pick<BenchOptions, 'svg'>): Measurement[] {
  const unknown = names.find((name) => !measurements.some((known) => known === name));
  if (unknown !== undefined) {
    throw new Failure(`unknown workload: ${unknown}`, {
      hint: `known: ${measurements.join(', ')}`,
    });
  }
  const chosen = measurements.filter((known) => names.length === 0 || names.includes(known));
  if (options.svg !== undefined && chosen.length > 1) {
    throw new Failure('--svg draws one picture, and several were asked for', {
      hint: `say which: libmalloc bench ${chosen[0]} --svg ${options.svg}`,
    });
  }
  return chosen;
}

/** Measures; the slow part. */
export async function measure(
  chosen: readonly Measurement[],
  { mallocs, notRun }: Selection,
  options: Pick<BenchOptions, 'runs' | 'quick'>,
): Promise<BenchResult> {
  const result: BenchResult = { provenance: provenance(mallocs), notRun };
  if (chosen.includes('curve')) result.curve = await measureCurve(mallocs, planCurve(options));
  if (chosen.includes('pairs')) result.pairs = await measurePairs(mallocs, planPairs(options));
  return result;
}

/** The report for a reader: tables, what is missing and why, where it was measured. */
export function describe({ provenance: where, notRun, curve, pairs }: BenchResult): string {
  const parts: string[] = [];
  if (curve) parts.push([curveTables(curve.curves), ...curveNotes(curve.curves)].join('\n'));
  if (pairs) {
    const stopped = pairs.pairs.filter((each) => each.stopped !== undefined);
    const notes = stopped.map(({ malloc, stopped: why }) => `${malloc}: ${why}`);
    parts.push([pairsTable(pairs.pairs), ...notes].join('\n'));
  }
  const uncounted = curve?.uncounted ?? pairs?.uncounted;
  if (uncounted) parts.push(`Instructions were not counted: ${uncounted}`);
  if (notRun.length > 0)
    parts.push(notRun.map(({ malloc, reason }) => `not run: ${malloc}: ${reason}`).join('\n'));
  parts.push(color.dim(describeProvenance(where)));
  return `${parts.join('\n\n')}\n`;
}

async function draw(file: string, { curve, pairs }: BenchResult): Promise<void> {
  if (curve) writePicture(file, await curvePicture(curve.curves));
  else if (pairs) writePicture(file, await pairsPicture(pairs.pairs));
}

async function bench(names: string[], options: BenchOptions): Promise<void> {
  const chosen = planBench(names, options);
  const result = await measure(chosen, selectMallocs(options.malloc ?? []), options);
  if (options.json !== '-') process.stdout.write(describe(result));
  if (options.json !== undefined) writeJson('bench', options.json, result);
  if (options.svg !== undefined) await draw(options.svg, result);
}

export function benchCommand(): Command {
  return new Command('bench')
    .description('measure mallocs side by side: runs interleaved, medians with spread')
    .argument(
      '[WORKLOAD...]',
      'curve: cost per call against live blocks; pairs: one small malloc+free',
    )
    .option(
      '-m, --malloc <M>',
      'NAME, FILE.so or NAME=FILE.so; repeatable (default: all variants, glibc, installed peers)',
      (spec: string, all: string[] = []) => [...all, spec],
    )
    .option('--runs <N>', 'interleaved runs of each malloc', positive)
    .option('--quick', 'fewer sizes and runs')
    .option('--json <FILE>', 'everything found, as JSON (- is standard output)')
    .option('--svg <FILE>', 'a picture of it')
    .action(bench);
}
