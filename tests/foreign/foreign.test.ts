import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import { writeRep } from '../../scripts/foreign/rep.ts';
import { openSource } from '../../scripts/foreign/source.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

const folder = testFolder();

const at = (name: string): string => join(folder, name);

function put(name: string, content: string | Buffer): string {
  writeFileSync(at(name), content);
  return at(name);
}

/** Steps as words: `malloc 0 512`, `realloc 0>1 640`, `free 1`. Slots are numbered as they come. */
function stepsOf(file: string): { steps: string[]; remarks: string[] } {
  const source = openSource(file, undefined);
  try {
    const names = new Map<number, number>();
    const named = (slot: number) => names.get(slot) ?? names.set(slot, names.size).size - 1;
    const steps = [...source.steps()].length;
    const words = [];
    for (const { kind, slot, old, size, alignment } of source.steps()) {
      if (kind === 'nothing') words.push('nothing');
      else if (kind === 'free') words.push(`free ${named(slot)}`);
      else if (kind === 'realloc') words.push(`realloc ${named(old)}>${named(slot)} ${size}`);
      else words.push(`${kind} ${named(slot)} ${size}${alignment > 0 ? ` at ${alignment}` : ''}`);
    }
    expect(words).toHaveLength(steps);
    return { steps: words, remarks: source.remarks() };
  } finally {
    source.close();
  }
}

describe('.rep files of common dialects', () => {
  const plain = '20000\n3\n8\n1\na 0 512\na 1 128\nr 0 640\na 2 128\nf 1\nr 0 768\nf 0\nf 2\n';
  const steps = [
    'malloc 0 512',
    'malloc 1 128',
    'realloc 0>2 640',
    'malloc 3 128',
    'free 1',
    'realloc 2>4 768',
    'free 4',
    'free 3',
  ];

  test.each([
    ['as the lab has them', plain],
    ['on one line', plain.replaceAll('\n', ' ')],
    ['with the line ends of Windows', plain.replaceAll('\n', '\r\n')],
    ['with blank lines and blanks', plain.replaceAll('\n', ' \n\n\t')],
    [
      'with comments',
      `# made by hand\n${plain.replace('3\n', '3 /* number of\n IDs */\n').replace('f 1', 'f 1 // a 9 9')}`,
    ],
    [
      'with the newer head: weight, IDs, operations, peak bytes',
      plain.replace('20000\n3\n8\n1', '1\n3\n8\n896'),
    ],
  ])('%s', (_, text) => {
    expect(stepsOf(put('wild.rep', text))).toEqual({ steps, remarks: [] });
  });

  test('free NULL by -1, and by the unsigned number that some drivers read it as', () => {
    const text = '1 1 4 1 a 0 8 f -1 f 4294967295 f 0';
    expect(stepsOf(put('null.rep', text)).steps).toEqual([
      'malloc 0 8',
      'nothing',
      'nothing',
      'free 0',
    ]);
  });

  test('write calloc as c, with one size or two; c alone is no call', () => {
    const { steps, remarks } = stepsOf(put('c.rep', '1 2 2 1 c 0 40 c c 1 5 8 c'));
    expect(steps).toEqual(['calloc 0 40', 'calloc 1 40']);
    expect(remarks).toEqual([
      '2 lines `c` were played as calloc',
      '2 lines `c` without an ID were left out',
    ]);
  });

  test('with a wrong or missing head are played, with a remark', () => {
    const wrong = plain.replace('3\n8', '7\n90');
    expect(stepsOf(put('wrong.rep', wrong))).toEqual({
      steps,
      remarks: ['its head says 7 IDs, there are 3', 'its head says 90 operations, there are 8'],
    });
    const headless = plain.slice(plain.indexOf('a'));
    expect(stepsOf(put('headless.rep', headless))).toEqual({
      steps,
      remarks: ['its head has fewer than four numbers'],
    });
  });

  test('that take an ID twice lose the first block, as in the lab', () => {
    const { steps, remarks } = stepsOf(put('twice.rep', '1 1 3 1 a 0 8 a 0 9 f 0'));
    expect(steps).toEqual(['malloc 0 8', 'malloc 1 9', 'free 1']);
    expect(remarks).toEqual(['1 blocks are lost: their ID was taken again before they were freed']);
  });

  test('have a weight that decides which scores they enter', () => {
    const weight = (text: string) => {
      const source = openSource(put('weight.rep', text), undefined);
      expect([...source.steps()]).toHaveLength(1);
      return source.weight;
    };
    expect(weight('2000 1 1 1 a 0 8')).toBe('all');
    expect(weight('2000 1 1 0 a 0 8')).toBe('nothing');
    expect(weight('2 1 1 8000 a 0 8')).toBe('utilisation');
    expect(weight('3 1 1 8000 a 0 8')).toBe('throughput');
  });

  test('are written with no size of 0, which the lab takes for an error', async () => {
    const source = openSource(put('empty.rep', '1 1 3 1 a 0 0 r 0 0 f 0'), undefined);
    const { empty } = await writeRep(at('written.rep'), () => source.steps());
    expect(empty).toBe(2);
    expect(readFileSync(at('written.rep'), 'utf8')).toBe('20000000\n1\n3\n1\na 0 1\nr 0 1\nf 0\n');
  });
});

