import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { readElf } from '../../scripts/malloc/elf.ts';
import { type Malloc, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch, type Proof, preloadValue, probe } from '../../scripts/malloc/preload.ts';
import {
  disproof,
  parseReport,
  programNames,
  proofLine,
  readReports,
} from '../../scripts/malloc/proof.ts';
import { checkTarget, ourselves, parseShebang } from '../../scripts/malloc/target.ts';
import { descendants, isRunning } from '../../scripts/process/family.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { everyVariant, variantFile } from '../lib/variants.ts';

const glibc = resolveMalloc('glibc');
const ours = resolveMalloc();
const library = ours.file as string;
const folder = testFolder();

describe('LD_PRELOAD', () => {
  test('puts the malloc first, then the rest; for the C library nothing', () => {
    expect(preloadValue(ours, ['/a.so', '/b.so'])).toBe(`${library}:/a.so:/b.so`);
    expect(preloadValue(glibc)).toBe('');
    expect(preloadValue(glibc, ['/a.so'])).toBe('/a.so');
  });

  test('leaves other libraries’ paths unchanged, tokens of the linker included', () => {
    expect(preloadValue(glibc, ['/usr/$LIB/a.so'])).toBe('/usr/$LIB/a.so');
  });

  test.each(['my list.so', 'my:list.so', '$LIB list.so'])(
    'takes a library called `%s` by a link, made once, and its use is proven',
    async (name) => {
      const odd: Malloc = { name: 'odd', kind: 'file', file: join(folder, name) };
      copyFileSync(variantFile('list'), odd.file as string);
      const value = preloadValue(odd);
      expect(value).not.toMatch(/[\s:$]/);
      expect(preloadValue(odd)).toBe(value);
      expect(realpathSync(value)).toBe(realpathSync(odd.file as string));
      const { proofs, status } = await launch(odd, ['true'], { report: true });
      expect(status).toBe(0);
      expect(proofs).toMatchObject([{ malloc: value }]);
      expect(disproof(odd, proofs)).toBeUndefined();
    },
  );
});

describe('an ELF file is read for what it is', () => {
  const elf = (...flags: string[]) => readElf(compileProgram('hello.c', { flags }));

  test('dynamic, static, static-PIE, library, object', () => {
    expect(elf('-pie')).toMatchObject({
      bits: 64,
      type: 'shared',
      dynamic: true,
      pie: true,
      interpreter: expect.stringContaining('ld-'),
    });
    expect(elf('-no-pie')).toMatchObject({
      type: 'executable',
      dynamic: true,
      pie: false,
      interpreter: expect.stringContaining('ld-'),
    });
    expect(elf('-static')).toMatchObject({
      type: 'executable',
      dynamic: false,
      interpreter: undefined,
    });
    expect(elf('-static-pie')).toMatchObject({
      type: 'shared',
      dynamic: true,
      pie: true,
      interpreter: undefined,
    });
    expect(readElf(library)).toMatchObject({
      type: 'shared',
      dynamic: true,
      pie: false,
      interpreter: undefined,
    });
    expect(elf('-c')).toMatchObject({ type: 'other', dynamic: false });
  });

  test('files of the other byte order', () => {
    const big = Buffer.alloc(64);
    big.write('\x7fELF\x02\x02\x01', 'latin1');
    big.writeUInt16BE(2, 16);
    big.writeUInt16BE(22, 18);
    const file = join(folder, 'big');
    writeFileSync(file, big);
    expect(readElf(file)).toMatchObject({ bits: 64, machine: 's390x', type: 'executable' });
  });

  test('other files are not ELF, and a file cut anywhere is an error', () => {
    const whole = readFileSync(compileProgram('hello.c'));
    const cut = join(folder, 'cut');
    for (const length of [0, 3, 100, 4096]) {
      writeFileSync(cut, length < 100 ? whole.subarray(0, length) : 'x'.repeat(length));
      expect(readElf(cut), `${length} bytes`).toBeUndefined();
    }
    for (const length of [4, 20, 63, 64, 200]) {
      writeFileSync(cut, whole.subarray(0, length));
      expect(() => readElf(cut), `${length} bytes`).toThrow(RangeError);
    }
  });

  test('the running node is one', () => {
    expect(ourselves()).toMatchObject({ bits: 64, dynamic: true });
  });
});

