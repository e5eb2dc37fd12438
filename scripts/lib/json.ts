import { writeFileSync } from 'node:fs';
import { Failure, reasonOf } from './errors.ts';

/**
 * Writes what a verb found as JSON, `"schema": "libmalloc/VERB/1"` first. `-` is standard output.
 * Throws Failure when the file cannot be written.
 */
export function writeJson(verb: string, file: string, data: object): void {
  const text = `${JSON.stringify({ schema: `libmalloc/${verb}/1`, ...data }, null, 2)}\n`;
  try {
    // Descriptor 1, not process.stdout: a pipe's write is asynchronous there, and process.exit
    // would cut the document short.
    writeFileSync(file === '-' ? 1 : file, text);
  } catch (cause) {
    throw new Failure(`cannot write ${file}: ${reasonOf(cause)}`, {
      hint: 'give --json a path that can be written, or - for standard output',
      cause,
    });
  }
}
