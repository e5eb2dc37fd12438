// The npm package as its users get it: the tarball, in an empty folder, as another user, without a
// compiler, offline.

import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { platformFault, platformName } from '../../scripts/lib/platform.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { which } from '../../scripts/malloc/programs.ts';
import { need } from '../lib/need.ts';

const NOBODY = 65534;
const asRoot = process.getuid?.() === 0;

interface Said {
  status: number | undefined;
  stdout: string;
  stderr: string;
}

let folder: string;
let tarball: string;
let home: string;
let tools: string;

/** A folder that anyone may enter, with links to these programs in it. */
function pathOf(name: string, programs: string[]): string {
  const path = join(folder, name);
  mkdirSync(path);
  for (const program of programs) symlinkSync(which(program) ?? program, join(path, program));
  return path;
}

/** Runs a command as nobody (if we are root), without a network, with an environment of its own. */
async function outside(words: string[], env: Record<string, string> = {}): Promise<Said> {
  const user = ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'];
  const drop = asRoot ? [need('unshare'), '--net', ...user] : [];
  const vars = { HOME: home, PATH: tools, npm_config_cache: join(folder, 'cache'), ...env };
  const clean = ['env', '-i', ...Object.entries(vars).map(([name, value]) => `${name}=${value}`)];
  const [file = '', ...args] = [...drop, ...clean, ...words];
  const result = await execa(file, args, { cwd: home, reject: false, timeout: 120_000 });
  return { status: result.exitCode, stdout: result.stdout, stderr: result.stderr };
}

const libmalloc = (...args: string[]): string[] => [
  join(home, 'node_modules', '.bin', 'libmalloc'),
  ...args,
];
const installed = (...parts: string[]): string => join(home, 'node_modules', 'libmalloc', ...parts);

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'libmalloc-npm-'));
  chmodSync(folder, 0o755);
  home = join(folder, 'home');
  mkdirSync(home);
  tools = pathOf('tools', ['node', 'npm', 'sh', 'env', 'ls', 'true']);
  const make = ['--no-print-directory', 'prebuilds', `PLATFORMS=${platformName()}`];
  const built = await execa('make', make, { cwd: root, reject: false, all: true });
  expect(built.exitCode, built.all).toBe(0);
  const pack = ['pack', '--json', '--pack-destination', folder];
  const { stdout } = await execa('npm', pack, { cwd: root });
  tarball = join(folder, JSON.parse(stdout.slice(stdout.indexOf('[')))[0].filename);
  // A first installation fills a cache, from the registry or from our own.
  const first = join(folder, 'first');
  mkdirSync(first);
  const env = { npm_config_cache: join(folder, 'cache') };
  const seed = ['install', '--no-audit', '--no-fund', '--no-update-notifier', tarball];
  const seeded = await execa('npm', seed, { cwd: first, env, reject: false, all: true });
  expect(seeded.exitCode, seeded.all).toBe(0);
  rmSync(first, { recursive: true });
  if (asRoot) {
    await execa('chown', ['-R', `${NOBODY}:${NOBODY}`, join(folder, 'cache'), home]);
    chownSync(home, NOBODY, NOBODY);
  }
}, 600_000); // on a loaded machine nine C files take minutes
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('npm install of the tarball, as another user, without a compiler, offline', () => {
  let install: Said;
  beforeAll(async () => {
    need('unshare');
    install = await outside(['npm', 'install', '--offline', tarball]);
  });

  test('succeeds, and npm prints no warning', () => {
    expect(install.status, install.stderr).toBe(0);
    expect(install.stderr).toBe('');
    expect(existsSync(installed('prebuilds', platformName(), 'libmalloc-list.so'))).toBe(true);
  });

  test('runs no script: with --ignore-scripts it is the same', () => {
    const json = JSON.parse(readFileSync(installed('package.json'), 'utf8'));
    const run = ['preinstall', 'install', 'postinstall', 'prepare'];
    expect(Object.keys(json.scripts).filter((name) => run.includes(name))).toEqual([]);
    expect(existsSync(installed('binding.gyp'))).toBe(false); // npm would run node-gyp for it
    const others = readdirSync(join(home, 'node_modules'), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('/package.json'))
      .map((file) => JSON.parse(readFileSync(join(home, 'node_modules', file), 'utf8')))
      .filter(({ scripts }) => run.slice(0, 3).some((name) => scripts?.[name]));
    expect(others.map(({ name }) => name)).toEqual([]);
  });

  test.each(variants())('runs a program on the prebuilt %s, and proves it', async (name) => {
    const said = await outside(libmalloc('run', '-m', name, '--', 'ls', '/'));
    expect(said.status, said.stderr).toBe(0);
    expect(said.stdout).toContain('usr');
    expect(said.stderr).toContain(`libmalloc: ${name} in 1 process (ls)`);
    expect(said.stderr).toContain(`prebuilds/${platformName()}/libmalloc-${name}.so`);
  });

  test('openMalloc calls it from Node', async () => {
    writeFileSync(
      join(home, 'use.mjs'),
      `import { openMalloc } from 'libmalloc';
       const heap = openMalloc('paged');
       const block = heap.malloc(100);
       console.log(heap.usableSize(block) >= 100, heap.stats().liveBlocks, heap.check().length);`,
    );
    const { stdout, stderr } = await outside(['node', 'use.mjs']);
    expect(stdout, stderr).toBe('true 1 0');
  });

  test('the doctor finds every malloc, and misses no compiler', async () => {
    const { stdout } = await outside(libmalloc('doctor', '--json', '-'));
    const checks: { name: string; status: string; found: string }[] = JSON.parse(stdout).checks;
    const of = (name: string) => checks.find((check) => check.name === name);
    for (const name of [...variants(), 'platform', 'node', 'preload'])
      expect(of(name), name).toMatchObject({ status: 'ok' });
    expect(of('compiler')).toMatchObject({ status: 'optional', found: 'no cc' });
  });

  test('every prebuilt file has the hash of its manifest', async () => {
    const { readManifest, sha256 } = await import('../../scripts/lib/prebuilt.ts');
    const prebuilt = installed('prebuilds', platformName());
    const files = readManifest(prebuilt)?.files ?? {};
    expect(Object.keys(files).sort()).toEqual(
      readdirSync(prebuilt)
        .filter((file) => file !== 'manifest.json')
        .sort(),
    );
    for (const [file, hash] of Object.entries(files))
      expect(sha256(readFileSync(join(prebuilt, file))), file).toBe(hash);
  });
});

