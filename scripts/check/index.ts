// libmalloc check: is this library a correct malloc?

import { Command, InvalidArgumentError } from 'commander';
import { Failure } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { writeOutput } from '../lib/outputs.ts';
import { steadyProgress as progress } from '../lib/progress.ts';
import { BAD } from '../lib/status.ts';
import { type Malloc, resolveMalloc } from '../malloc/mallocs.ts';
import { checkEnvironment } from '../malloc/variables.ts';
import { guarded } from '../process/guardian.ts';
import { alive } from './alive.ts';
import { type Case, type Finding, isFatal, type Subject } from './case.ts';
import { conduct, type Watch } from './conduct.ts';
import { isSlow } from './features.ts';
import { choose, isOneCase, usual } from './groups.ts';
import { whenInterrupted } from './interrupted.ts';
import { junit } from './junit.ts';
import { enquire } from './preliminaries.ts';
import { describe, type Result } from './verdicts.ts';

interface Options {
  malloc: string[];
  debug?: boolean;
  group: string[];
  quick?: boolean;
  reduced?: boolean;
  seed?: number;
  seconds?: number;
  patience: number;
  json?: string;
  junit?: string;
}

function whole(text: string): number {
  const n = Number(text);
  if (!Number.isSafeInteger(n) || n < 0) throw new InvalidArgumentError('give a whole number.');
  return n;
}

function factor(text: string): number {
  const n = Number(text);
  if (!Number.isFinite(n) || n <= 0) throw new InvalidArgumentError('give a number above 0.');
  return n;
}

const collect = (value: string, before: string[]): string[] => [...before, value];

/** The verb `check`. */
export function checkCommand(): Command {
  return new Command('check')
    .summary('is this library a correct malloc?')
    .description(
      'Tests whether a malloc does what real programs rely on, each case in a process of its own,\n' +
        'and shows what is wrong, with a program that demonstrates it.',
    )
    .usage('[options] [FILE.so]')
    .argument('[file]', 'a malloc, as -m takes it')
    .option('-m, --malloc <M>', 'NAME, FILE.so or NAME=FILE.so; repeatable', collect, [])
    .option('--debug', 'the build of `make debug`')
    .option('--group <G>', `repeatable: ${usual.join(', ')}; GROUP/CASE is one case`, collect, [])
    .option('--quick', 'the most telling cases only')
    .option('--reduced', 'smaller sizes, for a malloc whose calls walk all blocks')
    .option('--seed <n>', 'the first seed of the random cases', whole)
    .option('--seconds <n>', 'how long each random case runs (3)', whole)
    .option('--patience <x>', 'the factor for every timeout: 3, say, on a slow machine', factor, 1)
    .option('--json <file>', 'every finding, as JSON (- is standard output)')
    .option('--junit <file>', 'every finding, as JUnit XML')
    .addHelpText('after', details)
    .action(check);
}

const details = `
Exit status: 0 if no malloc failed a case that it must pass, 1 if one did, 125 if libmalloc failed.
A failed \`should\` is shown but does not fail the run; the outcome of each misuse is noted.`;

/** The mallocs to test and the cases to run. Throws Failure if a name is unknown. */
export function planCheck(file: string | undefined, options: Options) {
  const specs = [...(file === undefined ? [] : [file]), ...options.malloc];
  const mallocs = (specs.length > 0 ? specs : [undefined]).map((spec) =>
    resolveMalloc(spec, { debug: options.debug ?? false }),
  );
  const chance = {
    seed: options.seed ?? Date.now() % 1_000_000_000,
    seconds: options.seconds ?? 3,
  };
  const groups = options.group.length > 0 ? options.group : usual;
  const all = choose(groups, chance);
  const cases = options.quick ? all.filter(({ quick }) => quick) : all;
  if (cases.length === 0)
    throw new Failure('no case of these groups is a quick one', { hint: 'omit --quick' });
  const subject = (malloc: Malloc): Subject => ({
    malloc,
    slow: options.reduced === true || (malloc.kind === 'variant' && isSlow(malloc.name)),
  });
  return { subjects: mallocs.map(subject), cases, groups };
}

async function check(file: string | undefined, options: Options): Promise<void> {
  checkEnvironment();
  const { subjects, cases, groups } = planCheck(file, options);
  const examine = groups.every(isOneCase) ? byThese : byAll;
  const results: Result[] = [];
  const show = (result: Result): void => {
    results.push(result);
    if (options.json !== '-') process.stdout.write(describe(result));
  };
  const unguard = guarded();
  let [current, soFar]: [Subject | undefined, Finding[]] = [undefined, []];
  const release = whenInterrupted((signal) => {
    progress('');
    if (current !== undefined) show({ subject: current, findings: soFar, unfinished: true });
    process.stderr.write(`libmalloc: ended by ${signal} after ${soFar.length} cases\n`);
    write(results, options, signal);
  });
  for (const begun of subjects) {
    [current, soFar] = [begun, []];
    const told: Watch = (done, all, now, failed, finding) => {
      if (finding !== undefined) soFar.push(finding);
      progress(`${begun.malloc.name}: ${done} of ${all}, ${failed} failed: ${now}`);
    };
    const result = await examine(begun, cases, told, options.patience);
    progress('');
    current = undefined;
    show(result);
  }
  release();
  unguard();
  write(results, options);
  if (results.some(({ findings }) => findings.some(isFatal))) process.exitCode = BAD;
}

/** Writes the requested files; `signal` is the one that ended the run early. */
function write(results: readonly Result[], options: Options, signal?: NodeJS.Signals): void {
  const ended = signal === undefined ? {} : { interrupted: signal };
  if (options.json !== undefined)
    writeJson('check', options.json, { ...ended, mallocs: results.map(record) });
  if (options.junit === undefined) return;
  const suites = results.map(({ subject: { malloc }, findings }) => ({
    malloc: malloc.name,
    findings,
  }));
  writeOutput('--junit', options.junit, junit(suites));
}

/** Judges one malloc by single cases; by `alive` alone if no program runs on it. */
async function byThese(
  subject: Subject,
  cases: Case[],
  told: Watch,
  patience: number,
): Promise<Result> {
  const dead = (await conduct(subject, [alive], () => {}, patience)).filter(isFatal);
  const findings = dead.length > 0 ? dead : await conduct(subject, cases, told, patience);
  return { subject, findings };
}

/** Judges one malloc by groups: first the preliminary cases, then those whose needs are met. */
async function byAll(
  begun: Subject,
  cases: Case[],
  told: Watch,
  patience: number,
): Promise<Result> {
  const { subject, findings, dead } = await enquire(begun, told, patience);
  const asked = cases.some(({ group }) => group === 'basics');
  const first = findings.filter((finding) => asked || finding.verdict.state === 'failed');
  if (dead) return { subject, findings: first };
  const others = cases.filter(({ group }) => group !== 'basics');
  return { subject, findings: [...first, ...(await conduct(subject, others, told, patience))] };
}

function record({ subject: { malloc }, findings, unfinished }: Result): object {
  return {
    name: malloc.name,
    file: malloc.file ?? null,
    // If some cases did not run, the result is open, unless one that ran failed.
    passed: findings.some(isFatal) ? false : unfinished ? null : true,
    cases: findings.map(({ case: { group, name, promise }, level, verdict }) => ({
      group,
      name,
      promise,
      level,
      ...verdict,
    })),
  };
}
