/**
 * sharded compiled into a program (tests/programs/sharded-under.c) with each sanitizer. Not a
 * preload: a sanitizer brings its own malloc and sees no access of a library that it did not build.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { root } from '../scripts/lib/paths.ts';
import { compileProgram } from './lib/compile.ts';
import { skip } from './lib/need.ts';

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
 * Who may read one word that its owner writes at the same time, and why that is no harm: what is
 * read decides nothing, or is looked at again under the lock. The free lists of a thread that lives
 * are never followed; that would be a race of other functions, and is not on this list.
 */
const byDesign: Record<string, string> = {
  page_snapshot: 'a walk describes the pages of running threads by what their records say',
  run_snapshot: 'the same, for what the page is',
  run_verify: 'check leaves out the pages of running threads once it knows whose they are',
  page_is_still: 'whose page it is: a page that is being opened is not still either way',
  run_give: 'the kind of a neighbour: in use before and after, PAGE_LARGE or PAGE_SMALL',
  heap_is_left: 'whether a running thread is busy: it runs, so its heap is not left',
  heap_overhead: 'a sum for statistics',
  run_is_free: 'the same',
  region_is_due: 'whether anything lies idle, and since when: asked again under the lock',
  page_mark_remote: 'what running threads collect for this page: where to look, no more',
  'page_mark < page_mark_remote': 'a copy of each block, checked before its link is followed',
  'message_read < page_mark_remote': 'the same',
  offset_begins: 'the limit of a page with live blocks: it only grows',
  heap_free: 'the home of a page: it is mine or it is not, and only I can change which',
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
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(root, 'build', 'tests', 'tsan-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** The region where the sanitizer lets a program have memory: 85 TiB, without PIE. */
  function compileMoved(): string {
    cpSync(join(root, 'native'), join(folder, 'native'), { recursive: true });
    const header = join(folder, 'native', 'sharded', 'region.h');
    const text = readFileSync(header, 'utf8');
    const moved = text.replace(
      'REGION_FROM = 16ul << 40, REGION_TO = 80ul << 40',
      'REGION_FROM = 85ul << 40, REGION_TO = 86ul << 40',
    );
    expect(moved, 'region.h looks different: move its addresses here').not.toBe(text);
    writeFileSync(header, moved);
    const position = ['-no-pie', '-fno-pie'];
    return compileWith(['-fsanitize=thread', ...position, '-iquote', join(folder, 'native')]);
  }

  test(
    'finds no race but the reads that the design names',
    async () => {
      if (process.arch !== 'x64') skip('the address of the region is chosen for x86-64');
      const { all, exitCode } = await run(compileMoved(), [4, 4000], {
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