describe('libraries that are not prebuilt', () => {
  const change = (): void => appendFileSync(installed('native', 'heap.h'), '/* changed */\n');

  test('are named where the others are prebuilt', async () => {
    const track = installed('prebuilds', platformName(), 'libmalloc-track.so');
    if (existsSync(track)) rmSync(track);
    const session = libmalloc('gdb', '--track', '-m', 'list', '--print', '--', 'true');
    const said = await outside(session);
    expect(said.status).toBe(125);
    expect(said.stderr).toContain(`libmalloc-track.so is not prebuilt for ${platformName()}`);
    rmSync(join(home, '.cache'), { recursive: true });
  });

  test('need a compiler, whose absence is named', async () => {
    change();
    const said = await outside(libmalloc('run', '-m', 'list', '--', 'true'));
    expect(said.status).toBe(125);
    expect(said.stderr).toContain('were compiled from other sources than those in native/');
    expect(said.stderr).toContain('and there is no C compiler (cc)\n');
    expect(said.stderr).toMatch(/apt-get install gcc libc6-dev|apk add gcc/);
  });

  test('are compiled once with cc alone, debug builds likewise', async () => {
    const compilers = pathOf('compilers', ['cc', 'as', 'ld']);
    const PATH = `${tools}:${compilers}`;
    for (const extra of [[], ['--debug']]) {
      const session = libmalloc('gdb', '-m', 'list', '--print', ...extra, '--', 'true');
      const first = await outside(session, { PATH });
      expect(first.status, first.stderr).toBe(0);
      expect(first.stderr).toContain('compiling libmalloc-list.so with cc, once');
      expect((await outside(session, { PATH: tools })).stderr).toBe('');
    }
    const made = readdirSync(join(home, '.cache', 'libmalloc'));
    expect(made.sort()).toEqual([
      expect.stringMatching(/^debug-\w{16}$/),
      expect.stringMatching(/^release-\w{16}$/),
    ]);
    expect(existsSync(installed('build', 'release'))).toBe(false);
  });

  test('prove that they are in use, wherever they lie', async () => {
    const PATH = `${tools}:${join(folder, 'compilers')}`;
    const said = await outside(libmalloc('run', '-m', 'list', '--', 'true'), { PATH });
    expect(said.status, said.stderr).toBe(0);
    expect(said.stderr).toMatch(/list in 1 process.*\.cache\/libmalloc\/release-\w{16}\//);
  });
});

test('the tarball of all platforms has at most 1.5 MB', () => {
  // What the libraries of a platform take in the tarball, against those for x64 with glibc.
  const shares: Record<string, number> = {
    'linux-x64-glibc': 1,
    'linux-arm64-glibc': 0.5,
    'linux-x64-musl': 0.5,
    'linux-arm64-musl': 0.5,
  };
  const folderOf = (platform: string) => join(root, 'prebuilds', platform);
  const packedSize = (platform: string): number =>
    readdirSync(folderOf(platform))
      .map((file) => gzipSync(readFileSync(join(folderOf(platform), file))).length)
      .reduce((sum, size) => sum + size, 0);
  const here = platformName();
  const unit = packedSize(here) / (shares[here] ?? Number.NaN);
  const absent = Object.keys(shares).filter((platform) => !existsSync(folderOf(platform)));
  const missing = absent.reduce((sum, platform) => sum + unit * (shares[platform] ?? 0), 0);
  expect(statSync(tarball).size + missing).toBeLessThan(1_500_000);
});

describe('a machine that libmalloc does not run on', () => {
  /** Environment in which Node reports another machine. */
  const pretending = (machine: Record<string, string>): NodeJS.ProcessEnv => {
    const lines = Object.entries(machine).map(
      ([name, value]) => `Object.defineProperty(process, '${name}', { value: '${value}' });`,
    );
    const file = join(folder, `${Object.values(machine).join('-')}.cjs`);
    writeFileSync(file, lines.join('\n'));
    return { NODE_OPTIONS: `--require ${file}` };
  };

  test.each([
    [{ platform: 'darwin' }, 'linux,because it preloads ELF', /"os":"darwin"/],
    [{ arch: 'ia32' }, 'x64,arm64,riscv64,because its heaps need 64-bit', /"(cpu|arch)":"ia32"/],
  ])('is refused by npm, which says what is right, and why: %o', async (machine, valid, actual) => {
    const other = mkdtempSync(join(folder, 'other-'));
    const env = { npm_config_cache: join(folder, 'cache'), ...pretending(machine) };
    const install = ['install', '--offline', tarball];
    const { exitCode, stderr } = await execa('npm', install, { cwd: other, env, reject: false });
    expect(exitCode).not.toBe(0);
    expect(stderr).toContain('EBADPLATFORM');
    expect(stderr).toContain(valid); // npm 9 words the lines around it otherwise
    expect(stderr).toMatch(actual);
  });

  test('is refused by every verb with one sentence, which the doctor has in its table', async () => {
    const env = pretending({ arch: 's390' });
    const node = (...args: string[]) =>
      execa(process.execPath, [join(root, 'build', 'js', 'cli.js'), ...args], {
        env,
        reject: false,
      });
    const sentence = platformFault({ platform: 'linux', arch: 's390', endianness: 'BE' });
    const run = await node('run', '--', 'true');
    expect(run.exitCode).toBe(125);
    expect(run.stderr).toBe(`libmalloc: ${sentence}`);
    const { stdout, exitCode } = await node('doctor', '--json', '-');
    expect(exitCode).toBe(1);
    expect(JSON.parse(stdout).checks[0]).toMatchObject({ status: 'wrong', found: sentence });
  });

  test.each([
    ['freebsd', 'x64', 'LE', 'not on freebsd on x64, because it preloads ELF libraries'],
    ['linux', 'arm', 'LE', 'not on linux on arm, because its heaps need 64-bit pointers'],
    ['linux', 's390x', 'BE', 'not on linux on s390x, because its records are little-endian'],
    ['linux', 'loong64', 'LE', 'not on linux on loong64, because nobody has ported'],
  ] as const)('gets the reason: %s on %s', (platform, arch, endianness, reason) => {
    const fault = platformFault({ platform, arch, endianness });
    expect(fault).toContain('libmalloc runs on 64-bit Linux on x64, arm64 and riscv64');
    expect(fault).toContain(reason);
    expect(fault).not.toMatch(/\n|\. /);
  });

  test.each(['x64', 'arm64', 'riscv64'])('is not linux on %s', (arch) => {
    expect(platformFault({ platform: 'linux', arch, endianness: 'LE' })).toBeUndefined();
  });
});
