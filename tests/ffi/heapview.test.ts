/** What walk reads of C's memory is as long as a chunk there. */
import { execaSync } from 'execa';
import { expect, test } from 'vitest';
import { SIZEOF_CHUNK } from '../../scripts/ffi/heapview.ts';
import { compileProgram } from '../lib/compile.ts';

// Longer, and the last chunk of a picture that fills its memory is read beyond the end.
test('a chunk has the size and the fields of struct libmalloc_chunk', () => {
  const { stdout } = execaSync(compileProgram('chunk-size.c'));
  expect(stdout.split(' ').map(Number)).toEqual([SIZEOF_CHUNK, 8, 16, 24, 32, 36, 40]);
});
