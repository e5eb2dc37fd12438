// LD_PRELOAD splits its value at blanks and colons, and expands $LIB and the like. A library whose
// path has such characters is preloaded by a link that has none.

import { rmSync, symlinkSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { atTheVeryEnd } from '../process/ending.ts';

const special = /[\s:$]/;
const links = new Map<string, string>();

/** Whether the dynamic linker would misread this path. */
export function needsLink(file: string): boolean {
  return special.test(file);
}

/** The path by which `file` can be preloaded, as long as this process runs. */
export function preloadable(file: string): string {
  if (!needsLink(file)) return file;
  const known = links.get(file);
  if (known !== undefined) return known;
  const folder = temporaryFolder('link');
  atTheVeryEnd(() => rmSync(folder, { recursive: true, force: true }));
  if (needsLink(folder))
    throw new Failure(`cannot preload '${file}', nor a link to it in ${folder}`, {
      hint: 'LD_PRELOAD splits its value at blanks and colons: set TMPDIR to a folder without them',
    });
  const link = join(folder, basename(file).replaceAll(new RegExp(special, 'g'), '_'));
  symlinkSync(resolve(file), link);
  links.set(file, link);
  return link;
}
