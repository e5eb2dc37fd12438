/** The package's main export: the promises of openMalloc beyond those of the malloc. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  Failure,
  type MallocLibrary,
  openMalloc,
  type Pointer,
  pointer,
} from '../../scripts/ffi/index.ts';
import { explainLoadError } from '../../scripts/ffi/library.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { isolated } from '../lib/child.ts';
import { compileProgram } from '../lib/compile.ts';
import { allAre, ENOMEM, gap, KiB, must, written } from '../lib/mallocs.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

const first = everyVariant[0] as string;
const shared = ['-shared', '-fPIC'];

/** A Failure whose message and hint match. */
const failure =
  (message: RegExp, hint = /./) =>
  (thrown: unknown): true => {
    assert.ok(thrown instanceof Failure, `not a Failure: ${String(thrown)}`);
    assert.match(thrown.message, message);
    assert.match(thrown.hint ?? '', hint);
    return true;
  };

const everyCall = [
  'malloc',
  'calloc',
  'realloc',
  'reallocarray',
  'free',
  'freeSized',
  'freeAlignedSized',
  'posixMemalign',
  'alignedAlloc',
  'memalign',
  'valloc',
  'pvalloc',
  'usableSize',
  'mallinfo',
  'mallinfo2',
  'mallocStats',
  'mallocInfo',
  'mallocTrim',
  'mallopt',
  'walk',
  'check',
  'stats',
  'purge',
  'version',
  'showAllocMem',
] as const;

await isolated(import.meta.url, 'what cannot be opened', (it) => {
  it('an unknown name is a Failure that lists the known ones', () => {
    assert.throws(() => openMalloc('nonsense'), failure(/unknown malloc: nonsense/, /glibc/));
  });

  it('a missing file is a Failure', () => {
    assert.throws(() => openMalloc('/nowhere/libx.so'), failure(/\/nowhere\/libx\.so/));
  });

  it('files that are no shared library are a Failure that names the file', () => {
    const folder = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
    const text = join(folder, 'text.so');
    const empty = join(folder, 'empty.so');
    const cut = join(folder, 'cut.so');
    writeFileSync(text, 'malloc\n'.repeat(100));
    writeFileSync(empty, '');
    writeFileSync(cut, readFileSync(variantFile(first)));
    truncateSync(cut, 4096);
    for (const file of [text, empty, cut, '/bin/ls'])
      assert.throws(() => openMalloc(file), failure(new RegExp(`${file} cannot be loaded: `)));
    assert.throws(() => openMalloc(`${folder}/`), failure(/not a library|no such/));
    rmSync(folder, { recursive: true });
  });

  it('a library with an undefined symbol is a Failure that names it', () => {
    const broken = compileProgram('partial.c', { flags: [...shared, '-DBROKEN'] });
    assert.throws(() => openMalloc(broken), failure(/nobody_defines_this/, /-Wl,-z,defs/));
  });

  it('a library without a malloc of its own is a Failure, though libc has one', () => {
    assert.throws(() => openMalloc('/lib/x86_64-linux-gnu/libm.so.6'), failure(/no malloc/));
  });

  it('glibc cannot be opened fresh', () => {
    assert.throws(() => openMalloc('glibc', { fresh: true }), failure(/glibc/));
  });

  it('every complaint of the dynamic linker gets a hint', () => {
    for (const [complaint, hint] of [
      ['undefined symbol: frob', /frob/],
      ['cannot allocate memory in static TLS block', /libmalloc run -m/],
      ['libz.so.9: cannot open shared object file: No such file or directory', /ldd/],
      ['wrong ELF class: ELFCLASS32', /machine/],
      ['cannot dynamically load position-independent executable', /-shared/],
      ['something new', /ldd/],
    ] as const)
      assert.match(explainLoadError('x.so', complaint, true).hint, hint);
    assert.match(explainLoadError('x.so', 'invalid ELF header', false).hint, /-shared/);
  });
});

