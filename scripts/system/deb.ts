// `make deb`: builds Debian packages of the library, its development files, and the command.

import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { execaSync } from 'execa';
import { Failure } from '../lib/errors.ts';
import { soname } from '../lib/flags.ts';
import { root } from '../lib/paths.ts';
import { oldestNode } from '../lib/platform.ts';
import { control, copyright, debianChangelog, type Package } from './deb-texts.ts';
import { type Entry, packageFiles, packageFolder, sharedFiles } from './files.ts';
import { putAll } from './put.ts';

const triplets: Readonly<Record<string, string>> = {
  amd64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
  riscv64: 'riscv64-linux-gnu',
};

function run(command: string, args: string[]): string {
  const { failed, stdout, stderr, code } = execaSync(command, args, { reject: false });
  if (code === 'ENOENT')
    throw new Failure(`${command} is missing`, { hint: 'apt-get install dpkg binutils', code: 1 });
  if (failed) throw new Failure(`${command} failed: ${stderr}`, { code: 1 });
  return stdout;
}

/** The packages, and which paths of an installation go into each; the last one takes the rest. */
function packages(lib: string, libc: string): (Package & { holds: RegExp })[] {
  const major = soname().split('.').at(-1);
  const node = oldestNode().join('.');
  return [
    {
      name: `libmalloc${major}`,
      section: 'libs',
      depends: `libc6 (>= ${libc})`,
      summary: 'fast, lean and watchful malloc, to link with or to preload',
      text: 'The library that LD_PRELOAD puts under any program, or that programs link\nwith: malloc and its kin, and functions that walk, check and count the heap.',
      holds: new RegExp(`^${lib}/libmalloc\\.so\\.`),
    },
    {
      name: 'libmalloc-dev',
      section: 'libdevel',
      depends: `libmalloc${major} (= VERSION)`,
      summary: 'fast, lean and watchful malloc (development files)',
      text: 'The header, the manual of its functions, and the files that linkers,\npkg-config and CMake look for.',
      holds: new RegExp(`^(include/|share/man/man3/|${lib}/(libmalloc\\.so$|pkgconfig/|cmake/))`),
    },
    {
      name: 'libmalloc',
      section: 'devel',
      depends: `libc6 (>= ${libc}), libgcc-s1, nodejs (>= ${node})`,
      recommends: `libmalloc${major}, gdb, gcc, libc6-dev`,
      summary: 'run, debug, test and measure any malloc',
      text: 'Mallocs to learn from, rung by rung, in release and debug builds, and the\ncommand that runs programs on them or on any other malloc, debugs, records,\ndraws, checks and measures them.',
      holds: /^/,
    },
  ];
}

/** Applies Debian's rules: man pages are compressed, and the licence is in a file of its own. */
function asDebianHasIt(entry: Entry): Entry | undefined {
  if (entry.path === 'share/doc/libmalloc/LICENSE') return undefined;
  if (entry.path.startsWith('share/zsh/')) {
    const path = entry.path.replace('site-functions', 'vendor-completions');
    return { ...entry, path };
  }
  if (!entry.path.startsWith('share/man/')) return entry;
  const { from } = entry;
  const packed = 'link' in from ? { link: `${from.link}.gz` } : from;
  return { ...entry, path: `${entry.path}.gz`, from: packed };
}

/** A link for GDB, which finds the debug information of a stripped library by its build-id. */
function debugLink(library: string): Entry {
  const [, id = ''] = /Build ID: (\w+)/.exec(run('readelf', ['-nW', library])) ?? [];
  const target = `../../../${packageFolder.replace(/^lib\//, '')}/build/release`;
  return {
    path: `lib/debug/.build-id/${id.slice(0, 2)}/${id.slice(2)}.debug`,
    from: { link: `${target}/${library.split('/').at(-1)}` },
  };
}

/** All files of all packages, by their paths below /usr. */
async function entries(lib: string, variant: string): Promise<Entry[]> {
  const shared = await sharedFiles({ prefix: '/usr', lib }, variant);
  const library = join(root, 'build', 'release', `libmalloc-${variant}.so`);
  return [...packageFiles(), ...shared, debugLink(library)]
    .map(asDebianHasIt)
    .filter((entry) => entry !== undefined);
}

