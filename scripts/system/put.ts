// Writes and removes the files of an installation.

import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import type { Entry } from './files.ts';

/** Writes one file or link below `target`. Removes an old one first, because it may be in use. */
function put(target: string, { path, from, executable }: Entry): void {
  const file = join(target, path);
  mkdirSync(dirname(file), { recursive: true });
  rmSync(file, { force: true });
  if ('link' in from) symlinkSync(from.link, file);
  else {
    if ('file' in from) copyFileSync(from.file, file);
    else writeFileSync(file, from.text);
    chmodSync(file, executable ? 0o755 : 0o644);
  }
}

/** Writes all entries. Throws a Failure if the user may not write there. */
export function putAll(target: string, entries: Entry[]): void {
  try {
    for (const entry of entries) put(target, entry);
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS') throw error;
    throw new Failure(`cannot write ${path}`, {
      hint: 'sudo make install, or a prefix of your own: make install PREFIX=$HOME/.local',
      code: 1,
    });
  }
}

/** Removes these paths below `target`, then every folder of theirs that is empty. */
export function removeAll(target: string, paths: string[]): void {
  for (const path of paths) rmSync(join(target, path), { force: true });
  const folders = new Set<string>();
  for (const path of paths)
    for (let up = dirname(path); up !== '.'; up = dirname(up)) folders.add(up);
  const deepestFirst = [...folders].sort((a, b) => b.split('/').length - a.split('/').length);
  for (const folder of deepestFirst) {
    try {
      if (readdirSync(join(target, folder)).length === 0) rmdirSync(join(target, folder));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
}