await isolated(import.meta.url, 'an opened malloc', (it) => {
  it('what a library lacks is a Failure naming function and file, although libc has it', () => {
    const file = compileProgram('partial.c', { flags: shared });
    const m = openMalloc(file);
    assert.deepEqual(
      everyCall.filter((call) => m.has(call)),
      ['malloc', 'free'],
    );
    assert.throws(() => m.pvalloc(1), failure(new RegExp(`${file} has no pvalloc`), /has\(/));
    assert.throws(() => m.walk(), failure(/has no libmalloc_walk/));
    const block = must(m.malloc(10));
    m.bytes(block, 10).fill(1);
    m.free(block);
  });

  it('what a library lacks is a rejected promise in its async form', async () => {
    const m = openMalloc(compileProgram('partial.c', { flags: shared }));
    await assert.rejects(m.async.pvalloc(1), failure(/has no pvalloc/));
  });

  it('glibc can be opened and used', () => {
    const m = openMalloc('glibc');
    const block = must(m.malloc(1000));
    assert.ok(m.usableSize(block) >= 1000);
    assert.ok(m.mallinfo2().uordblks > 0);
    assert.match(m.mallocInfo(), /^<malloc version="1">[\s\S]*<\/malloc>\s*$/);
    assert.equal(m.has('walk'), false);
    m.free(block);
  });

  it('sizes that are none are a RangeError, and the malloc is not called', () => {
    const m = openMalloc(first);
    for (const size of [-1, 1.5, Number.NaN, Infinity, 2 ** 53, -1n, 1n << 64n])
      assert.throws(() => m.malloc(size), RangeError, String(size));
    assert.throws(() => m.malloc('8' as never), RangeError);
    assert.throws(() => m.malloc(undefined as never), RangeError);
  });

  it('pointers that are none are a TypeError, and the malloc is not called', () => {
    const m = openMalloc(first);
    for (const wrong of [16, '0x10', undefined, [1n], new Uint8Array(8)])
      assert.throws(() => m.free(wrong as never), TypeError, String(wrong));
  });

  it('pointer() makes pointers of addresses only', () => {
    assert.equal(pointer(4096n), 4096n);
    for (const wrong of [0n, -1n, 1n << 64n]) assert.throws(() => pointer(wrong), RangeError);
  });

  it('errno is that of the last call, and can be set for the next', () => {
    const m = openMalloc(first);
    assert.equal(m.malloc(1n << 62n), null);
    assert.equal(m.errno(), ENOMEM);
    readFileSync('/proc/self/stat'); // what else happens in between does not matter
    assert.equal(m.errno(), ENOMEM);
    m.errno(42);
    m.free(must(m.malloc(1)));
    assert.equal(m.errno(), 42);
  });

  it('bytes are the memory itself, and slice() is a copy', () => {
    const m = openMalloc(first);
    const block = must(m.malloc(16));
    const [one, other] = [m.bytes(block, 16), m.bytes(block, 16)];
    one.fill(1);
    const copy = one.slice();
    other[3] = 9;
    assert.deepEqual([one[3], copy[3]], [9, 1]);
    assert.equal(m.bytes((block + 3n) as Pointer, 1)[0], 9);
  });

  it('numbers are numbers, whatever their size', () => {
    const m = openMalloc('glibc');
    for (const value of Object.values(m.mallinfo2())) assert.equal(typeof value, 'number');
    assert.equal(typeof m.usableSize(null), 'number');
  });
});

const blockCount = (m: MallocLibrary): number => m.stats().liveBlocks;

await isolated(import.meta.url, 'one heap or several', (it) => {
  it('opening a file twice gives the same heap', () => {
    const [one, other] = [openMalloc(first), openMalloc(variantFile(first))];
    const block = must(one.malloc(100));
    assert.deepEqual(one.walk(), other.walk());
    other.free(block);
  });

  it('fresh heaps are strangers to each other', () => {
    const last = variants().at(-1) as string;
    const [one, other] = [openMalloc(last, { fresh: true }), openMalloc(last, { fresh: true })];
    one.malloc(100);
    assert.deepEqual([blockCount(one), blockCount(other)], [1, 0]);
    other.malloc(100);
    other.malloc(100);
    assert.deepEqual([blockCount(one), blockCount(other)], [1, 2]);
  });

  it('a fresh heap leaves no file behind', () => {
    const m = openMalloc(first, { fresh: true });
    const copy = /\S*libmalloc-[\w-]+\/\S+\.so \(deleted\)/.exec(
      readFileSync('/proc/self/maps', 'latin1'),
    );
    assert.ok(copy, 'the copy is mapped and deleted');
    assert.equal(m.file, variantFile(first));
  });

  it('after close, calls are a Failure, and blocks stay', async () => {
    const m = openMalloc(first);
    const block = must(m.malloc(100));
    const view = m.bytes(block, 100).fill(7);
    m.close();
    m.close();
    assert.throws(() => m.malloc(1), failure(/is closed/));
    assert.throws(() => m.walk(), failure(/is closed/));
    await assert.rejects(m.async.malloc(1), failure(/is closed/));
    assert.equal(view[99], 7);
    const again = openMalloc(first);
    assert.equal(again.realloc(block, 0), null, 'the heap is the same as before');
  });

  it('closed and forgotten, the code stays mapped: a thread may still run it', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const mapped = (): number =>
      readFileSync('/proc/self/maps', 'latin1')
        .split('\n')
        .filter((line) => line.includes('(deleted)')).length;
    const before = mapped();
    const calls = (() => {
      const m = openMalloc(first, { fresh: true });
      const pending = Array.from({ length: 50 }, () => m.async.malloc(64));
      m.close();
      return pending;
    })();
    const with1 = mapped();
    assert.ok(with1 > before, 'the fresh copy is not mapped');
    for (const block of await Promise.all(calls))
      assert.ok(block, 'a call under way was not finished');
    for (let i = 0; i < 20; i++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(mapped(), with1, 'the library was unmapped');
  });
});

/** The blocks listed in `text`: lines `0xA - 0xB : N bytes`. */
function shown(text: string): { from: bigint; to: bigint; bytes: number }[] {
  return [...text.matchAll(/^(0x[0-9A-F]+) - (0x[0-9A-F]+) : (\d+) bytes$/gm)].map(
    ([, from, to, bytes]) => ({
      from: BigInt(from ?? 0),
      to: BigInt(to ?? 0),
      bytes: Number(bytes),
    }),
  );
}

for (const variant of variants())
  await isolated(import.meta.url, `${variant} describes itself`, (it) => {
    it('it has the whole family', () => {
      const m = openMalloc(variant);
      assert.deepEqual(
        everyCall.filter((call) => !m.has(call)),
        [],
      );
    });

    it('version names the package and the variant', () => {
      const { version } = JSON.parse(
        readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
      );
      assert.equal(openMalloc(variant).version(), `libmalloc ${version} (${variant})`);
    });

    it('mallinfo2 and mallinfo count our blocks', () => {
      const m = openMalloc(variant, { fresh: true });
      const before = m.mallinfo2();
      const block = must(m.malloc(50 * KiB));
      const after = m.mallinfo2();
      assert.ok(after.uordblks >= before.uordblks + 50 * KiB, 'the bytes in use did not grow');
      assert.ok(after.arena >= after.uordblks, 'more in use than there is');
      assert.deepEqual(m.mallinfo(), after);
      m.free(block);
      if (!gap(variant, 'reuse')) assert.equal(m.mallinfo2().uordblks, before.uordblks);
    });

    it('the figures are those of a walk, also of mallinfo2, and of a heap that changes', () => {
      const m = openMalloc(variant, { fresh: true });
      const blocks = [16, 100, 1000, 50 * KiB].flatMap((size) =>
        Array.from({ length: 50 }, () => must(m.malloc(size))),
      );
      for (const block of blocks.filter((_, i) => i % 3 === 0)) m.free(block);
      const chunks = m.walk();
      const stats = m.stats();
      const sum = (kinds: string[], of: 'extent' | 'usable'): number =>
        chunks.filter(({ kind }) => kinds.includes(kind)).reduce((n, c) => n + c[of], 0);
      const count = (kinds: string[]): number =>
        chunks.filter(({ kind }) => kinds.includes(kind)).length;
      const unused = ['free', 'remote', 'cached'];
      assert.equal(stats.regions, count(['region']));
      assert.equal(stats.mapped, sum(['region'], 'extent'));
      assert.equal(stats.liveBlocks, count(['live']));
      assert.equal(stats.liveBytes, sum(['live'], 'usable'));
      assert.equal(stats.freeBlocks, count(unused));
      assert.equal(stats.freeBytes, sum(['free', 'remote'], 'usable') + sum(['cached'], 'extent'));
      assert.equal(stats.freshBytes, sum(['fresh'], 'extent'));
      assert.ok(stats.spareBytes <= stats.freeBytes + stats.freshBytes + stats.headerBytes);
      const info = m.mallinfo2();
      assert.equal(info.arena, stats.mapped);
      assert.equal(info.ordblks, stats.freeBlocks);
      assert.equal(info.uordblks, stats.liveBytes);
      assert.equal(info.fordblks, stats.freeBytes + stats.freshBytes);
      assert.equal(info.keepcost, stats.spareBytes);
    });

    it('purge gives back what is unused, says how much, and leaves a sound heap', () => {
      const m = openMalloc(variant, { fresh: true });
      const keep = must(m.malloc(100));
      m.bytes(keep, 100).fill(7);
      for (let round = 0; round < 2; round++) {
        const blocks = Array.from({ length: 300 }, () => must(m.malloc(10 * KiB)));
        for (const block of blocks) m.bytes(block, 10 * KiB).fill(1);
        for (const block of blocks) m.free(block);
        const given = m.purge();
        if (gap(variant, 'reuse')) assert.equal(given, 0);
        else assert.ok(given > 0, 'nothing was given back');
        assert.equal(m.purge(), 0, 'a second purge found more');
      }
      assert.ok(allAre(m, keep, 100, 7), 'a live block changed');
      assert.deepEqual(m.check(), []);
    });

    it('malloc_stats prints to standard error, about our heap', () => {
      const m = openMalloc(variant, { fresh: true });
      must(m.malloc(50 * KiB));
      const text = written(2, () => m.mallocStats());
      assert.match(text, new RegExp(`\\(${variant}\\)`));
      assert.match(text, new RegExp(`in use bytes\\s*=\\s*${m.stats().liveBytes}\\b`));
    });

    it('malloc_info writes XML, about our heap', () => {
      const m = openMalloc(variant, { fresh: true });
      must(m.malloc(50 * KiB));
      const xml = m.mallocInfo();
      assert.match(xml, /^<malloc version="1">[\s\S]*<\/malloc>\s*$/);
      assert.match(xml, new RegExp(`size="${m.stats().liveBytes}"`));
      const open: string[] = [];
      for (const [, end, name, self] of xml.matchAll(/<(\/?)(\w+)[^>]*?(\/?)>/g)) {
        if (end) assert.equal(open.pop(), name);
        else if (!self) open.push(name ?? '');
      }
      assert.deepEqual(open, [], 'unclosed elements');
    });

    it('show_alloc_mem prints zones and blocks in address order, and a total that adds up', () => {
      const m = openMalloc(variant, { fresh: true });
      for (const size of [10, 20, 3000, 60 * KiB]) must(m.malloc(size));
      const text = written(1, () => m.showAllocMem());
      assert.match(text, /^[A-Z]+ : 0x[0-9A-F]+\n/);
      const blocks = shown(text);
      assert.ok(blocks.length > 0);
      for (const [i, { from, to, bytes }] of blocks.entries()) {
        assert.equal(to - from, BigInt(bytes));
        assert.ok(i === 0 || from >= (blocks[i - 1]?.to ?? 0n), 'not in address order');
      }
      const total = blocks.reduce((sum, { bytes }) => sum + bytes, 0);
      assert.ok(text.endsWith(`Total : ${total} bytes\n`), text);
      assert.equal(total, m.stats().liveBytes);
    });

    it('mallopt accepts the parameters of glibc and refuses others', () => {
      const m = openMalloc(variant);
      const M_TRIM_THRESHOLD = -1;
      const M_MMAP_THRESHOLD = -3;
      assert.equal(m.mallopt(M_TRIM_THRESHOLD, 1 << 20), 1);
      assert.equal(m.mallopt(M_MMAP_THRESHOLD, 1 << 20), 1);
      assert.equal(m.mallopt(12345, 0), 0);
    });

    it('malloc_trim answers 0 or 1 and leaves a sound heap', () => {
      const m = openMalloc(variant);
      const blocks = Array.from({ length: 30 }, () => must(m.malloc(30 * KiB)));
      for (const block of blocks) m.free(block);
      assert.ok([0, 1].includes(m.mallocTrim(0)));
      assert.deepEqual(m.check(), []);
      assert.ok(m.malloc(100));
    });
  });
