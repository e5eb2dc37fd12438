// Text files of other tools, read piece by piece, compressed or not. Our own reader of lines, because
// node:readline is asynchronous and the steps of a trace come from synchronous generators.

import { closeSync, openSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { atOurEnd } from '../process/ending.ts';

const BLOCK = 65536;

/** The lines of a text file. A line of more than 1 MiB ends it: no format here has any. */
export function* linesOf(file: string): Generator<string, void> {
  const fd = openSync(file, 'r');
  try {
    const bytes = Buffer.alloc(BLOCK);
    let rest = '';
    for (let n = readSync(fd, bytes); n > 0; n = readSync(fd, bytes)) {
      const lines = (rest + bytes.toString('latin1', 0, n)).split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > 16 * BLOCK) break;
      yield* lines;
    }
    yield rest;
  } finally {
    closeSync(fd);
  }
}

/** How a file begins; nothing of what cannot be read. */
export function beginning(file: string): Buffer {
  const bytes = Buffer.alloc(4096);
  try {
    const fd = openSync(file, 'r');
    const length = readSync(fd, bytes);
    closeSync(fd);
    return bytes.subarray(0, length);
  } catch {
    return Buffer.alloc(0);
  }
}

const packer = (file: string): string | undefined => {
  const magic = beginning(file).toString('hex', 0, 4);
  return magic === '28b52ffd' ? 'zstd' : magic.startsWith('1f8b') ? 'gzip' : undefined;
};

export const isPacked = (file: string): boolean => packer(file) !== undefined;

/** A file as it was before zstd or gzip, and what removes it; undefined when it is not compressed. */
export function unpacked(file: string): { file: string; remove: () => void } | undefined {
  const tool = packer(file);
  if (tool === undefined) return undefined;
  const folder = temporaryFolder('unpacked');
  const remove = () => rmSync(folder, { recursive: true, force: true });
  const release = atOurEnd(remove);
  const plain = join(folder, 'plain');
  const { failed, code, stderr } = execaSync(tool, ['-dc', file], {
    reject: false,
    stdout: { file: plain },
  });
  const done = () => {
    release();
    remove();
  };
  if (!failed) return { file: plain, remove: done };
  done();
  throw new Failure(
    `cannot unpack ${file}: ${code === 'ENOENT' ? `no ${tool}` : String(stderr).trim()}`,
    {
      hint: `apt-get install ${tool}, or unpack it by hand`,
    },
  );
}
