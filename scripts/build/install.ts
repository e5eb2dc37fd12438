// What `npm install libmalloc` runs at the end: it compiles the C files, but only when there are no
// libraries for this machine yet. In a checkout it is not used, because `make` compiles.

import { join } from 'node:path';
import { execa } from 'execa';
import { describeFailure, Failure } from '../lib/errors.ts';
import { findNative, root } from '../lib/paths.ts';
import { defaultVariant } from '../malloc/mallocs.ts';

/** Compiles native/ through node-gyp, which npm puts in the PATH; throws what it said. */
async function compile(): Promise<void> {
  const result = await execa('node-gyp', ['rebuild', '--loglevel=error'], {
    cwd: join(root, 'native'),
    reject: false,
    all: true,
  });
  if (!result.failed) return;
  throw new Failure(`cannot compile the libraries:\n${result.all || result.message}`, {
    hint: 'needed: python3, make, gcc, libc6-dev and the headers of Node (npm config: nodedir)',
    code: 1,
  });
}

try {
  if (findNative(`libmalloc-${defaultVariant()}.so`) === undefined) await compile();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(describeFailure(error));
  process.exitCode = error.code;
}
