/** walk reads exactly the bytes of a C chunk. */
import { execaSync } from 'execa';
import { expect, test } from 'vitest';
import { SIZEOF_CHUNK } from '../../scripts/ffi/heapview.ts';
import { compileProgram } from '../lib/compile.ts';

// If it were longer, the last chunk of a full snapshot would be read beyond the end of its memory.
test('a chunk has the size and the fields of struct libmalloc_chunk', () => {
  const { stdout } = execaSync(compileProgram('chunk-size.c'));
  expect(stdout.split(' ').map(Number)).toEqual([SIZEOF_CHUNK, 8, 16, 24, 32, 36, 40]);
});
