/** A folder for the tests of one file. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** Makes a folder that is removed after the tests of the file, or of the `describe` around the call. */
export function testFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  afterAll(remove);
  process.on('exit', remove); // for a file whose tests are all skipped
  return folder;
}
