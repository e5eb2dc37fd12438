import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { nativeDirs } from '../lib/native-files.ts';
import { root } from '../lib/paths.ts';
import { didYouMean } from '../lib/similar.ts';
import { provideNative } from './from-source.ts';
import { configuredDefault, declared, ordered } from './variants.ts';

/** Any malloc in the world, ours or not: what `-m M` names. */
export interface Malloc {
  name: string;
  kind: 'variant' | 'glibc' | 'peer' | 'file';
  /** Absolute path of the library to preload; undefined for glibc, which is there anyway. */
  file: string | undefined;
  /** One of ours, from build/debug. */
  debug?: boolean;
}

/** Libraries beside the variants; each is its own C file in native/tools/. */
export const helpers = ['probe', 'trace', 'layout', 'profile', 'track'];

/** The malloc of a program without a preload. */
export const glibc: Malloc = { name: 'glibc', kind: 'glibc', file: undefined };

/** A malloc of another project, as Debian packages it. */
export interface Peer {
  name: string;
  package: string;
  /** Absolute paths where it may be, best first. */
  candidates: string[];
}

const triplets: Partial<Record<NodeJS.Architecture, string>> = {
  x64: 'x86_64-linux-gnu',
  arm64: 'aarch64-linux-gnu',
};

const folders = [
  '/usr/local/lib',
  ...(triplets[process.arch] ? [`/usr/lib/${triplets[process.arch]}`] : []),
  '/usr/lib64',
  '/usr/lib',
];

function peer(name: string, debian: string, ...files: string[]): Peer {
  const candidates = files.flatMap((file) => folders.map((folder) => join(folder, file)));
  return { name, package: debian, candidates };
}

/** LLVM installs beside its compiler, one folder for each version: the newest first. */
function scudo(): Peer {
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch;
  const file = `lib/linux/libclang_rt.scudo_standalone-${machine}.so`;
  const inside = (folder: string) => (existsSync(folder) ? readdirSync(folder) : []);
  const compilers = inside('/usr/lib')
    .filter((name) => /^llvm-\d+$/.test(name))
    .sort((a, b) => Number(b.slice(5)) - Number(a.slice(5)))
    .map((name) => join('/usr/lib', name, 'lib', 'clang'));
  const candidates = compilers.flatMap((folder) =>
    inside(folder).map((version) => join(folder, version, file)),
  );
  return { name: 'scudo', package: 'libclang-rt-14-dev', candidates };
}

/** The mallocs that Debian packages and we compare with. */
export const peers: readonly Peer[] = [
  peer('jemalloc', 'libjemalloc2', 'libjemalloc.so.2'),
  peer('tcmalloc', 'libtcmalloc-minimal4', 'libtcmalloc_minimal.so.4', 'libtcmalloc.so.4'),
  peer('mimalloc', 'libmimalloc2.0', 'libmimalloc.so.2', 'libmimalloc.so.2.0', 'libmimalloc.so.3'),
  scudo(),
];

/** Without sources the rungs are unknown, so the order is alphabetical. */
function builtVariants(): string[] {
  const files = nativeDirs()
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder));
  const names = files.map((file) => /^libmalloc-(\w+)\.so$/.exec(file)?.[1]);
  return [...new Set(names)]
    .filter((name) => name !== undefined && !helpers.includes(name))
    .sort() as string[];
}

/** Our variants in the order of their rungs: the C files in native/ that declare themselves one. */
export function variants(): string[] {
  const native = join(root, 'native');
  if (!existsSync(native)) return builtVariants();
  const names = ordered(declared());
  return names.length > 0 ? names : builtVariants();
}

/** The variant that everything uses unless told otherwise: the one that package.json names. */
export function defaultVariant(): string {
  const name = configuredDefault();
  if (variants().includes(name)) return name;
  throw new Failure(`no variant of libmalloc in ${root}`, { hint: 'reinstall the package' });
}

/** The path of an installed peer's library, or undefined. */
export function findPeer(name: string): string | undefined {
  return peers.find((each) => each.name === name)?.candidates.find((file) => existsSync(file));
}

function resolveFile(file: string, name: string): Malloc {
  const path = resolve(file);
  if (!existsSync(path)) {
    throw new Failure(`no such library: ${file}`, {
      hint: 'give the path of a malloc built as a .so',
    });
  }
  if (!statSync(path).isFile()) {
    throw new Failure(`not a library: ${file}`, {
      hint: 'give the path of a malloc built as a .so',
    });
  }
  return { name, kind: 'file', file: path };
}

function resolveVariant(name: string, debug: boolean): Malloc {
  const file = provideNative(`libmalloc-${name}.so`, debug ? 'debug' : 'release');
  return { name, kind: 'variant', file, ...(debug ? { debug } : {}) };
}

function resolvePeer(wanted: Peer): Malloc {
  const file = findPeer(wanted.name);
  if (file === undefined) {
    throw new Failure(`${wanted.name} is not installed`, {
      hint: `apt-get install ${wanted.package}`,
    });
  }
  return { name: wanted.name, kind: 'peer', file };
}

/** A path rather than a name: has a slash, or ends like a shared library. */
function isFile(spec: string): boolean {
  return spec.includes('/') || /\.so(\.\d+)*$/.test(spec);
}

/**
 * What `-m` names: `NAME | FILE.so | NAME=FILE.so`; nothing means the default variant.
 * Throws Failure for an unknown name, a library that is not built, a peer not installed.
 */
export function resolveMalloc(spec?: string, options: { debug?: boolean } = {}): Malloc {
  const name = spec ?? defaultVariant();
  const named = /^([^/=]+)=(.+)$/.exec(name);
  if (named?.[1] && named[2]) return resolveFile(named[2], named[1]);
  if (isFile(name)) return resolveFile(name, basename(name).replace(/\.so(\.\d+)*$/, ''));
  if (name === glibc.name) return glibc;
  if (variants().includes(name)) return resolveVariant(name, options.debug ?? false);
  const known = peers.find((each) => each.name === name);
  if (known !== undefined) return resolvePeer(known);
  const names = [...variants(), 'glibc', ...peers.map((each) => each.name)];
  throw new Failure(`unknown malloc: ${name === '' ? '(empty)' : name}`, {
    hint: `${didYouMean(name, names)}known: ${names.join(', ')}; or the path of any FILE.so, or NAME=FILE.so`,
  });
}

/** The variant's name when `m` is one of ours, also when it was given as a file. */
export function variantOf(m: Malloc): string | undefined {
  if (m.kind === 'variant') return m.name;
  return variantOfFile(m.file ?? '');
}

/** The variant that a library is: by its name, or, where it is installed as libmalloc.so.N, by what it says. */
export function variantOfFile(file: string): string | undefined {
  const [, name, plain] = /^libmalloc(?:-(\w+)\.so|(\.so[.\d]*))$/.exec(basename(file)) ?? [];
  if (plain !== undefined && existsSync(file))
    return /libmalloc [\d.]+ \((\w+)\)/.exec(readFileSync(file, 'latin1'))?.[1];
  return name !== undefined && helpers.includes(name) ? undefined : name;
}
