/** The beginning and the end of a process, and the odd places between (tests/programs/lifecycle-*.c). */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execaSync } from 'execa';
import { describe, expect, test } from 'vitest';
import { compileLibrary, keeps, outputOf } from './lib/keeps.ts';
import { gap } from './lib/mallocs.ts';
import { need, skip } from './lib/need.ts';
import { everyVariant } from './lib/variants.ts';

/** Some work for all calls. */
const anyWork = [4, 500, 100, 8000];

/** May this user mount over /proc, in a namespace of its own? */
function canHideProc(): boolean {
  return (
    execaSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', '/proc'], { reject: false })
      .exitCode === 0
  );
}

describe.each(everyVariant)('%s', (variant) => {
  const onBreak = variant === 'dumb' || variant === 'list';
  const work = (via: string[]) => keeps(variant, 'threads-private', { args: anyWork, via });

  test('a resolver of an indirect function allocates while the program is relocated', () =>
    onBreak
      ? skip('libc refuses to move the break before it has been initialised')
      : keeps(variant, 'lifecycle-early', { args: [1] }));

  test('.preinit_array allocates, before any constructor', () =>
    keeps(variant, 'lifecycle-early', { args: [0] }));

  test('a constructor allocates that runs before ours and before libc’s', () =>
    keeps(variant, 'lifecycle-early', {
      args: [0, 1],
      behind: [compileLibrary('lifecycle-early', ['-nostdlib'])],
    }));

  test('atexit, destructors after ours, and a thread that goes on', async () => {
    const behind = [compileLibrary('lifecycle-late')];
    const printed = await outputOf(variant, 'lifecycle-late', { behind });
    expect(printed.split('\n')).toEqual([
      'atexit',
      "the program's destructor",
      "the library's destructor",
      '',
    ]);
  });

  test('quick_exit and _exit', async () => {
    expect(await outputOf(variant, 'lifecycle-late', { args: ['quick_exit'] })).toBe(
      'at_quick_exit\n',
    );
    expect(await outputOf(variant, 'lifecycle-late', { args: ['_exit'] })).toBe('');
  });

  test('no descriptor is held: dup(0) is 3; and none is needed', () =>
    keeps(variant, 'lifecycle-descriptors'));

  test('standard input, output and error may be closed', () =>
    keeps(variant, 'lifecycle-descriptors', {
      args: [3],
      via: ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh'],
    }));

  test('libraries come and go, from several threads', () =>
    keeps(variant, 'lifecycle-dlopen', { args: [compileLibrary('lifecycle-dlopen'), 50, 4] }));

  test('the linker explains what it does (LD_DEBUG=all)', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
    const env = { LD_DEBUG: 'all', LD_DEBUG_OUTPUT: join(folder, 'out') };
    await keeps(variant, 'lifecycle-dlopen', {
      args: [compileLibrary('lifecycle-dlopen'), 2, 2],
      env,
    });
    expect(readdirSync(folder).length).toBeGreaterThan(0);
    rmSync(folder, { recursive: true });
  });

  test.each(['exit', 'jump'])('SIGABRT is caught after our last line: %s', (how) => {
    const reason = gap(variant, 'checks');
    if (reason) skip(reason);
    const stderr = /^libmalloc: free\(\): double free of 0x[0-9a-f]+ [^\n]*\n$/;
    return keeps(variant, 'lifecycle-abort', {
      args: [how],
      stderr,
      status: how === 'jump' ? 0 : 3,
    });
  });

  test('jumps over frames and out of signal handlers; free keeps errno', () =>
    keeps(variant, 'lifecycle-jump', { args: [gap(variant, 'sizes') ? 60_000 : 1_000_000] }));

  test('setarch -L: mappings bottom up', () => work([need('setarch'), '-L']));
  test('setarch -R: no randomisation', () => work([need('setarch'), '-R']));
  test('ulimit -s unlimited', () =>
    work([need('sh'), '-c', 'ulimit -s unlimited && exec "$@"', 'sh']));

  test('without /proc', () =>
    canHideProc()
      ? work(['unshare', '-rm', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh'])
      : skip('this user may not mount anything over /proc, not even in a namespace'));
});
