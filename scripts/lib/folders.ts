// Folders for what lasts as long as a verb, and for what is kept.

import { mkdirSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Failure, reasonOf } from './errors.ts';

/** A new folder of this process; the caller removes it. */
export function temporaryFolder(purpose: string): string {
  const parent = tmpdir();
  try {
    return mkdtempSync(join(parent, `libmalloc-${purpose}-`));
  } catch (cause) {
    throw new Failure(`no temporary folder can be made in ${parent}: ${reasonOf(cause)}`, {
      hint: 'set TMPDIR to a folder that can be written to',
      cause,
    });
  }
}

const caches =
  'what is compiled goes into build/, or where that cannot be written to into XDG_CACHE_HOME: set it';

/** Makes a folder that is kept, with those above it. */
export function makeFolder(folder: string, hint: string = caches): void {
  try {
    mkdirSync(folder, { recursive: true });
  } catch (cause) {
    throw new Failure(`the folder ${folder} cannot be made: ${reasonOf(cause)}`, {
      hint,
      cause,
    });
  }
}