/** The oldest glibc that the release libraries run on: the newest version that they reference. */
function neededLibc(): string {
  const folder = join(root, 'build', 'release');
  const files = ['sharded', 'probe', 'trace'].map((name) => join(folder, `libmalloc-${name}.so`));
  const versions = run('readelf', ['-VW', ...files]).matchAll(/\bGLIBC_2\.(\d+)/g);
  return `2.${Math.max(...[...versions].map((match) => Number(match[1])))}`;
}

const gzip = (text: string | Buffer): Buffer => {
  const packed = gzipSync(text, { level: 9 });
  packed.writeUInt32LE(0, 4); // no time, so that each build gives the same bytes
  return packed;
};

/** Writes the files and the metadata of one package, and packs them. */
function pack(each: Package, all: Entry[], architecture: string, libs: string): string {
  const version = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version;
  const work = join(root, 'build', 'deb', each.name);
  const usr = join(work, 'usr');
  rmSync(work, { recursive: true, force: true });
  putAll(usr, all);
  for (const { path, from } of all)
    if (path.startsWith('share/man/') && 'text' in from)
      writeFileSync(join(usr, path), gzip(from.text));
  const library = all.find(({ path }) => path === `${libs}/libmalloc.so.${version}`);
  if (library !== undefined) run('strip', ['--strip-unneeded', join(usr, library.path)]);
  const doc = join(usr, 'share', 'doc', each.name);
  mkdirSync(doc, { recursive: true });
  writeFileSync(join(doc, 'copyright'), copyright(each.name));
  writeFileSync(join(doc, 'changelog.gz'), gzip(debianChangelog(version)));
  writeOverrides(join(usr, 'share', 'lintian', 'overrides'), each.name);
  const meta = join(work, 'DEBIAN');
  mkdirSync(meta, { recursive: true });
  const bytes = all.reduce(
    (sum, { path, from }) => sum + ('link' in from ? 0 : statSync(join(usr, path)).size),
    0,
  );
  writeFileSync(
    join(meta, 'control'),
    control(each, { version, architecture, kib: Math.ceil(bytes / 1024) }),
  );
  writeFileSync(join(meta, 'md5sums'), md5sums(work));
  if (library !== undefined) {
    const [, name, number] = /^(.*)\.so\.(\d+)$/.exec(soname()) ?? [];
    writeFileSync(join(meta, 'shlibs'), `${name} ${number} ${each.name} (>= ${version})\n`);
    writeFileSync(join(meta, 'triggers'), 'activate-noawait ldconfig\n');
  }
  const file = join(root, 'build', 'deb', `${each.name}_${version}_${architecture}.deb`);
  run('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', work, file]);
  return file;
}

/** Declares what lintian would report as errors, although we mean it. */
function writeOverrides(folder: string, name: string): void {
  if (name !== 'libmalloc') return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(
    join(folder, name),
    `# GDB's heap commands read the debug information of these libraries.
libmalloc: unstripped-binary-or-object *
# This is a link by which GDB finds the debug information of libmalloc0's library.
libmalloc: debug-suffix-not-dbg *
`,
  );
}

function md5sums(work: string): string {
  const files = run('find', [
    work,
    '-type',
    'f',
    '-not',
    '-path',
    '*/DEBIAN/*',
    '-printf',
    '%P\\n',
  ]);
  return files
    .split('\n')
    .filter((file) => file !== '')
    .sort()
    .map((file) => {
      const hash = createHash('md5')
        .update(readFileSync(join(work, file)))
        .digest('hex');
      return `${hash}  ${file}\n`;
    })
    .join('');
}

/** Builds all packages; returns their files. */
export async function buildPackages(variant: string): Promise<string[]> {
  const architecture = run('dpkg', ['--print-architecture']).trim();
  const triplet = triplets[architecture];
  if (triplet === undefined)
    throw new Failure(`no package can be built for ${architecture}`, {
      hint: `supported: ${Object.keys(triplets).join(', ')}`,
    });
  const lib = `lib/${triplet}`;
  const all = packages(lib, neededLibc());
  const split = new Map<string, Entry[]>(all.map(({ name }) => [name, []]));
  for (const entry of await entries(lib, variant)) {
    const { name = '' } = all.find(({ holds }) => holds.test(entry.path)) ?? {};
    split.get(name)?.push(entry);
  }
  return all.map((each) => pack(each, split.get(each.name) ?? [], architecture, lib));
}
