// `make prebuilds`: the release libraries for each platform, stripped of unused debug information, with
// a manifest that says what they were compiled from. `npm pack` puts them into the package.
//
//     tsx scripts/build/prebuilds.ts [--fresh] [PLATFORM…]

import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
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
import { targetCompiler, targetOf } from './cross-targets.ts';
import { planNative, type Step } from './native.ts';
import { broken, quietly, runSteps } from './run-steps.ts';

/** The platforms of the package, as Node names them, and as compilers do. */
const platforms: Readonly<Record<string, string>> = {
  'linux-x64-glibc': 'x86_64-linux-gnu',
  'linux-x64-musl': 'x86_64-linux-musl',
  'linux-arm64-glibc': 'aarch64-linux-gnu',
  'linux-arm64-musl': 'aarch64-linux-musl',
};

/**
 * GDB's heap commands need types, variables and lines. These options omit the rest: where a local
 * variable is at each instruction, and columns; that is more than half of the debug information.
 */
const lean = [
  '-fno-var-tracking',
  '-gno-variable-location-views',
  '-gno-statement-frontiers',
  '-gno-column-info',
];

/** Runs a tool and returns what it printed; throws a Failure with all that it said. */
async function run(words: string[]): Promise<string> {
  const output = await quietly`${words}`;
  if (output.exitCode !== 0) throw broken(`${words[0]} fails`, output);
  return output.stdout;
}

/** The newest symbol version of glibc among those that the files ask for. */
async function newestGlibc(files: string[]): Promise<string | undefined> {
  const text = await run(['readelf', '-VW', ...files]);
  const minors = [...text.matchAll(/\bGLIBC_2\.(\d+)/g)].map((match) => Number(match[1]));
  return minors.length === 0 ? undefined : `2.${Math.max(...minors)}`;
}

const isMalloc = (step: Step): boolean => step.line === variantArguments;

/**
 * The platform for which the package has all that GDB needs: debug information, and the library that
 * tracks calls. Elsewhere these are compiled when they are needed, because the package has to stay small.
 */
const forGdb = 'linux-x64-glibc';

/**
 * Strips names and debug information from all files but the readable ones, and puts what these have in
 * common into one file, libmalloc.debug.
 */
async function slim(files: string[], readable: string[], compiler: string[]): Promise<string[]> {
  const strip = await run([...compiler, '-print-prog-name=strip']);
  const bare = files.filter((file) => !readable.includes(file));
  await run([strip.trim(), '--strip-unneeded', ...bare]);
  if (readable.length === 0) return files;
  const shared = join(dirname(files[0] ?? ''), 'libmalloc.debug');
  await run(['dwz', '-r', '-m', shared, ...readable]);
  return [...files, shared];
}

/** The compiler's name for the manifest, without paths, because these differ between machines. */
async function nameOf(compiler: string[]): Promise<string> {
  return (await run([...compiler, '--version'])).split('\n')[0] ?? '';
}

/** Compiles, then moves all files of one platform into place at once. Returns them. */
async function make(platform: string, target: string): Promise<string[]> {
  const compiler = targetCompiler(targetOf(target));
  const work = join(root, 'build', 'prebuilds', target);
  const all = planNative('release', { folder: work, cc: compiler });
  const wanted = all.filter(({ name }) => platform === forGdb || name !== 'track');
  const steps = wanted.map((step) => ({
    ...step,
    command: (file: string) => [...step.command(file), ...(isMalloc(step) ? lean : [])],
  }));
  await runSteps(steps, join(work, '.deps', 'commands.json'));
  const draft = join(root, 'build', 'prebuilds', platform);
  rmSync(draft, { recursive: true, force: true });
  mkdirSync(draft, { recursive: true });
  const copies = steps.map(({ output }) => join(draft, basename(output)));
  steps.forEach(({ output }, index) => {
    copyFileSync(output, copies[index] ?? '');
  });
  const mallocs = copies.filter((_, index) => isMalloc(steps[index] as Step));
  const files = await slim(copies, platform === forGdb ? mallocs : [], compiler);
  const hashes = files.map((file) => [basename(file), sha256(readFileSync(file))]);
  const glibc = await newestGlibc(files);
  const manifest: Manifest = {
    sources: sourcesHash(),
    compiler: await nameOf(compiler),
    ...(glibc === undefined ? {} : { glibc }),
    files: Object.fromEntries(hashes),
  };
  writeFileSync(join(draft, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  const finished = prebuiltFolder(platform);
  rmSync(finished, { recursive: true, force: true });
  mkdirSync(dirname(finished), { recursive: true });
  renameSync(draft, finished);
  return files.map((file) => join(finished, basename(file)));
}

/** All libraries of one platform, unless they were made from these very sources already. */
async function build(platform: string): Promise<void> {
  const target = platforms[platform];
  if (target === undefined)
    throw new Failure(`nothing is prebuilt for ${platform}`, {
      hint: `there are: ${Object.keys(platforms).join(', ')}`,
      code: 1,
    });
  const before = readManifest(prebuiltFolder(platform));
  if (before?.sources === sourcesHash()) return;
  const files = await make(platform, target);
  const bytes = files.reduce((sum, file) => sum + statSync(file).size, 0);
  console.log(`  slim → prebuilds/${platform}/  ${Math.round(bytes / 1024)} KiB`);
}

/**
 * Before a package is packed: removes libraries that were compiled from other sources, and names on
 * standard error the platforms without any, where the package compiles what it needs.
 */
function removeStale(all: string[]): void {
  for (const platform of all) {
    const folder = prebuiltFolder(platform);
    if (existsSync(folder) && readManifest(folder)?.sources !== sourcesHash())
      rmSync(folder, { recursive: true });
    if (!existsSync(folder))
      console.error(`  packed without libraries for ${platform}: make prebuilds`);
  }
}

try {
  const { values, positionals } = parseArgs({
    options: { fresh: { type: 'boolean' } },
    allowPositionals: true,
  });
  const wanted = positionals.length > 0 ? positionals : Object.keys(platforms);
  if (values.fresh) removeStale(wanted);
  else for (const platform of wanted) await build(platform);
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(describeFailure(error));
  process.exitCode = error.code;
}
