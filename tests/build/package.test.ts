import { cpSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import { findNative } from '../../scripts/lib/native-files.ts';
import { root } from '../../scripts/lib/paths.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { testFolder } from '../lib/folder.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

// The exports of every variant: all of the family (blocks from a missing function of ours would come from
// glibc and then reach our free), the public header, and no other name.
const family = [
  'malloc calloc realloc reallocarray free free_sized free_aligned_sized posix_memalign',
  'aligned_alloc memalign valloc pvalloc malloc_usable_size mallinfo mallinfo2 malloc_stats',
  'malloc_info malloc_trim mallopt',
  '__libc_malloc __libc_calloc __libc_realloc __libc_free __libc_memalign __libc_valloc',
  '__libc_pvalloc',
  'libmalloc_walk libmalloc_check libmalloc_stats libmalloc_purge libmalloc_version show_alloc_mem',
];
const exported = family.join(' ').split(' ').sort();

/** The names that a library exports, or with `-u` those that it imports. */
async function symbols(file: string, which: '--defined-only' | '-u'): Promise<string[]> {
  const { stdout } = await execa(need('nm'), ['-D', which, '--without-symbol-versions', file]);
  return stdout
    .split('\n')
    .map((line) => line.trim().split(/\s+/).at(-1) ?? '')
    .filter((name) => name !== '')
    .sort();
}

describe.each(everyVariant)('libmalloc-%s.so', (name) => {
  test('exports the malloc family and the public header, and nothing else', async () => {
    expect(await symbols(variantFile(name), '--defined-only')).toEqual(exported);
  });

  test('calls no other allocator', async () => {
    const wanted = await symbols(variantFile(name), '-u');
    expect(wanted.filter((each) => exported.includes(each))).toEqual([]);
  });

  test('needs the C library alone, binds its own names to itself, and keeps its symbols', async () => {
    const { stdout } = await execa(need('readelf'), ['-dSW', variantFile(name)]);
    const needed = [...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1]);
    expect(needed).toEqual(['libc.so.6']);
    expect(stdout).toMatch(/\(SYMBOLIC\)|FLAGS.*SYMBOLIC/);
    expect(stdout).toContain('.debug_info');
    expect(stdout).toContain('.symtab');
  });

  test('keeps at most two words in thread-local storage: dlopen has little of it', async () => {
    const { stdout } = await execa(need('readelf'), ['-lW', variantFile(name)]);
    const size = /^\s+TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(\S+)/m.exec(stdout)?.[1] ?? '0';
    expect(Number(size)).toBeLessThanOrEqual(16);
  });
});

describe('node-gyp with native/binding.gyp', () => {
  const folder = testFolder();
  beforeAll(() => {
    cpSync(join(root, 'native'), folder, {
      recursive: true,
      filter: (file) => file !== join(root, 'native', 'build'),
    });
  });

  /** The prefix with include/node: named by npm's configuration, or where this Node lives. */
  function headers(): string {
    const prefixes = [process.env.npm_config_nodedir, dirname(dirname(process.execPath))];
    const found = prefixes.find(
      (prefix) => prefix && existsSync(join(prefix, 'include', 'node', 'common.gypi')),
    );
    return found ?? skip('the headers of Node are not installed beside it (npm config: nodedir)');
  }

  test('compiles every library, with the same exports as our own build', async () => {
    const gyp = join(root, 'node_modules', '.bin', 'node-gyp');
    need('make');
    const args = ['rebuild', `--nodedir=${headers()}`, `--python=${need('python3')}`];
    const result = await execa(gyp, args, { cwd: folder, reject: false, all: true });
    expect(result.exitCode, result.all).toBe(0);
    for (const name of [...variants(), 'probe', 'trace', 'layout', 'profile', 'track']) {
      const file = `libmalloc-${name}.so`;
      const theirs = join(folder, 'build', 'Release', file);
      const ours = findNative(file) ?? '';
      for (const which of ['--defined-only', '-u'] as const)
        expect(await symbols(theirs, which), `${file} ${which}`).toEqual(
          await symbols(ours, which),
        );
      const { stdout } = await execa(need('readelf'), ['-d', theirs]);
      expect([...stdout.matchAll(/\(NEEDED\).*\[(.*)\]/g)].map((match) => match[1])).toEqual([
        'libc.so.6',
      ]);
    }
  });
});

describe('the package', () => {
  const json = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

  /** The files that npm would publish. */
  async function published(): Promise<string[]> {
    const pack = ['pack', '--dry-run', '--json', '--ignore-scripts'];
    const { stdout } = await execa('npm', pack, { cwd: root });
    const [{ files }] = JSON.parse(stdout);
    return files.map(({ path }: { path: string }) => path);
  }

  test('contains all files that its verbs read, and no test or build product of this machine', async () => {
    const files = await published();
    const sources = variants().map((name) => `native/${name}.c`);
    const wanted = [
      'build/js/cli.js',
      'build/js/ffi/index.d.ts',
      'build/js/view/page.html',
      'gdbinit',
    ];
    const more = [
      'native/binding.gyp',
      'native/flags.json',
      'native/tools/probe.c',
      'native/abi.h',
      'native/tools/trace/file.h',
      'LICENSE',
    ];
    const cases = ['program.h', 'misuse.c', 'random.c'].map((name) => `tests/programs/${name}`);
    for (const file of [...wanted, ...more, ...sources, ...cases, 'tests/programs.json'])
      expect(files, file).toContain(file);
    const strays = files.filter((file) =>
      /\.test\.|^scripts\/|^(?!prebuilds\/).*\.so$|__pycache__/.test(file),
    );
    expect(strays).toEqual([]);
  });

  test('contains the C programs that check runs, and no others', async () => {
    const check = join(root, 'scripts', 'check');
    const text = readdirSync(check, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(check, file), 'utf8'))
      .join('\n');
    // Names stand there in quotes; those of the group basics are made of the case's.
    const named = readdirSync(join(root, 'tests', 'programs'))
      .filter((file) => file.endsWith('.c'))
      .filter((file) => file.startsWith('basics-') || text.includes(`'${file.slice(0, -2)}'`));
    const packed = (await published()).filter((file) => /^tests\/programs\/.*\.c$/.test(file));
    expect(packed.map((file) => basename(file)).sort()).toEqual(named.sort());
  });

  test('names entry points that a build makes', () => {
    const { bin, exports } = json;
    for (const file of [bin.libmalloc, exports['.'].types, exports['.'].default])
      expect(existsSync(join(root, file)), file).toBe(true);
  });

  test('pins every version exactly, in the lockfile as well', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
    for (const [name, version] of Object.entries({
      ...json.dependencies,
      ...json.devDependencies,
    })) {
      expect(version, name).toMatch(/^\d+\.\d+\.\d+$/);
      expect(lock.packages[`node_modules/${name}`].version).toBe(version);
    }
  });

  test('decides about every install script of what it depends on', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
    const names = Object.entries(lock.packages as Record<string, { hasInstallScript?: boolean }>)
      .filter(([path, { hasInstallScript }]) => path !== '' && hasInstallScript)
      .map(([path]) => path.replace(/^.*node_modules\//, ''));
    expect(Object.keys(json.allowScripts).sort()).toEqual([...new Set(names)].sort());
  });
});
