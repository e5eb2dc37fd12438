// `make prebuilds`: the release libraries for each platform, stripped of what nobody reads, with a
// manifest that says what they were compiled from. `npm pack` puts them into the package.
//
//     tsx scripts/build/prebuilds.ts [--check] [PLATFORM…]

import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { $ } from 'zx';
import { describeFailure, Failure } from '../lib/errors.ts';
import { variantArguments } from '../lib/flags.ts';
import { root } from '../lib/paths.ts';
import {
  type Manifest,
  prebuiltFolder,
  readManifest,
  sha256,
  sourcesHash,
} from '../lib/prebuilt.ts';
import { planNative, type Step } from './native.ts';
import { compilerFor, platforms } from './platforms.ts';
import { together } from './together.ts';

const quietly = $({ nothrow: true, quiet: true, cwd: root });

/**
 * GDB's heap commands need types, variables and lines. What tells where a local variable is at each
 * instruction, and the columns of lines, is more than half of the rest.
 */
const lean = [
  '-fno-var-tracking',
  '-gno-variable-location-views',
  '-gno-statement-frontiers',
  '-gno-column-info',
];

/** Runs a tool and returns what it printed; throws a Failure with all that it said. */
async function run(words: string[], what: string): Promise<string> {
  const output = await quietly`${words}`;
  if (output.exitCode === 0) return output.stdout;
  const said = `${output.stdout}${output.stderr}`.trimEnd();
  throw new Failure(what, { code: 1, hint: said.split('\n').join('\n  ') });
}

/** The newest symbol version of glibc among those that the files ask for. */
async function newestGlibc(files: string[]): Promise<string | undefined> {
  const text = await run(['readelf', '-VW', ...files], 'readelf cannot read the libraries');
  const minors = [...text.matchAll(/\bGLIBC_2\.(\d+)/g)].map((match) => Number(match[1]));
  return minors.length === 0 ? undefined : `2.${Math.max(...minors)}`;
}

const isMalloc = (step: Step): boolean => step.line === variantArguments;

/** Compiles one file into `folder`. */
async function compile(step: Step, compiler: string[], folder: string): Promise<string> {
  const output = join(folder, basename(step.output));
  const line = step.line('release', step.source, output);
  const words = [...compiler, ...line, ...(isMalloc(step) ? lean : [])];
  await run(words, `${relative(root, step.source)} does not compile for ${basename(folder)}`);
  return output;
}

/**
 * Takes debug information away from all but the mallocs, which GDB reads, and puts what these have in
 * common into one file, libmalloc.debug. musl's have none: a package has to stay small, and whoever
 * debugs there has a compiler.
 */
async function slim(files: string[], mallocs: string[], compiler: string[]): Promise<string[]> {
  const folder = dirname(files[0] ?? '');
  const readable = folder.endsWith('-glibc') ? mallocs : [];
  const strip = await run([...compiler, '-print-prog-name=strip'], 'the compiler knows no strip');
  const others = files.filter((file) => !readable.includes(file));
  await run([strip.trim(), '-g', ...others], 'strip fails');
  if (readable.length === 0) return files;
  const shared = join(folder, 'libmalloc.debug');
  await run(['dwz', '-r', '-m', shared, ...readable], 'dwz fails');
  return [...files, shared];
}

/** All libraries of one platform, unless they were made from these very sources already. */
async function build(platform: string): Promise<void> {
  const finished = prebuiltFolder(platform);
  const folder = join(root, 'build', 'prebuilds', platform);
  const compiler = compilerFor(platform);
  const version = await run([...compiler, '--version'], `${compiler.join(' ')} does not run`);
  const compiled = `${compiler.join(' ')}: ${version.split('\n')[0]}`;
  const before = readManifest(finished);
  if (before?.sources === sourcesHash() && before.compiler === compiled) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const started = performance.now();
  const steps = planNative('release');
  const made = await together(steps, (step) => compile(step, compiler, folder));
  const mallocs = made.filter((_, index) => isMalloc(steps[index] as Step));
  const files = await slim(made, mallocs, compiler);
  const hashes = files.map((file) => [basename(file), sha256(readFileSync(file))]);
  const glibc = await newestGlibc(files);
  const manifest: Manifest = {
    sources: sourcesHash(),
    compiler: compiled,
    ...(glibc === undefined ? {} : { glibc }),
    files: Object.fromEntries(hashes),
  };
  writeFileSync(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  rmSync(finished, { recursive: true, force: true });
  mkdirSync(dirname(finished), { recursive: true });
  renameSync(folder, finished);
  const bytes = Object.keys(manifest.files).reduce(
    (sum, file) => sum + statSync(join(finished, file)).size,
    0,
  );
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `  cc   native/ → prebuilds/${platform}/  ${Math.round(bytes / 1024)} KiB, ${seconds} s`,
  );
}

/**
 * Throws a Failure for libraries of other sources than those that are packed; names on standard error
 * the platforms without any, where a package compiles what it needs.
 */
function check(all: string[]): void {
  for (const platform of all) {
    const manifest = readManifest(prebuiltFolder(platform));
    if (manifest === undefined) console.error(`  packed without libraries for ${platform}`);
    else if (manifest.sources !== sourcesHash())
      throw new Failure(`prebuilds/${platform} was compiled from other sources`, {
        hint: 'run `make prebuilds`, or remove the folder',
        code: 1,
      });
  }
}

try {
  const { values, positionals } = parseArgs({
    options: { check: { type: 'boolean' } },
    allowPositionals: true,
  });
  const wanted = positionals.length > 0 ? positionals : Object.keys(platforms);
  if (values.check) check(wanted);
  else for (const platform of wanted) await build(platform);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(describeFailure(error));
  process.exitCode = error.code;
}
