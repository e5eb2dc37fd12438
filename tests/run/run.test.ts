import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { defaultVariant } from '../../scripts/malloc/mallocs.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { variantFile } from '../lib/variants.ts';

const variant = defaultVariant();
const library = variantFile(variant);
const folder = testFolder();

const run = (...args: string[]) => libmalloc(['run', ...args]);

describe('the proof', () => {
  test('is one line on standard error, and nothing is added to standard output', async () => {
    const { status, stdout, stderr } = await run(
      '-m',
      variant,
      '--',
      'sh',
      '-c',
      'ls / | sort | wc -l',
    );
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\d+$/);
    expect(stderr).toMatch(
      new RegExp(
        `^libmalloc: ${variant} in 4 processes \\(\\w+, ls, sort, wc\\): \\S*libmalloc-${variant}\\.so$`,
      ),
    );
  });

  test("is off with -q, and standard error is then the program's alone", async () => {
    const result = await run(
      '-q',
      '-m',
      variant,
      '--',
      'sh',
      '-c',
      'echo out; echo err >&2; exit 3',
    );
    expect(result).toEqual({ status: 3, stdout: 'out', stderr: 'err' });
  });

  test('survives _exit, kill, a crash and exec in children', async () => {
    const json = join(folder, 'endings.json');
    const { status, stdout } = await run(
      '--json',
      json,
      '-m',
      variant,
      '--',
      compileProgram('endings.c'),
    );
    expect(status).toBe(0);
    const { processes } = JSON.parse(readFileSync(json, 'utf8'));
    expect(processes).toHaveLength(5);
    const pids = processes.map(({ pid }: { pid: number }) => String(pid));
    for (const child of stdout.split('\n')) expect(pids).toContain(child);
    const ours = { malloc: library, calloc: library, realloc: library, free: library };
    for (const each of processes) expect(each).toMatchObject(ours);
  });

  test('covers programs that are not position-independent', async () => {
    const fixed = compileProgram('address-taken.c', { flags: ['-no-pie', '-fno-pie'] });
    expect((await run('-m', variant, '--', fixed)).stderr).toContain(`${variant} in 1 process`);
  });

  test('fails with 125 for a program that brings its own malloc, and says who provided it', async () => {
    const own = compileProgram('own-malloc.c');
    const { status, stdout, stderr } = await run('-m', variant, '--', own);
    expect({ status, stdout }).toEqual({ status: 125, stdout: 'own' });
    expect(stderr).toContain(`${variant} was not in use: in own-malloc`);
    expect(stderr).toContain(`malloc came from ${own}`);
  });

  test('fails with 125 when one child alone escaped', async () => {
    const script = `${compileProgram('own-malloc.c')}; true`;
    const { status, stderr } = await run('-m', variant, '--', 'sh', '-c', script);
    expect(status).toBe(125);
    expect(stderr).toContain('was not in use');
  });

  test('holds for the C library and for NAME=FILE.so', async () => {
    const glibc = await run('-m', 'glibc', '--', 'true');
    expect(glibc.stderr).toMatch(/^libmalloc: glibc in 1 process \(true\): \S*libc\.so\.6$/);
    const mine = await run('-m', `mine=${library}`, '--', 'true');
    expect(mine.stderr).toMatch(/^libmalloc: mine in 1 process/);
  });

  test("keeps the user's own preload, behind ours, and leaves no file behind", async () => {
    const source = join(folder, 'marker.c');
    writeFileSync(source, 'int marker;\n');
    const theirs = compileProgram(source, { flags: ['-shared', '-fPIC'] });
    const temporary = join(folder, 'tmp');
    mkdirSync(temporary);
    const env = { LD_PRELOAD: theirs, TMPDIR: temporary };
    const { stdout, stderr } = await libmalloc(
      ['run', '-m', variant, '--', 'sh', '-c', 'echo $LD_PRELOAD'],
      { env },
    );
    expect(stdout).toMatch(new RegExp(`^${library}:\\S*libmalloc-probe\\.so:${theirs}$`));
    expect(stderr).toContain(`${variant} in 1 process`);
    expect(readdirSync(temporary).filter((name) => name.startsWith('libmalloc-'))).toEqual([]);
  });
});

