// The heap maps in docs/, recorded and drawn by the commands that readers use, too.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { compileInto } from '../lib/compile.ts';
import { root } from '../lib/paths.ts';
import { variants } from '../malloc/mallocs.ts';

/** `dumb` gives every request a block of one size; the default would not fit on the page. */
const knobs = { LIBMALLOC_BLOCK: '1024' };

const cli = join(root, 'build', 'js', 'cli.js');

/** Pictures by file name in docs/: a small program on every rung and glibc, and a real one. */
export async function heapPictures(): Promise<Record<string, string>> {
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-docs-'));
  try {
    const source = join(root, 'tests', 'programs', 'sketch.c');
    const sketch = compileInto(join(root, 'build', 'tests'), source, ['-O1', '-fno-builtin']);
    const rungs = [...variants(), 'glibc'];
    return {
      'heaps.svg': await recorded(folder, rungs, [sketch]),
      'heaps-ls.svg': await recorded(
        folder,
        ['paged', 'glibc'],
        ['ls', '-lR', join(root, 'native')],
      ),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** `libmalloc record` on each malloc, then `libmalloc view --svg` of them all. */
async function recorded(
  folder: string,
  mallocs: readonly string[],
  command: readonly string[],
): Promise<string> {
  const traces = mallocs.map((name) => join(folder, `${name}.trace`));
  for (const [i, name] of mallocs.entries()) {
    const record = ['record', '-q', '-m', name, '-o', traces[i] ?? '', '--', ...command];
    await execa(process.execPath, [cli, ...record], { env: knobs, stdout: 'ignore' });
  }
  const svg = join(folder, 'heaps.svg');
  await execa(process.execPath, [cli, 'view', ...traces, '--svg', svg]);
  return readFileSync(svg, 'utf8');
}
