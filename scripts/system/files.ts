// Lists every file of an installation: its path and its content.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { execaSync } from 'execa';
import { Failure } from '../lib/errors.ts';
import { soname } from '../lib/flags.ts';
import { type Kind, nativeDir, root } from '../lib/paths.ts';
import { libc } from '../lib/platform.ts';
import { peers, variants } from '../malloc/mallocs.ts';
import { bashCompletion, fishCompletion, zshCompletion } from './completion.ts';
import { commandPage, type Edition, libraryPage, verbPage } from './man.ts';
import { readHeader, replacedFunctions } from './public-header.ts';
import { allVerbs } from './verb-help.ts';

/** Where to install: `lib` is a path below the prefix, such as `lib/x86_64-linux-gnu`. */
export interface Places {
  prefix: string;
  lib: string;
}

/** One file or link, by its path below the prefix. */
export interface Entry {
  path: string;
  /** A file to copy, a text to write, or the target of a link. */
  from: { file: string } | { text: string } | { link: string };
  executable?: boolean;
}

const read = (...parts: string[]): string => readFileSync(join(root, ...parts), 'utf8');
const manifest = (): { version: string; description: string } => JSON.parse(read('package.json'));

/** The folder of the command, of debug builds and of GDB's scripts, below the prefix. */
export const packageFolder = 'lib/libmalloc';