describe('the exit status', () => {
  test("is the program's, whose name is the one it was called by", async () => {
    const script = 'tr "\\0" " " < /proc/$$/cmdline; exit 255';
    const { status, stdout } = await run('-q', '--', 'sh', '-c', script);
    expect(status).toBe(255);
    expect(stdout).toMatch(/^sh -c/);
  });

  test.each([
    ['SEGV', 139],
    ['TERM', 143],
  ])('is 128+n after SIG%s, which is named', async (name, status) => {
    const result = await run('-m', variant, '--', 'sh', '-c', `ulimit -c 0; kill -${name} $$`);
    expect(result.status).toBe(status);
    expect(result.stderr).toContain(`libmalloc: sh was ended by SIG${name}`);
    expect(result.stderr).toContain(`${variant} in 1 process`);
  });

  test('is 134 after an abort of the library, whose message is first', async () => {
    const free = compileProgram('free-wild.c');
    const { status, stderr } = await run('-m', variant, '--', free);
    expect(status).toBe(134);
    expect(stderr).toMatch(
      /^libmalloc: free\(\): .*0x[0-9a-f]+.*\nlibmalloc: \S+ was ended by SIGABRT\n/,
    );
  });

  test("of a text without a #! line is the shell's", async () => {
    const bare = join(folder, 'bare');
    writeFileSync(bare, 'echo bare; exit 6\n');
    chmodSync(bare, 0o755);
    expect(await run('-q', '--', bare)).toEqual({ status: 6, stdout: 'bare', stderr: '' });
  });

  test.each([
    ['no program', []],
    ['an unknown option', ['--nonsense', '--', 'true']],
    ['a time that is no number', ['--timeout', 'soon', '--', 'true']],
    ['a time that has passed', ['--timeout', '-1', '--', 'true']],
  ])('is 125 for a wrong command line: %s', async (_what, args) => {
    const { status, stderr } = await run(...args);
    expect(stderr).toMatch(/^(error|libmalloc): /);
    expect(status).toBe(125);
  });
});

describe('--json', () => {
  test('describes the run', async () => {
    const json = join(folder, 'run.json');
    await run('--json', json, '-m', variant, '--', 'sh', '-c', 'exit 9');
    const record = JSON.parse(readFileSync(json, 'utf8'));
    expect(Object.keys(record)[0]).toBe('schema');
    expect(record).toMatchObject({
      schema: 'libmalloc/run/1',
      malloc: { name: variant, file: library },
      command: ['sh', '-c', 'exit 9'],
      status: 9,
      signal: null,
      timedOut: false,
      proven: true,
      processes: [{ malloc: library }],
    });
    expect(record.seconds).toBeGreaterThan(0);
  });

  test('names the doubt when the proof failed', async () => {
    const json = join(folder, 'doubt.json');
    await run('--json', json, '-m', variant, '--', compileProgram('own-malloc.c'));
    const doubt = expect.stringContaining('not in use');
    expect(JSON.parse(readFileSync(json, 'utf8'))).toMatchObject({
      status: 125,
      proven: false,
      doubt,
    });
  });

  test("- is refused: standard output is the program's", async () => {
    const { status, stdout, stderr } = await run('--json', '-', '--', 'echo', 'ran');
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toContain('standard output');
  });
});

describe('--timeout', () => {
  /** Processes whose command line holds `word`. */
  function survivors(word: string): string[] {
    return readdirSync('/proc').filter((pid) => {
      try {
        const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return /^\d+$/.test(pid) && words.includes(word);
      } catch {
        return false;
      }
    });
  }

  test('ends the program and all that it started, also in other sessions and deaf to SIGTERM', async () => {
    const word = String(300 + process.pid / 1e7);
    const strays = `setsid sh -c 'sleep ${word}; :' & (trap "" TERM; sleep ${word}; sleep ${word}) &`;
    const { status, stderr } = await run(
      '--timeout',
      '1',
      '-m',
      variant,
      '--',
      'sh',
      '-c',
      `${strays} sleep ${word}`,
    );
    expect(status).toBe(124);
    expect(stderr).toMatch(/sh was ended after \d+\.\d s: its time was up/);
    expect(stderr).toContain(`${variant} in `);
    expect(survivors(word)).toEqual([]);
  });

  test('does not disturb a program that ends in time', async () => {
    const result = await run('-q', '--timeout', '30', '--', 'sh', '-c', 'exit 4');
    expect(result).toEqual({ status: 4, stdout: '', stderr: '' });
  });
});
