// The forms in which a profile can be written. The name of the file says which is meant.

import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { writeOutput } from '../lib/outputs.ts';
import type { Profile } from '../trace/profile.ts';
import { toFolded, toSpeedscope } from './flames.ts';
import type { Measure } from './measures.ts';
import { toPprof } from './pprof.ts';

/** Makes the content of a file; a page is written by `view`, which opens profiles. */
type Form = (profile: Profile, measure: Measure, file: string) => string | Uint8Array | undefined;

const forms: readonly [RegExp, Form][] = [
  [/\.(pb|pprof|pb\.gz|pprof\.gz)$/, toPprof],
  [/\.(folded|txt|collapsed)$/, toFolded],
  [/\.speedscope(\.json)?$/, toSpeedscope],
  [/\.json$/, (profile) => `${JSON.stringify(profile)}\n`],
  [/\.html?$/, writePage],
];

/** Throws Failure for a name that says no form. */
export function formOf(file: string): Form {
  const form = forms.find(([pattern]) => pattern.test(file))?.[1];
  if (form !== undefined) return form;
  throw new Failure(`the name of ${file} does not say in which form to write it`, {
    hint: 'give .html (page), .pb.gz (pprof), .folded, .speedscope.json, or .json (for view and --diff)',
  });
}

export function writeProfile(file: string, profile: Profile, measure: Measure): void {
  const content = formOf(file)(profile, measure, file);
  if (content !== undefined) writeOutput('-o', file, content);
}

/** Verbs know nothing of each other, so we ask for the page as anybody would. */
function writePage(profile: Profile, _measure: Measure, file: string): undefined {
  const folder = temporaryFolder('profile');
  const here = import.meta.url;
  const cli = fileURLToPath(new URL(`../cli${extname(here)}`, here));
  try {
    const input = join(folder, 'profile.json');
    writeFileSync(input, JSON.stringify(profile));
    const args = [...process.execArgv, cli, 'view', input, '-o', file];
    const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    if (status !== 0)
      throw new Failure(`cannot make the page ${file}`, {
        hint: stderr.trim().replace(/^libmalloc: /, ''),
      });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
