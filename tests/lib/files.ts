import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../scripts/lib/paths.ts';

/** The text of a file, given by its path from the root. */
export const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** Every file below a folder with one of these endings, as paths from the root; no build products. */
export function filesBelow(folder: string, ending: RegExp): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => ending.test(file) && !join(folder, file).startsWith('native/build/'))
    .map((file) => join(folder, file))
    .sort();
}
