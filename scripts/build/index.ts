// `make` and `make debug` end here: C to shared libraries, TypeScript to build/js.
//
//     tsx scripts/build/index.ts release|debug|js…

import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describeFailure, Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { compileCommandsFile, planNative } from './native.ts';
import { broken, quietly, runSteps } from './steps.ts';

/** Removes compiled files whose source is gone, so that nothing can still import them. */
function sweep(folder: string): void {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const file of files) {
    const source = /^(.*?)(\.d\.ts|\.js)$/.exec(file)?.[1];
    if (source !== undefined && !existsSync(join(root, 'scripts', `${source}.ts`)))
      rmSync(join(folder, file));
  }
}

/** Compiles scripts/ to build/js with declarations; throws what the TypeScript compiler said. */
async function buildScripts(): Promise<void> {
  const output = await quietly`node_modules/.bin/tsc -p tsconfig.json`;
  if (output.exitCode !== 0) throw broken('scripts/ does not compile', output);
  const folder = join(root, 'build', 'js');
  sweep(folder);
  chmodSync(join(folder, 'cli.js'), 0o755);
  await buildPage(folder);
  console.log(`  tsc  scripts/ → build/js/  ${(output.duration / 1000).toFixed(1)} s`);
}

/** The page that `view` fills with data, as one file: its markup with style and script put in. */
async function buildPage(folder: string): Promise<void> {
  const page = join(root, 'scripts', 'view', 'page');
  const checked = await quietly`node_modules/.bin/tsc -p ${join(page, 'tsconfig.json')}`;
  if (checked.exitCode !== 0) throw broken('scripts/view/page/ does not compile', checked);
  const options = ['--bundle', '--format=iife', '--target=es2022', '--log-level=warning'];
  const bundle = await quietly`node_modules/.bin/esbuild ${join(page, 'main.ts')} ${options}`;
  if (bundle.exitCode !== 0) throw broken('scripts/view/page/ cannot be bundled', bundle);
  const read = (name: string) => readFileSync(join(page, name), 'utf8');
  const html = read('page.html')
    .replace('/* STYLE */', () => read('page.css'))
    .replace('/* SCRIPT */', () => bundle.stdout.replaceAll('</script', '<\\/script'));
  writeFileSync(join(folder, 'view', 'page.html'), html);
}

const parts: Record<string, () => Promise<void>> = {
  release: () => runSteps(planNative('release'), compileCommandsFile),
  debug: () => runSteps(planNative('debug'), compileCommandsFile),
  js: buildScripts,
};

try {
  for (const name of process.argv.slice(2)) {
    const part = parts[name];
    if (part === undefined) throw new Failure(`nothing to build by the name ${name}`);
    await part();
  }
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(describeFailure(error));
  process.exitCode = error.code;
}
