/** Folders for the files of tests. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A new folder and how to remove it. Removed when the process ends, at the latest. */
function temporary(): { folder: string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.on('exit', remove); // for a file whose tests are all skipped
  return { folder, remove };
}

/** Makes a folder that is removed after the tests of the file, or of the `describe` around the call. */
export function testFolder(): string {
  const { folder, remove } = temporary();
  afterAll(remove);
  return folder;
}

let common: string | undefined;

/** A path in a folder that all tests of the file share, and that is removed after them. */
export function scratch(name: string): string {
  common ??= temporary().folder;
  return join(common, name);
}