describe('a target is found as the shell finds it', () => {
  test('in PATH, and relative to the folder it is started in', () => {
    expect(checkTarget('sh', { PATH: '/nonexistent:/bin' })).toBe('/bin/sh');
    expect(checkTarget('./sh', {}, '/bin')).toBe('/bin/sh');
    expect(checkTarget('sh', {})).toMatch(/\/bin\/sh$/);
    expect(() => checkTarget('sh', { PATH: '/nonexistent' })).toThrow('no such program in PATH');
  });

  test('an empty part of PATH is the current folder, and folders are passed over', () => {
    expect(checkTarget('sh', { PATH: ':/nonexistent' }, '/bin')).toBe('/bin/sh');
    expect(() => checkTarget('usr', { PATH: '/' })).toThrow('no such program in PATH');
  });

  test('the dynamic linker is a program that a preload reaches', async () => {
    const loader = readElf(process.execPath)?.interpreter as string;
    const { stdout, proofs } = await launch(ours, [loader, '/bin/echo', 'hi'], { report: true });
    expect(stdout.toString()).toBe('hi\n');
    expect(disproof(ours, proofs)).toBeUndefined();
  });

  test.each([
    ['#!/bin/sh', '/bin/sh', undefined],
    ['#! \t/bin/sh -e', '/bin/sh', undefined],
    ['#!/usr/bin/env perl', '/usr/bin/env', 'perl'],
    ['#!/usr/bin/env -S A=1 perl -w', '/usr/bin/env', 'perl'],
    ['#!/bin/sh\r', '/bin/sh\r', undefined],
    ['#!', '', undefined],
  ])('the first line %j', (line, interpreter, program) => {
    expect(parseShebang(`${line}\necho`)).toEqual({ interpreter, program });
  });
});

