import { writeFileSync, writeSync } from 'node:fs';
import { reasonOf } from './errors.ts';
import { unwritable } from './outputs.ts';
import { BROKEN_PIPE } from './status.ts';

/**
 * Writes what a verb found as JSON, `"schema": "libmalloc/VERB/1"` first. `-` is standard output.
 * Throws Failure when the file cannot be written; if the reader of a pipe has stopped, ends as by SIGPIPE.
 */
export function writeJson(verb: string, file: string, data: object): void {
  const text = `${JSON.stringify({ schema: `libmalloc/${verb}/1`, ...data }, null, 2)}\n`;
  try {
    if (file === '-') writeAll(text);
    else writeFileSync(file, text);
  } catch (cause) {
    throw unwritable(file, '--json', reasonOf(cause), cause);
  }
}

/**
 * To descriptor 1, not process.stdout: a pipe's write is asynchronous there, and process.exit would
 * cut the document short. A pipe that is full refuses for a moment, because Node has made it
 * non-blocking.
 */
function writeAll(text: string): void {
  const bytes = Buffer.from(text);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EPIPE') process.exit(BROKEN_PIPE);
      if (code !== 'EAGAIN') throw error;
      Atomics.wait(pause, 0, 0, 2);
    }
  }
}
