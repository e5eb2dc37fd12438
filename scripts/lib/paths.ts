import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Which of the two builds: `release` (-O2 -g) or `debug` (-Og -g3, asserts, guards). */
export type Kind = 'release' | 'debug';

function findRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error('libmalloc: no package.json above its own scripts');
    folder = parent;
  }
  return folder;
}

/** The package's folder: the nearest package.json upward, from scripts/ as from build/js/. */
export const root: string = findRoot();

/** Where our own build of that kind puts its libraries. */
export function nativeDir(kind: Kind): string {
  return join(root, 'build', kind);
}

/**
 * The folders that may hold native files, best first: our own build, files prebuilt for this
 * platform, what node-gyp compiled at installation. Only the first exists in a debug flavour.
 */
export function nativeDirs(kind: Kind = 'release'): string[] {
  if (kind === 'debug') return [nativeDir('debug')];
  return [
    nativeDir('release'),
    join(root, 'prebuilds', `${process.platform}-${process.arch}`),
    join(root, 'native', 'build', 'Release'),
  ];
}

/** The absolute path of a native file such as `libmalloc-list.so`, or undefined if not built. */
export function findNative(file: string, kind: Kind = 'release'): string | undefined {
  return nativeDirs(kind)
    .map((folder) => join(folder, file))
    .find((path) => existsSync(path));
}