describe('launch', () => {
  test.each(everyVariant)('runs and proves %s', async (variant) => {
    const m = resolveMalloc(variant);
    const { status, stdout, stderr, proofs, timedOut, seconds } = await launch(m, ['echo', 'hi'], {
      report: true,
    });
    expect({ status, stdout: stdout.toString(), stderr: stderr.toString(), timedOut }).toEqual({
      status: 0,
      stdout: 'hi\n',
      stderr: '',
      timedOut: false,
    });
    const file = variantFile(variant);
    expect(proofs).toMatchObject([
      {
        executable: expect.stringMatching(/echo$/),
        malloc: file,
        calloc: file,
        realloc: file,
        free: file,
      },
    ]);
    expect(seconds).toBeGreaterThan(0);
  });

  test('passes input, folder and environment on, and adds nothing without a report', async () => {
    const { stdout } = await launch(glibc, ['sh', '-c', 'cat; pwd; env | sort'], {
      input: 'in\n',
      cwd: '/usr',
      env: { PATH: '/bin:/usr/bin', A: '1' },
    });
    const lines = stdout
      .toString()
      .split('\n')
      .filter((line) => !/^(_|OLDPWD|SHLVL)=/.test(line));
    expect(lines).toEqual(['in', '/usr', 'A=1', 'PATH=/bin:/usr/bin', 'PWD=/usr', '']);
  });

  test('without input, standard input is empty', async () => {
    expect((await launch(ours, ['wc', '-c'])).stdout.toString().trim()).toBe('0');
  });

  test('output is passed on byte by byte, however much', async () => {
    const { stdout } = await launch(ours, [
      'sh',
      '-c',
      'printf "\\377\\n\\n"; head -c 3000000 /dev/zero',
    ]);
    expect(stdout.length).toBe(3_000_003);
    expect([...stdout.subarray(0, 4)]).toEqual([255, 10, 10, 0]);
  });

  test('limits hold for the program, which keeps its pid, its arguments and its proof', async () => {
    const limits = { addressSpace: 2 ** 30, cpu: 7, core: 0 };
    const script = 'ulimit -v; ulimit -t; ulimit -c; printf "<%s>" "$@"';
    const { stdout, proofs } = await launch(ours, ['sh', '-c', script, 'x', 'a b', '', '$HOME'], {
      limits,
      report: true,
    });
    expect(stdout.toString()).toBe('1048576\n7\n0\n<a b><><$HOME>');
    expect(disproof(ours, proofs)).toBeUndefined();
    expect(proofs).toHaveLength(1);
  });

  test('CPU time runs out as a signal', async () => {
    const result = await launch(glibc, ['sh', '-c', 'while :; do :; done'], {
      limits: { cpu: 1 },
      timeout: 30,
    });
    expect(result).toMatchObject({
      signal: expect.stringMatching(/^SIG(XCPU|KILL)$/),
      timedOut: false,
    });
  });

  test('the time limit ends grandchildren, too', async () => {
    let pid = 0;
    const script = 'echo $$; sleep 300 & echo $!; setsid sleep 300 & echo $!; wait';
    const running = launch(ours, ['sh', '-c', script], {
      report: true,
      timeout: 1,
      started: (child) => {
        pid = child;
      },
    });
    const { status, timedOut, stdout } = await running;
    const pids = stdout.toString().trim().split('\n').map(Number);
    expect({ status, timedOut, first: pids[0] }).toEqual({
      status: 124,
      timedOut: true,
      first: pid,
    });
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test('a signal is a result', async () => {
    const { status, signal } = await launch(ours, ['sh', '-c', 'kill -9 $$']);
    expect({ status, signal }).toEqual({ status: 137, signal: 'SIGKILL' });
  });

  test('an argument list that is too long is a Failure, not a crash', async () => {
    await expect(launch(ours, ['echo', 'x'.repeat(3_000_000)])).rejects.toMatchObject({
      code: 126,
      message: expect.stringContaining('E2BIG'),
    });
  });

  test('when we end, children in groups of their own end, and our temporary files are removed', async () => {
    const script = `import { launch } from '${join(root, 'scripts/malloc/preload.ts')}';
      import { resolveMalloc } from '${join(root, 'scripts/malloc/mallocs.ts')}';
      await launch(resolveMalloc('glibc'), ['sleep', '300'], { report: true, started: (pid) => console.log(pid) });`;
    const temporary = join(folder, 'tmp');
    mkdirSync(temporary);
    const file = join(folder, 'parent.mts');
    writeFileSync(file, script);
    const parent = execa(process.execPath, ['--import', 'tsx', file], {
      reject: false,
      cwd: root,
      env: { TMPDIR: temporary },
    });
    const pid: number = await new Promise((resolve) =>
      parent.stdout.once('data', (data) => resolve(Number(data))),
    );
    expect(isRunning(pid)).toBe(true);
    parent.kill('SIGTERM');
    expect((await parent).signal).toBe('SIGTERM');
    await expect.poll(() => isRunning(pid)).toBe(false);
    expect(readdirSync(temporary).filter((name) => name.startsWith('libmalloc-'))).toEqual([]);
  });
});

describe('a family', () => {
  test('is everything below a process', async () => {
    const child = execa('sh', ['-c', 'sleep 300 & wait'], { reject: false });
    await expect.poll(() => descendants(child.pid as number).length).toBe(2);
    for (const pid of descendants(child.pid as number).reverse()) process.kill(pid);
    await child;
    expect(isRunning(child.pid as number)).toBe(false);
  });
});

describe('reports', () => {
  const record = (pid: number, provider: string, magic = 'LMREPORT', version = 1): Buffer => {
    const bytes = Buffer.alloc(24 + 5 * 1024);
    bytes.write(magic, 'latin1');
    bytes.writeUInt32LE(version, 8);
    bytes.writeUInt32LE(bytes.length, 12);
    bytes.writeUInt32LE(pid, 16);
    bytes.write('/bin/é', 24);
    for (let i = 1; i <= 4; i++) bytes.write(provider, 24 + i * 1024);
    return bytes;
  };

  test('are read as native/base/report.h lays them out', () => {
    const file = '/x/libmalloc-list.so';
    expect(parseReport(record(7, file))).toEqual({
      pid: 7,
      executable: '/bin/é',
      malloc: file,
      calloc: file,
      realloc: file,
      free: file,
    });
  });

  test('a longer, later record of the same version is read; an unfinished, cut or unknown one is not', () => {
    expect(parseReport(Buffer.concat([record(7, '/x'), Buffer.alloc(100)]))?.pid).toBe(7);
    expect(parseReport(record(7, '/x', '\0\0\0\0\0\0\0\0'))).toBeUndefined();
    expect(parseReport(record(7, '/x').subarray(0, 5143))).toBeUndefined();
    expect(parseReport(record(7, '/x', 'LMREPORT', 2))).toBeUndefined();
    expect(parseReport(Buffer.alloc(0))).toBeUndefined();
  });

  test('only files of their prefix count, in order of pid', () => {
    for (const pid of [30, 4]) writeFileSync(join(folder, `p.${pid}`), record(pid, '/x'));
    writeFileSync(join(folder, 'q.1'), record(1, '/x'));
    writeFileSync(join(folder, 'p.5'), '');
    expect(readReports(join(folder, 'p')).map(({ pid }) => pid)).toEqual([4, 30]);
  });

  test('that of the probe names who provides each function', async () => {
    const prefix = join(folder, 'probe');
    await execa('true', { env: { LD_PRELOAD: `${library}:${probe()}`, LIBMALLOC_REPORT: prefix } });
    expect(readReports(prefix)).toMatchObject([{ malloc: library, free: library }]);
  });
});

describe('what records prove', () => {
  const m: Malloc = { name: 'list', kind: 'variant', file: '/x/libmalloc-list.so' };
  const proof = (pid: number, executable: string, provider = '/x/libmalloc-list.so'): Proof => ({
    pid,
    executable,
    malloc: provider,
    calloc: provider,
    realloc: provider,
    free: provider,
  });

  test('nothing, when there are none', () => {
    expect(disproof(m, [])).toContain('no process reported back');
  });

  test('use, when every function of every process came from the malloc', () => {
    expect(disproof(m, [proof(1, '/bin/a'), proof(2, '/bin/b')])).toBeUndefined();
    expect(
      disproof(glibc, [proof(1, '/bin/a', '/lib/x86_64-linux-gnu/libc.so.6')]),
    ).toBeUndefined();
  });

  test.each(['malloc', 'calloc', 'realloc', 'free'] as const)(
    'no use, when one %s came from elsewhere',
    (name) => {
      const doubt = disproof(m, [
        proof(1, '/bin/a'),
        { ...proof(2, '/bin/b'), [name]: '/lib/libc.so.6' },
      ]);
      expect(doubt).toBe(`list was not in use: in b (pid 2) ${name} came from /lib/libc.so.6`);
    },
  );

  test('no use of the C library, when another library took its place', () => {
    expect(disproof(glibc, [proof(1, '/bin/a')])).toContain('glibc was not in use');
  });

  test('fit in one line, with names counted and their number limited', () => {
    const many = ['sh', 'ls', 'ls', 'sort'].map((name, i) => proof(i, `/bin/${name}`));
    expect(proofLine(m, many)).toBe('list in 4 processes (sh, ls ×2, sort): /x/libmalloc-list.so');
    expect(proofLine(m, [proof(1, '/bin/ls')])).toContain('list in 1 process (ls)');
    expect(programNames(Array.from({ length: 20 }, (_, i) => proof(i, `/bin/p${i}`)))).toBe(
      'p0, p1, p2, p3, p4, p5, p6, … 13 more',
    );
  });
});

// dumb needs more of the program break than valgrind provides.
describe.each(everyVariant.filter((name) => name !== 'dumb'))('%s', (name) => {
  test('serves programs under valgrind, which provides fewer addresses than the kernel', async () => {
    const options = { env: { LD_PRELOAD: variantFile(name) } };
    const { stdout, stderr } = await execa(
      need('valgrind'),
      ['-q', '--tool=none', 'ls', '/'],
      options,
    );
    expect(stdout).toBe((await execa('ls', ['/'])).stdout);
    expect(stderr).toBe('');
  });
});
