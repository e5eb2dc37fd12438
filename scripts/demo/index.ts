// make run: real programs on every variant, side by side with the system's malloc.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { color } from '../lib/color.ts';
import { describeFailure, Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { root } from '../lib/paths.ts';
import { type Malloc, resolveMalloc, variants } from '../malloc/mallocs.ts';
import { type Env, type Launched, launch } from '../malloc/preload.ts';
import { findProgram, programs } from '../malloc/programs.ts';
import { disproof } from '../malloc/proof.ts';
import { atOurEnd } from '../process/ending.ts';
import { exampleFile, exampleSource, limitsOf, type Scene, scenesOf } from './scenes.ts';
import { isSurprise, lines, type Played, prompt } from './text.ts';
import { type Outcome, outcomeOf, verdictOf } from './verdict.ts';

const system = resolveMalloc('glibc');
let folder = '';
const onSystem = new Map<string, Outcome>();
const say = (text = ''): void => console.log(text);

/** Without LIBMALLOC_* and other settings of the reader, and with messages in English. */
function environment(extra: Record<string, string>): Env {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(LIBMALLOC_|LD_PRELOAD$)/.test(name),
  );
  return { ...Object.fromEntries(kept), LC_ALL: 'C.UTF-8', ...extra };
}

async function start(m: Malloc, scene: Scene): Promise<Launched> {
  // A single command replaces the shell, so that the proof lists one process less.
  const single = !/[|;&]/.test(scene.command);
  const limits = limitsOf(m.name);
  return launch(m, ['/bin/sh', '-c', single ? `exec ${scene.command}` : scene.command], {
    env: environment(scene.env),
    cwd: folder,
    report: m !== system,
    timeout: scene.timeout,
    ...(limits && { limits }),
  });
}

async function runOnSystem(scene: Scene): Promise<Outcome> {
  const outcome = onSystem.get(scene.command) ?? outcomeOf(await start(system, scene));
  onSystem.set(scene.command, outcome);
  return outcome;
}

async function play(m: Malloc, scene: Scene): Promise<Played> {
  const expected = await runOnSystem(scene);
  const run = await start(m, scene);
  const ours = outcomeOf(run);
  const { proofs } = run;
  return {
    scene,
    system: expected,
    ours,
    verdict: verdictOf(expected, ours),
    proofs,
    doubt: disproof(m, proofs),
  };
}

function missing(scene: Scene): string | undefined {
  const known = programs();
  for (const name of scene.needs) {
    const program = known[name];
    if (program && !findProgram(name, program))
      return `not shown: ${name} is missing (apt-get install ${program.package})`;
  }
  return undefined;
}

/** The first line of the variant's source says what it is. */
function motto(variant: string): string {
  const source = join(root, 'native', `${variant}.c`);
  if (!existsSync(source)) return 'a malloc of yours';
  const [first = ''] = readFileSync(source, 'utf8').split('\n');
  return first.replace(/^\/\* *\w+\.c: */, '').replace(/\.? *(\*\/)?$/, '');
}

async function show(variant: string): Promise<Played[]> {
  const m = resolveMalloc(variant);
  say(`${color.bold(color.cyan(variant))}: ${motto(variant)}`);
  say(color.dim(`  preloaded from ${relative(process.cwd(), m.file ?? '')}`));
  if (limitsOf(variant))
    say(
      color.dim(
        '  kept within 2 GiB of address space and 20 seconds, as it never gives anything back',
      ),
    );
  say();
  const played = [];
  for (const scene of scenesOf(variant)) {
    say(prompt(scene));
    const absent = missing(scene);
    if (absent) {
      say(`    ${color.dim(absent)}\n`);
      continue;
    }
    const result = await play(m, scene);
    for (const line of lines(m, result)) say(line);
    say();
    played.push(result);
  }
  return played;
}

function introduce(names: string[]): void {
  say(
    `Real programs on ${names.length === 1 ? 'a malloc' : `${names.length} mallocs`} that can be read in one sitting: ${names.join(', ')}.`,
  );
  say();
  say(
    "Each command runs twice, on the system's malloc and on ours, and their outputs are compared.",
  );
  say('A probe inside each process asks the dynamic linker which library provides malloc.');
  say();
}

function conclude(played: Played[], names: string[], seconds: number): void {
  const surprises = played.filter(isSurprise);
  const same = played.filter(({ verdict, doubt }) => verdict === 'same' && !doubt).length;
  const rest = played.length - same - surprises.length;
  const failed = surprises.length;
  say(
    `${played.length} runs in ${Math.round(seconds)} s: ${same} gave the same as on the system's malloc, ${rest} show a limit.`,
  );
  say(
    failed === 0
      ? 'Nothing failed that should have worked.'
      : color.red(`${failed} failed that should have worked:`),
  );
  for (const { scene, doubt, verdict } of surprises)
    say(color.red(`  ${scene.command}: ${doubt ?? verdict}`));
  if (surprises.length > 0) process.exitCode = 1;
  const last = names.at(-1) ?? '';
  say();
  say('The times are of single runs (`make bench` measures). Try your own:');
  say(color.bold(`  make run VARIANT=${last} CMD='ls -l /'`));
  say(color.bold(`  npx libmalloc run -m ${last} -- vim README.md`));
}

async function demonstrate(names: string[]): Promise<void> {
  const began = performance.now();
  folder = temporaryFolder('demo');
  atOurEnd(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, exampleFile), exampleSource);
  introduce(names);
  const played = [];
  for (const name of names) played.push(...(await show(name)));
  conclude(played, names, (performance.now() - began) / 1000);
}

try {
  const wanted = process.argv.slice(2);
  await demonstrate(wanted.length > 0 ? wanted : variants());
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`${describeFailure(error)}\n`);
  process.exitCode = error.code;
}
