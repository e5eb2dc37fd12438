/** LIBMALLOC_OPTIONS: what each option does in each variant, and that broken ones are refused. */
import { chmodSync, chownSync, copyFileSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import { gap } from '../../scripts/check/features.ts';
import { brokenOptions, parseBytes } from '../../scripts/malloc/options.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

const folder = testFolder();
let dump = '';
let limited = '';
beforeAll(() => {
  dump = compileProgram('options-dump.c');
  limited = compileProgram('options-limit.c');
});

interface Run {
  debug?: boolean;
  /** For dumb, whose blocks are all of one size. */
  block?: string;
}

/** A program under a variant with LIBMALLOC_OPTIONS. */
async function under(variant: string, options: string, words: string[], run: Run = {}) {
  const [file = '', ...args] = words;
  const library = variantFile(variant, { debug: run.debug ?? false });
  const { exitCode, signal, stdout, stderr } = await execa(file, args, {
    env: {
      LD_PRELOAD: library,
      MALLOC_UNDER_TEST: library,
      LIBMALLOC_OPTIONS: options,
      ...(run.block && { LIBMALLOC_BLOCK: run.block }),
    },
    reject: false,
    timeout: 90_000,
  });
  const pids = stdout.split('\n').filter(Boolean);
  return { status: exitCode, signal, stdout, stderr, pid: pids[0] ?? '', pids };
}

const read = (name: string): string => readFileSync(join(folder, name), 'utf8');
const { SIGUSR1, SIGUSR2 } = constants.signals;

describe.each(everyVariant)('%s: limit', (variant) => {
  const sizes = gap(variant, 'sizes') ? [5000] : [64, 5000, 300_000, 40_000_000];
  // list walks past all its chunks.
  const mebibytes = (size: number): number => (size === 64 ? 1 : size > 1_000_000 ? 200 : 32);
  test.each(sizes)(
    'refuses with ENOMEM, and free makes room again: blocks of %i bytes',
    async (size) => {
      const reuses = gap(variant, 'reuse') ? '0' : gap(variant, 'exact') ? '2' : '1';
      for (const debug of [false, true]) {
        const words = [limited, String(mebibytes(size)), String(size), reuses];
        const options = `limit=${mebibytes(size)}m`;
        const { status, stderr } = await under(variant, options, words, {
          debug,
          block: '5120',
        });
        if (status === 77) skip(`${variant} does not account for its memory`);
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      }
    },
  );

  test('a broken value sets no limit', async () => {
    for (const options of [
      'limit=1x',
      'limit=',
      'limit',
      'limit=0',
      'limit=99999999999999999999',
      'lim=1',
    ]) {
      const { status, stderr } = await under(variant, options, [dump, 'exit', '100']);
      expect({ options, status, stderr }).toEqual({ options, status: 0, stderr: '' });
    }
  });

  test('the last value counts, in bytes or larger units', async () => {
    for (const options of ['limit=1,limit=33554432', 'decay=5,limit=32768k,huge=0', 'limit=32M']) {
      const words = [limited, '32', '5000', '0'];
      const { status, stderr } = await under(variant, options, words, { block: '5120' });
      if (status === 77) skip(`${variant} does not account for its memory`);
      expect({ options, status, stderr }).toEqual({ options, status: 0, stderr: '' });
    }
  });
});

describe.each(everyVariant)('%s: stats and dump', (variant) => {
  const file = (name: string): string => join(folder, `${variant}-${name}`);
  const written = (name: string): string => read(`${variant}-${name}`);

  test('a summary at exit, in a file of the process', async () => {
    const { status, stderr, pid } = await under(variant, `stats=${file('exit.%p')}`, [
      dump,
      'exit',
      '500',
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const said = written(`exit.${pid}`);
    expect(said).toMatch(
      new RegExp(
        `^libmalloc [\\d.]+ \\(${variant}\\): options-dump\\S*, process ${pid}, at exit, time \\d+\n`,
      ),
    );
    const live = Number(/^in use bytes +=\s+(\d+) in \d+ blocks$/m.exec(said)?.[1]);
    const mapped = Number(/^system bytes +=\s+(\d+) in \d+ regions$/m.exec(said)?.[1]);
    expect(live).toBeGreaterThanOrEqual(500_000);
    expect(mapped).toBeGreaterThanOrEqual(live);
    expect(said).not.toMatch(/^limit/m);
  });

  test('a forked child writes its own; a shared file is appended to', async () => {
    const { pids } = await under(variant, `stats=${file('fork.%p')}`, [dump, 'fork']);
    expect(pids).toHaveLength(2);
    for (const pid of pids) expect(written(`fork.${pid}`)).toContain(`process ${pid}, at exit`);
    const shared = await under(variant, `stats=${file('shared')}`, [dump, 'fork']);
    const headers = written('shared').match(/^libmalloc .* process \d+/gm) ?? [];
    expect(headers.map((line) => line.split(' ').at(-1)).sort()).toEqual(shared.pids.sort());
  });

  test('nothing if the program ends by _exit, or the path is broken', async () => {
    await under(variant, `stats=${file('quick')}`, [dump, 'quick', '5']);
    expect(existsSync(file('quick'))).toBe(false);
    const before = readdirSync('.');
    for (const path of ['', 'relative', `/${'x'.repeat(2000)}`, '/no/such/folder/file']) {
      const { status, stderr } = await under(variant, `stats=${path}`, [dump, 'exit', '5']);
      expect({ path, status, stderr }).toEqual({ path, status: 0, stderr: '' });
    }
    expect(readdirSync('.')).toEqual(before);
  });

  test('the limit and what is taken of it', async () => {
    const { pid } = await under(variant, `limit=1g,stats=${file('limit.%p')}`, [dump, 'exit', '5']);
    expect(written(`limit.${pid}`)).toMatch(/^limit +=\s+1073741824\ntaken of it +=\s+\d+$/m);
  });

  test.each(['USR2', 'SIGUSR2', String(SIGUSR2)])('a summary at signal %s', async (name) => {
    const options = `dump=${name},stats=${file(`${name}.%p`)}`;
    const { status, stderr, pid } = await under(variant, options, [dump, 'raise', String(SIGUSR2)]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const said = written(`${name}.${pid}`);
    expect(said).toContain(`process ${pid}, at signal ${SIGUSR2}, time `);
    expect(said).toContain(`process ${pid}, at exit`);
  });

  test('on standard error without a file', async () => {
    const { status, stderr } = await under(variant, 'dump=USR2', [dump, 'raise', String(SIGUSR2)]);
    expect(status).toBe(0);
    expect(stderr).toMatch(/^libmalloc .* at signal 12, time \d+\n/);
    expect(stderr).not.toContain('at exit');
  });

  test('does not replace a handler of the program, or an inherited SIG_IGN', async () => {
    const own = await under(variant, 'dump=USR2', [dump, 'own', String(SIGUSR2)]);
    expect({ status: own.status, stderr: own.stderr }).toEqual({ status: 0, stderr: '' });
    const words = ['sh', '-c', `trap '' USR2; exec ${dump} raise ${SIGUSR2}`];
    const ignored = await under(variant, 'dump=USR2', words, { block: '131072' });
    expect({ status: ignored.status, stderr: ignored.stderr }).toEqual({ status: 0, stderr: '' });
  });

  test('not at another signal: its default disposition stays', async () => {
    for (const name of ['KILL', 'SEGV', '11', '9', 'USR', '0', '']) {
      const { signal, stderr } = await under(variant, `dump=${name}`, [
        dump,
        'raise',
        String(SIGUSR2),
      ]);
      expect({ name, signal, stderr }).toEqual({ name, signal: 'SIGUSR2', stderr: '' });
    }
  });

  test('a signal that interrupts malloc, again and again, neither hangs nor harms', async () => {
    if (gap(variant, 'reuse')) skip(gap(variant, 'reuse') as string);
    const options = `dump=USR1,stats=${file('storm.%p')}`;
    const { status, stderr, pid } = await under(variant, options, [dump, 'storm', String(SIGUSR1)]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const said = written(`storm.${pid}`);
    // Signals that arrive while one is pending merge, and one may arrive before its thread begins.
    expect(said.match(/at signal/g)?.length).toBeGreaterThan(20);
    const headers = said.split('\n').filter((line) => line.includes('process'));
    for (const line of headers) expect(line).toMatch(/^libmalloc \S+ \(\w+\): .* time \d+$/);
  });
});

describe('privileged programs', () => {
  test('ignore the options', async () => {
    if (process.getuid?.() !== 0) skip('only root can make a program setuid to another user');
    // Linked, because the dynamic linker preloads nothing into such a program.
    copyFileSync(variantFile('paged'), join(folder, 'libmalloc.so.0'));
    chmodSync(folder, 0o755); // the other user's program has to find it there
    const flags = [variantFile('paged'), '-Wl,--no-as-needed', `-Wl,-rpath,${folder}`];
    const program = compileProgram('options-dump.c', { flags });
    const secure = join(folder, 'secure');
    await execa('cp', [program, secure]);
    const env = { LIBMALLOC_OPTIONS: `limit=1m,stats=${join(folder, 'secure.%p')}` };
    const plain = await execa(secure, ['exit', '5000'], { env, reject: false });
    expect(plain.stderr).toContain('failed');
    chownSync(secure, 65534, 0);
    chmodSync(secure, 0o4755);
    const { exitCode, stdout } = await execa(secure, ['exit', '5000'], { env, reject: false });
    expect(exitCode).toBe(0);
    expect(existsSync(join(folder, `secure.${stdout.trim()}`))).toBe(false);
  });
});

describe('refusals', () => {
  const understood = [
    'decay=0',
    'decay=4294967295,huge=0,limit=1,dump=PWR',
    'limit=512m,limit=2G,limit=64K',
    `stats=${tmpdir()}/heap.%p`,
    `stats=${tmpdir()}/a=b`,
    'dump=SIGUSR1',
    `dump=${SIGUSR2}`,
  ];
  test.each(understood)('%s is understood', (value) =>
    expect(brokenOptions(value)).toBeUndefined(),
  );

  const broken = [
    ['', "unknown option ''"],
    ['limit=1m,', "unknown option ''"],
    ['limt=1m', "unknown option 'limt=1m'"],
    ['constructor=1', "unknown option 'constructor=1'"],
    ['huge', "unknown option 'huge'"],
    ['huge=2', "option 'huge=2'"],
    ['decay=-1', "option 'decay=-1'"],
    ['decay=1s', "option 'decay=1s'"],
    ['decay=4294967296', "option 'decay=4294967296'"],
    ['limit=0', "option 'limit=0'"],
    ['limit=1t', "option 'limit=1t'"],
    ['limit=9223372036854775808', "option 'limit=9223372036854775808'"],
    ['limit=8589934592g', "option 'limit=8589934592g'"],
    ['stats=heap', "option 'stats=heap'"],
    [`stats=/${'x'.repeat(1023)}`, 'the path is too long'],
    ['stats=/no/such/folder/heap', '/no/such/folder does not exist'],
    ['dump=KILL', "option 'dump=KILL'"],
    ['dump=11', "option 'dump=11'"],
    ['dump=usr2', "option 'dump=usr2'"],
  ];
  test.each(broken)('%s is refused, with what to give instead', (value, reason) => {
    expect(brokenOptions(value)).toContain(reason);
  });

  test('run: 125, and two lines', async () => {
    const { status, stderr } = await libmalloc(['run', '--', 'true'], {
      env: { LIBMALLOC_OPTIONS: 'limit=5x' },
    });
    expect(status).toBe(125);
    expect(stderr).toBe(
      "libmalloc: broken value LIBMALLOC_OPTIONS='limit=5x'\n" +
        "  option 'limit=5x': give bytes above 0, with k, m or g for a larger unit: limit=512m",
    );
  });

  test('doctor: a line with the fix', async () => {
    const { status, stdout } = await libmalloc(['doctor'], {
      env: { LIBMALLOC_OPTIONS: 'dumb=1' },
    });
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /^LIBMALLOC_OPTIONS +wrong +broken value .*; unknown option 'dumb=1': give/m,
    );
  });

  test('bytes with a unit', () => {
    expect([parseBytes('12'), parseBytes('2k'), parseBytes('1G')]).toEqual([12n, 2048n, 1n << 30n]);
    expect([parseBytes('k'), parseBytes(''), parseBytes('1kb')]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });
});

describe.each(everyVariant)('%s: other names, other tools', (variant) => {
  test('glibc’s alias names allocate and free our blocks', async () => {
    const program = compileProgram('libc-names.c');
    for (const debug of [false, true]) {
      const { status, stderr } = await under(variant, 'huge=1', [program], {
        debug,
        block: '3200000',
      });
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    }
  });

  test('reallocarray and pvalloc return valgrind’s blocks if its malloc does', async () => {
    const program = compileProgram('under-valgrind.c');
    const words = ['-q', '--error-exitcode=9', '--leak-check=no', program];
    const { status, stderr } = await under(variant, 'huge=1', [need('valgrind'), ...words]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});
