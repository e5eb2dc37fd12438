// What `make` and `make debug` run: compiles C to shared libraries, and TypeScript to build/js.
//
//     tsx scripts/build/index.ts release|debug|js…

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { describeFailure, Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { requirePlatform } from '../lib/platform.ts';
import { compileCommandsFile, planNative } from './native.ts';
import { broken, quietly, runSteps } from './run-steps.ts';

/** Removes compiled files whose source is gone, so that nothing can still import them. */
function sweep(folder: string): void {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((each) => !each.startsWith('node_modules'))) {
    const source = /^(.*?)(\.d\.ts|\.js)$/.exec(file)?.[1];
    if (source !== undefined && !existsSync(join(root, 'scripts', `${source}.ts`)))
      rmSync(join(folder, file));
  }
}

/** Compiles scripts/ to build/js with declarations; throws what the TypeScript compiler said. */
async function buildScripts(): Promise<void> {
  const output = await quietly`node_modules/.bin/tsc -p tsconfig.json --emitDeclarationOnly`;
  if (output.exitCode !== 0) throw broken('scripts/ does not compile', output);
  // Editors show the comments of declarations; those in the code would only enlarge the package.
  const options = ['--declaration', 'false', '--removeComments'];
  const emitted = await quietly`node_modules/.bin/tsc -p tsconfig.json ${options}`;
  if (emitted.exitCode !== 0) throw broken('scripts/ does not compile', emitted);
  const folder = join(root, 'build', 'js');
  sweep(folder);
  chmodSync(join(folder, 'cli.js'), 0o755);
  await buildPage(folder);
  copyKoffi(folder);
  const seconds = (output.duration + emitted.duration) / 1000;
  console.log(`  tsc  scripts/ → build/js/  ${seconds.toFixed(1)} s`);
}

/** Makes the page that `view` fills with data: one file, with style and script in the markup. */
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

/**
 * Copies into the package those few files of koffi that are loaded; its native part is a package for
 * each platform. As a dependency, koffi would add two megabytes of sources, and an install script,
 * about which npm warns everyone who installs libmalloc.
 */
function copyKoffi(folder: string): void {
  const from = join(root, 'node_modules', 'koffi');
  const to = join(folder, 'node_modules', 'koffi');
  const { name, version, license, main, exports, types, cnoke } = JSON.parse(
    readFileSync(join(from, 'package.json'), 'utf8'),
  );
  const loaded = ['index.js', 'index.cjs', 'src/koffi/index.js', 'src/koffi/index.cjs'];
  const more = ['src/koffi/src/static.js', 'src/koffi/src/static.cjs', 'index.d.ts', 'LICENSE.txt'];
  for (const file of [...loaded, ...more]) {
    mkdirSync(dirname(join(to, file)), { recursive: true });
    copyFileSync(join(from, file), join(to, file));
  }
  const kept = { name, version, license, type: 'module', main, exports, types, cnoke };
  writeFileSync(join(to, 'package.json'), `${JSON.stringify(kept, null, 2)}\n`);
}

const parts: Record<string, () => Promise<void>> = {
  release: () => runSteps(planNative('release'), compileCommandsFile),
  debug: () => runSteps(planNative('debug'), compileCommandsFile),
  js: buildScripts,
};

try {
  requirePlatform();
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