/** The paths of all files in a folder, relative to it. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** The libraries of one build, without files that only make needs. */
function builtFiles(kind: Kind): Entry[] {
  return readdirSync(nativeDir(kind), { withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.startsWith('libmalloc-'))
    .map(({ name }) => ({
      path: `${packageFolder}/build/${kind}/${name}`,
      from: { file: join(nativeDir(kind), name) },
      executable: !name.endsWith('.so'),
    }));
}

/** The files that npm would publish, without those that only npm needs. */
function publishedFiles(): Entry[] {
  const args = ['pack', '--dry-run', '--json', '--ignore-scripts'];
  const { stdout } = execaSync('npm', args, { cwd: root, stderr: 'ignore' });
  const [{ files }] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  return files
    .map(({ path }) => path)
    .filter((path) => !/^prebuilds\/|^README|^LICENSE|^native\/binding\.gyp$/.test(path))
    .map((path) => ({
      path: `${packageFolder}/${path}`,
      from: { file: join(root, path) },
      executable: path === 'build/js/cli.js',
    }));
}

/** The node modules that the command loads. Those of other platforms are not installed here. */
function moduleFiles(): Entry[] {
  const args = ['ls', '--omit=dev', '--all', '--parseable'];
  const { stdout } = execaSync('npm', args, { cwd: root, reject: false });
  const folders = stdout.split('\n').filter((path) => path.includes('/node_modules/'));
  if (folders.length === 0) throw new Failure('the node modules are not installed: npm ci');
  const nested = (folder: string, file: string): boolean =>
    file.startsWith('node_modules/') && existsSync(join(folder, 'node_modules'));
  return folders.flatMap((folder) =>
    filesIn(folder)
      .filter((file) => !nested(folder, file))
      // koffi contains a native part for each C library.
      .filter((file) => !file.startsWith(libc() === 'musl' ? 'linux_' : 'musl_'))
      // The command needs no sources, types or editor settings.
      .filter((file) => !basename(file).startsWith('.'))
      .filter((file) => /(\.(c?js|mjs|json|node|wasm)|LICEN[CS]E[^/]*)$/i.test(file))
      .map((file) => ({
        path: `${packageFolder}/${relative(root, join(folder, file))}`,
        from: { file: join(folder, file) },
        executable: readFileSync(join(folder, file)).subarray(0, 2).toString() === '#!',
      })),
  );
}

/** The library that programs link with or preload, under its versioned names. */
function libraryFiles(lib: string, variant: string): Entry[] {
  const real = `libmalloc.so.${manifest().version}`;
  return [
    {
      path: `${lib}/${real}`,
      from: { file: join(nativeDir('release'), `libmalloc-${variant}.so`) },
    },
    { path: `${lib}/${soname()}`, from: { link: real } },
    { path: `${lib}/libmalloc.so`, from: { link: soname() } },
  ];
}

/** With quotes, so that a blank in the prefix reaches the compiler behind a backslash. */
const pkgConfig = ({ prefix, lib }: Places): string => `prefix=${prefix}
libdir=\${prefix}/${lib}
includedir=\${prefix}/include
# For LD_PRELOAD, instead of linking.
preload=\${libdir}/${soname()}

Name: libmalloc
Description: ${manifest().description}
Version: ${manifest().version}
Libs: "-L\${libdir}" -lmalloc
Cflags: "-I\${includedir}"
`;

/** Computes the prefix from its own path, so that users can move the whole installation. */
const cmakeConfig = ({ lib }: Places): string => {
  const up = `${lib}/cmake/libmalloc`.replaceAll(/[^/]+/g, '..');
  return `get_filename_component(_libmalloc_prefix "\${CMAKE_CURRENT_LIST_DIR}/${up}" ABSOLUTE)
if(NOT TARGET libmalloc::libmalloc)
  add_library(libmalloc::libmalloc SHARED IMPORTED)
  set_target_properties(libmalloc::libmalloc PROPERTIES
    IMPORTED_LOCATION "\${_libmalloc_prefix}/${lib}/libmalloc.so.${manifest().version}"
    IMPORTED_SONAME "${soname()}"
    INTERFACE_INCLUDE_DIRECTORIES "\${_libmalloc_prefix}/include")
endif()
unset(_libmalloc_prefix)
`;
};

/** Until 1.0.0 a minor version may change interfaces. */
const cmakeVersion = (): string => {
  const { version } = manifest();
  const [major, minor] = version.split('.');
  return `set(PACKAGE_VERSION "${version}")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION
    OR NOT PACKAGE_FIND_VERSION MATCHES "^${major}(\\\\.${major === '0' ? minor : '[0-9]+'})?(\\\\.|$)")
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
`;
};

function developerFiles(places: Places): Entry[] {
  const { lib } = places;
  return [
    { path: 'include/libmalloc.h', from: { file: join(root, 'native', 'libmalloc.h') } },
    { path: `${lib}/pkgconfig/libmalloc.pc`, from: { text: pkgConfig(places) } },
    {
      path: `${lib}/cmake/libmalloc/libmalloc-config.cmake`,
      from: { text: cmakeConfig(places) },
    },
    {
      path: `${lib}/cmake/libmalloc/libmalloc-config-version.cmake`,
      from: { text: cmakeVersion() },
    },
  ];
}

/** The version, and the day of SOURCE_DATE_EPOCH or of the last commit, so that builds are reproducible. */
function edition(): Edition {
  const epoch = process.env.SOURCE_DATE_EPOCH;
  const seconds =
    epoch ?? execaSync('git', ['log', '-1', '--format=%ct'], { cwd: root, reject: false }).stdout;
  const date = new Date((Number(seconds) || 0) * 1000).toISOString().slice(0, 10);
  return { version: manifest().version, date };
}

/** The symbols that libmalloc(3) documents: those of the header, and those that replace libc's. */
export function documentedSymbols(): { own: string[]; replaced: string[] } {
  const own = readHeader(read('native', 'libmalloc.h')).items.flatMap(({ functions }) => functions);
  const defined = replacedFunctions(read('native', 'abi.h') + read('native', 'base', 'inspect.h'));
  return { own, replaced: defined.filter((name) => !own.includes(name)) };
}

async function manualFiles(): Promise<Entry[]> {
  const verbs = await allVerbs();
  const { intro, items } = readHeader(read('native', 'libmalloc.h'));
  const { own, replaced } = documentedSymbols();
  const pages: [string, string][] = [
    ['man1/libmalloc.1', commandPage(verbs, manifest().description, edition())],
    ...verbs.map((verb): [string, string] => [
      `man1/libmalloc-${verb.name}.1`,
      verbPage(verb, edition()),
    ]),
    ['man3/libmalloc.3', libraryPage(intro, items, replaced, edition())],
  ];
  return [
    ...pages.map(([path, text]): Entry => ({ path: `share/man/${path}`, from: { text } })),
    ...own.map(
      (name): Entry => ({ path: `share/man/man3/${name}.3`, from: { link: 'libmalloc.3' } }),
    ),
  ];
}

async function completionFiles(): Promise<Entry[]> {
  const verbs = await allVerbs();
  const mallocs = [...variants(), 'glibc', ...peers.map(({ name }) => name)];
  return [
    {
      path: 'share/bash-completion/completions/libmalloc',
      from: { text: bashCompletion(verbs, mallocs) },
    },
    { path: 'share/zsh/site-functions/_libmalloc', from: { text: zshCompletion(verbs, mallocs) } },
    {
      path: 'share/fish/vendor_completions.d/libmalloc.fish',
      from: { text: fishCompletion(verbs, mallocs) },
    },
  ];
}

/** The documents and their pictures, without the JSON files from which `make docs` draws them. */
function documentFiles(): Entry[] {
  const top = ['README.md', 'CHANGELOG.md', 'SECURITY.md', 'LICENSE'];
  const docs = readdirSync(join(root, 'docs')).filter((file) => /\.(md|svg)$/.test(file));
  return [...top, ...docs.map((file) => `docs/${file}`)]
    .filter((file) => existsSync(join(root, file)))
    .map((file) => ({ path: `share/doc/libmalloc/${file}`, from: { file: join(root, file) } }));
}

/** The files of lib/libmalloc: the command, what it loads, debug builds, GDB's scripts. */
export function packageFiles(): Entry[] {
  return [...builtFiles('release'), ...builtFiles('debug'), ...publishedFiles(), ...moduleFiles()];
}

/** All other files of an installation. No path occurs twice. */
export async function sharedFiles(places: Places, variant: string): Promise<Entry[]> {
  return [
    ...libraryFiles(places.lib, variant),
    ...developerFiles(places),
    { path: 'bin/libmalloc', from: { link: `../${packageFolder}/build/js/cli.js` } },
    ...(await manualFiles()),
    ...(await completionFiles()),
    ...documentFiles(),
  ];
}