// Unlike tests/programs/six.c, this program makes one call of each kind.
const program = `
#include <malloc.h>
#include <mcheck.h>
#include <stdlib.h>
int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) mtrace();
    void *a = malloc(100), *b = calloc(3, 20);
    a = realloc(a, 5000);
    free(b);
    void *c = memalign(64, 10);
    free(a);
    free(NULL);
    if (malloc((size_t)-5)) return 1;
    free(malloc(0));
    free(c);
    return 0;
}`;

/** The steps that remain in a format without alignments and calloc. */
const heard = [
  'malloc 0 100',
  'malloc 1 60',
  'realloc 0>2 5000',
  'free 1',
  'malloc 3 10',
  'free 2',
  'malloc 4 0',
  'free 4',
  'free 3',
];

describe('recordings of other tools', () => {
  let compiled = '';
  beforeAll(() => {
    compiled = compileProgram(put('calls.c', program));
  });

  test('mtrace of glibc, recorded just now', async () => {
    const file = at('calls.mtrace');
    const env = { MALLOC_TRACE: file, LD_PRELOAD: 'libc_malloc_debug.so.0' };
    await execa(compiled, ['1'], { env });
    expect(stepsOf(file)).toEqual({
      steps: heard,
      remarks: ['1 calls that failed are left out'],
    });
  });

  test('mtrace: a realloc that failed leaves its block alone', () => {
    const text =
      '= Start\n@ ./a:(f+0x1)[0x1] + 0x10 0x8\n@ ./a:[0x2] ! 0x10 0xffffffff\n@ ./a:[0x3] - 0x10\n';
    expect(stepsOf(put('failed.mtrace', text)).steps).toEqual(['malloc 0 8', 'free 0']);
  });

  test('heaptrack, recorded just now: raw, and as it interprets it', async () => {
    need('heaptrack');
    need('zstd');
    const made = async (name: string, ...options: string[]) => {
      await execa('heaptrack', [...options, '-o', at(name), compiled], { stdin: 'ignore' });
      return stepsOf(at(options.length > 0 ? `${name}.raw.zst` : `${name}.zst`));
    };
    // libstdc++, which heaptrack brings along, has a pool of its own (of gcc 12, of 13 and newer);
    // memalign is not recorded.
    const pools = ['72704', '73728'];
    for (const { steps, remarks } of [await made('raw', '--raw'), await made('usual')]) {
      const sizes = steps.flatMap((step) => /^malloc \d+ (\d+)$/.exec(step)?.[1] ?? []);
      expect(sizes.filter((size) => !pools.includes(size))).toEqual(['100', '60', '5000', '0']);
      expect(steps.filter((step) => step.startsWith('free')).length).toBeGreaterThanOrEqual(4);
      expect(remarks.filter((remark) => !/several equal|1 frees of unknown/.test(remark))).toEqual(
        [],
      );
    }
  });

  test('heaptrack, packed by gzip: a remark says that it guesses which of several equal blocks was freed', () => {
    const text = 'v 10400 3\nX ./a\na 10 1\n+ 0\n+ 0\n- 0\na 20 1\n+ 1\n- 1\n- 0\n';
    const { steps, remarks } = stepsOf(put('packed.gz', gzipSync(text)));
    expect(steps).toEqual([
      'malloc 0 16',
      'malloc 1 16',
      'free 1',
      'malloc 2 32',
      'free 2',
      'free 0',
    ]);
    expect(remarks).toEqual([expect.stringContaining('which of several equal blocks')]);
  });

  // As ltrace 0.7.3 wrote it, the addresses shortened.
  const ltrace = `[pid 7] 17:42:11.7 [0x56] six->malloc(100 <unfinished ...>
[pid 8] 17:42:11.7 [0x56] six->calloc(3, 20)                   = 0x55310
[pid 7] 17:42:11.8 <... malloc resumed> )                      = 0x552a0
[pid 7] 17:42:11.8 six->realloc(0x552a0, 5000)                   = 0x55360
[pid 7] six->posix_memalign(0x7ffd945c9790, 64, 128, 5)        = 0
[pid 8] six->free(0x55310)                                       = <void>
[pid 8] six->memalign(32, 10, 0x55e6d2db58c8, 3)               = 0x55820
[pid 8] six->realloc(0x55820, 0)                                 = 0
[pid 8] six->free(0)                                           = <void>
[pid 8] six->free(0x55740)                                       = <void>
[pid 8] +++ exited (status 0) +++
`;

  test('ltrace with options and interrupted calls; posix_memalign does not show its block', () => {
    expect(stepsOf(put('calls.ltrace', ltrace))).toEqual({
      steps: [
        'calloc 0 60',
        'malloc 1 100',
        'realloc 1>2 5000',
        'free 0',
        'aligned 3 10 at 32',
        'free 3',
        'nothing',
      ],
      remarks: [
        '1 frees of unknown blocks are left out: never handed out',
        '1 calls of posix_memalign are left out: ltrace does not say which block they gave',
      ],
    });
  });

  // Of `ltrace -x malloc+free+calloc+realloc@libc.so* ls -l`, and of a calloc in ls with -e.
  const inside = `1212 setlocale(LC_ALL, "" <unfinished ...>
1212 malloc@libc.so.6(5)                         = 0x55910
1212 free@libc.so.6(0x55910)                       = <void>
1192 libc.so.6->calloc(94142928422144, 2048)     = 0x55f90
1192 libc.so.6->realloc(0x7f6dcf3e22d9, 4)       = 0x3
1192 libc.so.6->realloc(0x55bf782bcfd7, 0)       = 0
1192 libc.so.6->realloc(0x55bf86abbac0, 8)       = 0x8
`;

  test('ltrace -S -tt -i, where system calls come first', () => {
    const linker = '3830 11:24:04.08 [0x7f53] SYS_mmap(0, 8192, 3, 34) = 0x7f5373c67000\n';
    expect(stepsOf(put('system.ltrace', linker.repeat(100) + inside)).steps).toHaveLength(2);
  });

  test('ltrace of functions in a library; impossible sizes and addresses are left out', () => {
    expect(stepsOf(put('inside.ltrace', inside))).toEqual({
      steps: ['malloc 0 5', 'free 0'],
      remarks: ['4 lines make no sense and are left out'],
    });
  });

  test('are played with a score, and viewed on each malloc', async () => {
    const files = [put('a.ltrace', ltrace), put('b.rep', '1 1 2 1 a 0 4096 f 0')];
    const { status, stdout, stderr } = await libmalloc([
      ...['replay', ...files, '-m', 'list', '-m', 'glibc', '--runs', '1', '--json', at('two.json')],
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^list +a\.ltrace: ltrace +\d+ % +7 /m);
    expect(stdout).toMatch(/^list +all 2 +\d+ % +9 /m);
    expect(stdout).toMatch(/^glibc: index \d+ of 100$/m);
    const { traces, scores } = JSON.parse(readFileSync(at('two.json'), 'utf8'));
    expect(traces).toMatchObject([
      { format: 'ltrace', calls: 7 },
      { calls: 2, peakLive: 4096 },
    ]);
    expect(scores).toMatchObject([{ malloc: 'list', calls: 9, failed: 0 }, { malloc: 'glibc' }]);

    const shown = await libmalloc([
      ...['view', ...files, '-m', 'list', '-m', 'glibc', '--json', '-'],
    ]);
    expect(shown.stderr).toMatch(
      /^libmalloc: \S+b\.rep: glibc: at most 4 KiB live in a heap of [\d.]+ KiB, utilisation \d+ %$/m,
    );
    const heaps = JSON.parse(shown.stdout).heaps.map(
      ({ malloc, file, allocations }: Record<string, unknown>) => [malloc, file, allocations],
    );
    // Its four allocations, and one of pthread_create for its second thread.
    expect(heaps).toEqual([
      ['list', 'a.ltrace', 5],
      ['glibc', 'a.ltrace', 5],
      ['list', 'b.rep', 1],
      ['glibc', 'b.rep', 1],
    ]);
  });

  test.each([
    ['what is packed and no recording', () => gzipSync('hello'), 'nor a recording of heaptrack'],
    ['a text', () => Buffer.from('# hello\nworld\n'), 'is not a trace of libmalloc'],
  ])('%s is refused', (_, content, message) => {
    expect(() => openSource(put('none', content()), undefined)).toThrow(message);
  });
});
