/**
 * sharded compiled into a program (tests/programs/sharded-under.c) with each sanitizer. Not a
 * preload: a sanitizer brings its own malloc and sees no access of a library that it did not build.
 */
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { compileProgram } from '../lib/compile.ts';
import { skip } from '../lib/need.ts';

const SECONDS = 300;
const program = 'sharded-under.c';

async function run(file: string, args: number[], env: Record<string, string> = {}) {
  const { exitCode, signal, all } = await execa(file, args.map(String), {
    env,
    all: true,
    reject: false,
    timeout: SECONDS * 1000,
    maxBuffer: 64 << 20,
  });
  return { exitCode, signal, all };
}

/** Skips the test where the compiler lacks the sanitizer's library. */
function compileWith(flags: string[]): string {
  try {
    return compileProgram(program, { flags });
  } catch (error) {
    if (/cannot find .*lib[atu]\w*san/.test(String(error))) skip(`no runtime for ${flags[0]}`);
    throw error;
  }
}

describe.each([
  ['nothing', []],
  ['undefined', ['-fsanitize=undefined', '-fno-sanitize-recover=all']],
  ['address', ['-fsanitize=address']],
])('-fsanitize=%s', (_name, flags) => {
  test(
    'has nothing to say of threads that make, pass on and free blocks',
    async () => {
      const { exitCode, signal, all } = await run(compileWith(flags), [6, 20_000]);
      expect({ exitCode, signal, all }).toEqual({ exitCode: 0, signal: undefined, all: '' });
    },
    (SECONDS + 30) * 1000,
  );
});

/**
 * Functions that may read a word while its owner writes it. That is harmless, because the value decides
 * nothing, or is read again under the lock. The stacks of a live thread are never read; that would be
 * a race of other functions, which are not on this list.
 */
const byDesign: Record<string, string> = {
  page_snapshot: 'a walk describes the pages of running threads by what their records say',
  run_snapshot: 'the same, for what a run is',
  run_count: 'the same, for the figures',
  run_verify: 'check leaves out the pages of running threads once it knows whose they are',
  runs_can_merge: 'the kind of a neighbour: in use before and after, whatever becomes of it',
  blocks_add_remote: 'batches of running threads: what a walk shows of them is of one moment',
  'blocks_add < blocks_add_remote': 'the same',
  'batch_of < blocks_add_remote': 'the same',
  heaps_reclaim: 'whether any memory came back: if not, the caller finds none, either way',
  region_teardown: 'whether much lies idle: asked again under the lock',
  region_is_due: 'the same, and since when',
  heap_tick: 'the same',
  page_of: 'an entry of the map that was made before the map was published',
  page_begins: 'the carved blocks of a page with live blocks: they only become more',
  offset_begins: 'the same, as a bound',
  heap_resize: 'the same',
  heap_free: 'the owner of a page: this thread or not, and only the owner can change that',
  free: 'the same, with heap_free inlined',
  under_free: 'the same, with heap_free inlined',
};

/** A race of two accesses, one of them a read by a function that the list names, or names with its caller. */
function isByDesign(report: string): boolean {
  const access =
    /^ {2}(?:Previous )?(?:atomic )?(read|write) of size \d+ .*\n {4}#0 (\S+).*(?:\n {4}#1 (\S+))?/gim;
  const found = [...report.matchAll(access)];
  const reads = found.filter(([, kind]) => kind?.toLowerCase() === 'read');
  const [, , reader = '', caller = ''] = reads[0] ?? [];
  const named = reader in byDesign || `${reader} < ${caller}` in byDesign;
  return report.startsWith('data race') && found.length === 2 && reads.length === 1 && named;
}

describe('-fsanitize=thread', () => {
  test(
    'finds no race but the reads that the design names',
    async () => {
      const { all, exitCode } = await run(compileWith(['-fsanitize=thread']), [4, 4000], {
        TSAN_OPTIONS: 'halt_on_error=0 exitcode=0 history_size=4',
      });
      if (/unexpected memory mapping/.test(all)) skip('this kernel places programs too randomly');
      expect(exitCode, all.slice(0, 4000)).toBe(0);
      const reports = all.split('WARNING: ThreadSanitizer: ').slice(1);
      const others = reports.filter((report) => !isByDesign(report));
      expect(others.join('\n').slice(0, 8000)).toBe('');
    },
    (SECONDS + 30) * 1000,
  );
});
