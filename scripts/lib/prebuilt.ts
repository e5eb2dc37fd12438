// Libraries that come with the package, one folder for each platform: when they may be used.

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './paths.ts';
import { glibcVersion, platformName } from './platform.ts';

/** What `make prebuilds` writes beside the libraries of one platform. */
export interface Manifest {
  /** `sourcesHash()` of what they were compiled from. */
  sources: string;
  compiler: string;
  /** The newest version of glibc whose symbols they ask for. */
  glibc?: string;
  /** SHA-256 of each file. */
  files: Record<string, string>;
}

export const sha256 = (bytes: Buffer | string): string =>
  createHash('sha256').update(bytes).digest('hex');

let hash: string | undefined;

/** One hash of all that the libraries are compiled from: the C files and the flags in native/. */
export function sourcesHash(): string {
  if (hash !== undefined) return hash;
  const native = join(root, 'native');
  const files = readdirSync(native, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.[ch]$|^flags\.json$/.test(file) && !file.startsWith('build/'))
    .sort();
  hash = sha256(
    files.map((file) => `${file} ${sha256(readFileSync(join(native, file)))}`).join('\n'),
  );
  return hash;
}

/** The folder of libraries that were compiled for a platform. */
export function prebuiltFolder(platform: string = platformName()): string {
  return join(root, 'prebuilds', platform);
}

/** The manifest of a folder of prebuilt libraries; undefined where there are none. */
export function readManifest(folder: string): Manifest | undefined {
  const file = join(folder, 'manifest.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

const numbers = (version: string): number => {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major * 1000 + minor;
};

/** Why the prebuilt libraries for this machine cannot be used; undefined when they can. */
export function prebuiltFault(folder: string = prebuiltFolder()): string | undefined {
  const manifest = readManifest(folder);
  if (manifest === undefined) return `no libraries are prebuilt for ${platformName()}`;
  if (manifest.sources !== sourcesHash())
    return 'the prebuilt libraries were compiled from other sources than those in native/';
  const running = manifest.glibc === undefined ? undefined : glibcVersion();
  if (
    manifest.glibc !== undefined &&
    running !== undefined &&
    numbers(running) < numbers(manifest.glibc)
  )
    return `the prebuilt libraries need glibc ${manifest.glibc}, and this is ${running}`;
  return undefined;
}
