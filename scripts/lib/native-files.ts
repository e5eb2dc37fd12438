// Where compiled libraries and programs lie, and which of them is used.

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Kind, nativeDir, root } from './paths.ts';
import { prebuiltFault, prebuiltFolder, sourcesHash } from './prebuilt.ts';

/** In a checkout, `make` compiles, and everything built lies in build/. */
export const isCheckout: boolean = existsSync(join(root, 'Makefile'));

/** Where other things are compiled: build/ of a checkout, else the user's cache: an installation is not written to. */
export function buildFolder(name: string): string {
  if (isCheckout) return join(root, 'build', name);
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'libmalloc', name);
}

/** The folder of libraries that are compiled on demand, after an installation without any. */
export const onDemandFolder = (kind: Kind): string =>
  buildFolder(`${kind}-${sourcesHash().slice(0, 16)}`);

/**
 * The folders that may hold native files, best first: our own build, libraries prebuilt for this
 * platform from these sources, what node-gyp compiled, what was compiled on demand. Debug builds
 * are never prebuilt.
 */
function candidates(kind: Kind): (() => string | undefined)[] {
  const onDemand = () => onDemandFolder(kind);
  if (kind === 'debug') return [() => nativeDir(kind), onDemand];
  return [
    () => nativeDir(kind),
    () => (prebuiltFault() === undefined ? prebuiltFolder() : undefined),
    () => join(root, 'native', 'build', 'Release'),
    onDemand,
  ];
}

/** The same as a list, without those that may not be used. */
export function nativeDirs(kind: Kind = 'release'): string[] {
  return candidates(kind)
    .map((folder) => folder())
    .filter((folder) => folder !== undefined);
}

/** The absolute path of a native file such as `libmalloc-list.so`, or undefined if not built. */
export function findNative(file: string, kind: Kind = 'release'): string | undefined {
  for (const candidate of candidates(kind)) {
    const folder = candidate();
    const path = folder === undefined ? undefined : join(folder, file);
    if (path !== undefined && existsSync(path)) return path;
  }
  return undefined;
}
