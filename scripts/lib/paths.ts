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
