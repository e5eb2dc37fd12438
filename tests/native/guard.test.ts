/** The reports of debug builds (native/guard/guard.h) for each program of tests/crimes, on every variant. */
import { readdirSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { answer, batch, questions, row, shownChunks, told } from '../lib/gdb.ts';
import { gap } from '../lib/mallocs.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

/** The report of each crime, on every variant. `P` stands for an address. */
const sentences: Record<string, string> = {
  'double-free': 'free(): double free of P (100 bytes)',
  'double-free-delayed': 'free(): double free of P (100 bytes)',
  'double-free-late': 'free(): double free of P (it was given back)',
  'double-free-threads': 'free(): double free of P (100 bytes)',
  foreign: 'free(): P is not a block of this heap',
  'foreign-stack': 'free(): P is not a block of this heap',
  interior: 'free(): P is not a block: it lies 32 bytes into P (100 bytes)',
  'invalid-alignment': 'free_aligned_sized(): P is not aligned to 48 bytes',
  misaligned: 'free(): P is not a block: it lies 3 bytes into P (100 bytes)',
  overflow: 'free(): overflow of P (24 bytes): 8 bytes were written behind it',
  'overflow-1': 'free(): overflow of P (14 bytes): 1 byte was written behind it',
  'overflow-4096': 'free(): overflow of P (5000 bytes): N bytes or more were written behind it',
  'overflow-aligned': 'free(): overflow of P (100 bytes): 1 byte was written behind it',
  'overflow-unfreed': 'exit(): overflow of P (20 bytes): 1 byte was written behind it',
  'realloc-freed': 'realloc(): use after free of P (100 bytes)',
  'realloc-stale': 'exit(): write after free to P (100 bytes): 1 byte was written, 0 into it',
  'sized-free': 'free_sized(): P is a block of 100 bytes, not 1000',
  'sized-free-alignment':
    'free_aligned_sized(): P was allocated with an alignment of 64 bytes, not 32',
  'sized-free-less': 'free_sized(): P is a block of 100 bytes, not 99',
  underflow: 'free(): underflow of P (40 bytes): 4 bytes were written in front of it',
  'write-after-free': 'free(): write after free to P (100 bytes): 1 byte was written, 40 into it',
  'write-after-free-exit':
    'exit(): write after free to P (100 bytes): 16 bytes were written, 8 into it',
};

/** In C++. */
const inCpp: Record<string, string> = {
  'aligned-delete': 'operator delete(): P was allocated with an alignment of 64 bytes, not 16',
  'malloc-delete': 'operator delete(): P (100 bytes) was allocated by malloc, not by operator new',
  'new-array-delete':
    'operator delete(): P (100 bytes) was allocated by operator new[], not by operator new',
  'new-free': 'free(): P (100 bytes) was allocated by operator new[], not by malloc',
  'new-realloc': 'realloc(): P (100 bytes) was allocated by operator new, not by malloc',
  'sized-delete': 'operator delete(): P is a block of 100 bytes, not 60',
};

/** Those that end otherwise, below. */
const others = ['bug-hunt', 'innocent', 'leak', 'read-after-free'];

const compile = (crime: string): string =>
  compileProgram(`crimes/${crime}.${crime in inCpp ? 'cc' : 'c'}`, {
    flags: crime in inCpp ? ['-Wno-mismatched-new-delete'] : [],
  });

function commit(variant: string, crime: string, debug = '') {
  return execa(compile(crime), {
    env: {
      LD_PRELOAD: variantFile(variant, { debug: true }),
      ...(debug && { LIBMALLOC_DEBUG: debug }),
    },
    reject: false,
    timeout: 60_000,
  });
}

/** A report without what differs from run to run. */
function plain(report: string): string[] {
  return report
    .replaceAll(/0x[0-9a-f]+/g, 'P')
    .replaceAll(/\d+ bytes or more/g, 'N bytes or more')
    .split('\n');
}

test('every program of tests/crimes is tested here', () => {
  const programs = readdirSync(join(root, 'tests', 'crimes'))
    .filter((file) => /\.cc?$/.test(file))
    .map((file) => basename(file, extname(file)));
  expect([...Object.keys({ ...sentences, ...inCpp }), ...others].sort()).toEqual(programs.sort());
});

describe.each(everyVariant)('the debug build of %s', (variant) => {
  test.each(Object.entries(sentences))('names the crime in %s', async (crime, sentence) => {
    const { stdout, stderr, signal } = await commit(variant, crime);
    expect(plain(stderr)[0]).toBe(`libmalloc: ${sentence}`);
    expect(stderr.match(/^libmalloc: /gm), 'one sentence').toHaveLength(1);
    expect({ stdout, signal }).toEqual({ stdout: '', signal: 'SIGABRT' });
  });

  test.each(Object.entries(inCpp))(
    'names the crime in %s, and the caller of new',
    async (crime, sentence) => {
      const { stdout, stderr, signal } = await commit(variant, crime);
      expect(plain(stderr)[0]).toBe(`libmalloc: ${sentence}`);
      expect(stderr).toMatch(/^ {4}allocated {2}main\+/m);
      expect({ stdout, signal }).toEqual({ stdout: '', signal: 'SIGABRT' });
      const lenient = await commit(variant, crime, 'match=0');
      expect({ stderr: lenient.stderr, status: lenient.exitCode }).toEqual({
        stderr: '',
        status: 0,
      });
    },
  );

  test.each(['operators.cc', 'replaced-new.cc', 'threaded.cc'])(
    'accepts %s, which uses C++ correctly',
    async (source) => {
      const env = { LD_PRELOAD: variantFile(variant, { debug: true }) };
      const program = compileProgram(source);
      const bare = await execa(program, { reject: false });
      // dumb gives nothing back.
      const few = variant === 'dumb' && source === 'threaded.cc' ? ['2'] : [];
      const { stdout, stderr, exitCode } = await execa(program, few, { env, reject: false });
      expect({ stdout, stderr, exitCode }).toEqual({
        stdout: bare.stdout,
        stderr: '',
        exitCode: 0,
      });
    },
  );

  test('names the callers that allocated and freed the block, and where the damage was found', async () => {
    const { stderr } = await commit(variant, 'double-free-threads', 'lines=0');
    const [, ...calls] = plain(stderr);
    const program = compile('double-free-threads');
    const told = calls.filter((line) => line.includes(`(${program}+P)`));
    expect(told).toEqual([
      `    allocated  main+P (${program}+P)`,
      `               _start+P (${program}+P)`,
      `    freed      give+P (${program}+P)`,
      `    found in   main+P (${program}+P)`,
      `               _start+P (${program}+P)`,
    ]);
    const { stderr: short } = await commit(variant, 'double-free-threads', 'stack=0');
    expect(plain(short)).toHaveLength(1);
  });

  test('names callers in a library mapped where another one was', async () => {
    const plugin = (bytes: number): string =>
      compileProgram('plugin.c', { flags: ['-O2', '-shared', '-fPIC', `-DBYTES=${bytes}`] });
    const program = compileProgram('odd-stacks.c', { flags: ['-O2', '-Wno-vla'] });
    const { stderr } = await execa(program, ['plugin', plugin(1000), plugin(1500)], {
      env: {
        LD_PRELOAD: variantFile(variant, { debug: true }),
        LIBMALLOC_DEBUG: 'leaks=1',
        ODD_STACKS_LEAK: '1',
      },
    });
    // The libraries are unmapped at exit, so they have no lines; their caller has.
    const leaks = stderr.split('libmalloc: ').filter((each) => each.includes('(4711 bytes)'));
    expect(leaks).toHaveLength(20);
    for (const leak of leaks) expect(leak).toMatch(/allocated {2}allocate\+(.*\n)+ +_start\+/);
  });

  test('names lines of the source to addr2line', async () => {
    const { stderr } = await commit(variant, 'double-free');
    const [, file = '', address = ''] = /freed .*\((.*)\+(0x\w+)\)/.exec(stderr) ?? [];
    const { stdout } = await execa('addr2line', ['-e', file, address]);
    expect(stdout).toMatch(/double-free\.c:6$/);
  });

  test('reads of freed memory find an address that cannot be followed', async () => {
    expect((await commit(variant, 'read-after-free')).signal).toBe('SIGSEGV');
    expect((await commit(variant, 'read-after-free', 'fill=0')).signal).toBe(undefined);
  });

  test('leaks=1 lists leaks at exit, and the status is the program’s', async () => {
    const quiet = await commit(variant, 'leak');
    expect(quiet).toMatchObject({ stdout: '', stderr: '', exitCode: 0 });
    const { stderr, exitCode } = await commit(variant, 'leak', 'leaks=1');
    const leaks = plain(stderr).filter((line) => line.startsWith('libmalloc: '));
    expect(leaks.sort()).toEqual([
      'libmalloc: exit(): 3 blocks leaked, 378 bytes in all',
      'libmalloc: exit(): leak of P (14 bytes)',
      'libmalloc: exit(): leak of P (300 bytes)',
      'libmalloc: exit(): leak of P (64 bytes)',
    ]);
    expect(stderr.match(/^ {4}allocated {2}lose\+/gm)).toHaveLength(3);
    expect(exitCode).toBe(0);
  });

  test('without a quarantine a block is freed at once, and still remembered', async () => {
    const { stderr, signal } = await commit(variant, 'double-free', 'quarantine=0');
    expect(plain(stderr)[0]).toBe('libmalloc: free(): double free of P (it was given back)');
    expect(signal).toBe('SIGABRT');
    expect(await commit(variant, 'write-after-free', 'quarantine=0')).toMatchObject({
      stderr: '',
      exitCode: 0,
    });
  });

  test('a broken LIBMALLOC_DEBUG leaves the defaults, without a message', async () => {
    const odd = 'stack=99,fill=2,quarantine=many,leaks,nonsense=1,,=,stack=';
    const { stderr, signal } = await commit(variant, 'double-free', odd);
    expect(plain(stderr)[0]).toBe(`libmalloc: ${sentences['double-free']}`);
    expect(stderr).toMatch(/^ {4}allocated {2}main\+/m);
    expect(signal).toBe('SIGABRT');
  });

  test.each(['', 'leaks=1', 'quarantine=0', 'fill=0,quarantine=100000'])(
    'an innocent program is never accused (%s)',
    async (debug) => {
      const { stdout, stderr, exitCode } = await commit(variant, 'innocent', debug);
      expect({ stdout, stderr, exitCode }).toEqual({ stdout: '', stderr: '', exitCode: 0 });
    },
  );
});

/** The heap commands may not know a variant yet; gdb-heap.test.ts is where that counts. */
function unlessUnknown(said: string): void {
  if (said.includes('which these commands cannot read')) skip(said);
}

describe.each(everyVariant)('GDB and the debug build of %s', (variant) => {
  const lines = ['heap chunks', 'heap', 'heap check', 'heap chunk block+5', 'heap chunk freed'];
  const ask = (program: string[]) =>
    batch(variant, ['--debug', '--break', 'stop_here', '-x', questions(...lines)], program);

  test('see the same chunks as the malloc itself, with the bounds of the program', async () => {
    if (gap(variant, 'chunks')) skip(gap(variant, 'chunks') as string);
    need('gdb');
    const { stdout, stderr } = await ask([compileProgram('gdb-heap.c')]);
    unlessUnknown(answer(stderr, 'heap'));
    const { chunks, figures, blocks } = told(stdout);
    expect(shownChunks(answer(stderr, 'heap chunks'))).toEqual(chunks);
    for (const [word, numbers] of Object.entries(figures))
      expect(row(answer(stderr, 'heap'), word), word).toEqual(numbers);
    const [block = 0, freed = 0] = blocks;
    expect(chunks.find(({ user }) => user === block)).toMatchObject({ kind: 'live', usable: 1570 });
    expect(chunks.find(({ user }) => user === freed)).toMatchObject({ kind: 'free', usable: 1520 });
    const inside = answer(stderr, 'heap chunk block+5');
    expect(inside).toContain(`is 5 bytes into the live block 0x${block.toString(16)}`);
    expect(inside).toMatch(/allocated +main \(gdb-heap\.c:\d+\)/);
    expect(answer(stderr, 'heap chunk freed')).toMatch(/state +free, in quarantine\n.*allocated/);
    expect(answer(stderr, 'heap chunk freed')).toMatch(/freed +main \(gdb-heap\.c:\d+\)/);
    expect(answer(stderr, 'heap check')).toMatch(/^ok: the canaries of \d+ blocks$/m);
  });

  test('find an overwritten canary', async () => {
    if (gap(variant, 'chunks')) skip(gap(variant, 'chunks') as string);
    need('gdb');
    const script = questions('set var block[1570] = 0', 'heap check');
    const options = ['--debug', '--break', 'stop_here', '-x', script];
    const { stderr } = await batch(variant, options, [compileProgram('gdb-heap.c')]);
    unlessUnknown(answer(stderr, 'heap check'));
    expect(answer(stderr, 'heap check')).toMatch(
      /^broken: 0x\w+ \(1570 bytes\): its canary is damaged, behind it$/m,
    );
  });
});

describe('under libmalloc run', () => {
  test('the report is the program’s, and so is its status', async () => {
    const file = variantFile('list', { debug: true });
    const { status, stderr } = await libmalloc(['run', '-m', file, '--', compile('overflow-1')]);
    expect(plain(stderr)[0]).toBe(`libmalloc: ${sentences['overflow-1']}`);
    expect(status).toBe(134);
  });

  test.each(['leaks=2', 'leaks', 'leek=1', 'stack=9', 'leaks=1,', ''])(
    'LIBMALLOC_DEBUG=%s is refused',
    async (value) => {
      const env = { LIBMALLOC_DEBUG: value };
      const { status, stderr } = await libmalloc(['run', '--', 'echo', 'ran'], { env });
      expect(stderr).toContain(`broken value LIBMALLOC_DEBUG='${value}'`);
      expect(stderr).toContain('quarantine=BYTES');
      expect(status).toBe(125);
    },
  );

  test('a valid value is passed on', async () => {
    const file = variantFile('list', { debug: true });
    const env = { LIBMALLOC_DEBUG: 'leaks=1,quarantine=1000,fill=1,stack=4' };
    const { status, stderr } = await libmalloc(['run', '-q', '-m', file, '--', compile('leak')], {
      env,
    });
    expect(stderr).toMatch(/3 blocks leaked/);
    expect(status).toBe(0);
  });
});
