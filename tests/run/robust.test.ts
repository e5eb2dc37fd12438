// Wrong input of all kinds: each verb reports it in a line or two, before it starts to work.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { cli, libmalloc, play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { variantFile } from '../lib/variants.ts';

const folder = testFolder();
const at = (name: string): string => join(folder, name);

describe('a malloc that lacks functions', () => {
  const build = (name: string, text: string): string => {
    writeFileSync(at(`${name}.c`), text);
    return compileProgram(at(`${name}.c`), { flags: ['-shared', '-fPIC', '-fno-builtin'] });
  };
  const bump = `
    static _Alignas(16) char memory[1 << 24]; static __SIZE_TYPE__ used;
    void *malloc(__SIZE_TYPE__ n) { used += (n + 31) & ~15ul; return memory + used - ((n + 31) & ~15ul); }
    void free(void *p) { (void)p; }`;

  test('is reported with their names, and the library that provided them', async () => {
    const { status, stderr } = await libmalloc([
      'run',
      '-m',
      `half=${build('half', bump)}`,
      '--',
      'true',
    ]);
    expect(status).toBe(125);
    expect(stderr).toMatch(
      /^libmalloc: half has no calloc and no realloc: in true \(pid \d+\) they came from \S+libc\.so\.6, so blocks of two mallocs were mixed\n {2}define malloc, calloc, realloc and free together/,
    );
    expect(stderr).not.toContain('not in use');
  });

  test('is reported if it lacks all of them', async () => {
    const none = build('none', 'int none;');
    const { status, stderr } = await libmalloc(['run', '-m', `none=${none}`, '--', 'true']);
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringContaining('none defines neither malloc nor any of its kin'),
    });
  });
});

describe('a library whose path LD_PRELOAD would split', () => {
  const odd = (): string => {
    mkdirSync(at('a b:c'), { recursive: true });
    copyFileSync(variantFile('list'), at('a b:c/my list.so'));
    return at('a b:c/my list.so');
  };
  const left = () => readdirSync(tmpdir()).filter((name) => name.startsWith('libmalloc-link-'));

  test.each([
    ['run', '--', 'true'],
    ['run', '--stats', '--', 'true'],
    ['record', '-o', 'TRACE', '--', 'true'],
    ['layout', '--', 'true'],
    ['gdb', '--batch', '--', 'true'],
    ['check', '--group', 'semantics/zero'],
    ['bench', '--runs', '1', '--', 'true'],
  ])('works with %s', async (verb, ...rest) => {
    if (verb === 'gdb') need('gdb');
    const args = rest.map((word) => (word === 'TRACE' ? at('odd.trace') : word));
    const { status, stderr } = await libmalloc([verb, '-m', odd(), ...args]);
    expect(status, stderr).toBe(0);
  });

  test('is refused where the link would be split as well', async () => {
    const args = ['run', '-m', odd(), '--', 'true'];
    const { status, stderr } = await libmalloc(args, { env: { TMPDIR: at('a b:c') } });
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringMatching(
        /nor a link to it in .*\n.* set TMPDIR to a folder without them$/,
      ),
    });
    expect(readdirSync(at('a b:c'))).toEqual(['my list.so']);
  });

  test('leaves no link behind', async () => {
    const before = left();
    await libmalloc(['run', '-m', odd(), '--', 'true']);
    expect(left()).toEqual(before);
  });

  test('is refused for a session that outlives the link', async () => {
    const { status, stderr } = await libmalloc(['gdb', '--print', '-m', odd(), '--', 'true']);
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringContaining('a session that is kept cannot preload'),
    });
  });
});

describe('processes that no preload reaches are named', () => {
  const still = (): string => compileProgram('hello.c', { flags: ['-static'] });

  test.each([
    [['env', '-i', 'true'], '1 process, and what it started: true (env cleared LD_PRELOAD)'],
    [
      ['sh', '-c', 'LD_PRELOAD= true; true; cat </dev/null; LD_PRELOAD= cat </dev/null; exit 0'],
      '1 process',
    ],
    [['setpriv', '--reset-env', 'true'], 'true (setpriv cleared LD_PRELOAD)'],
    [
      ['perl', '-e', 'delete $ENV{LD_PRELOAD}; system("ls", "/"); exec "nowhere"; exit 0'],
      'ls (perl cleared LD_PRELOAD)',
    ],
  ])('%j', async (command, said) => {
    need('perl');
    const { status, stderr } = await libmalloc(['run', '--json', at('run.json'), '--', ...command]);
    expect(stderr).toMatch(/^libmalloc: sharded in \d/m);
    expect(stderr).toContain(`libmalloc: not reached: `);
    expect(stderr).toContain(said);
    expect(status).toBe(0);
    const { unreached } = JSON.parse(readFileSync(at('run.json'), 'utf8'));
    expect(unreached).toHaveLength(1);
  });

  test('static ones, too, by record as by run', async () => {
    const args = [
      'record',
      '-o',
      at('static.trace'),
      '--',
      'sh',
      '-c',
      `${still()}; ${still()}; true`,
    ];
    const { stderr } = await libmalloc(args);
    expect(stderr).toMatch(
      /not reached: 2 processes, and what they started: 2 × hello-\w+ \(is statically linked/,
    );
  });

  test('nothing is printed if all were reached, also by spawn, system, popen and execl', async () => {
    writeFileSync(
      at('starts.c'),
      `#include <spawn.h>
      #include <stdio.h>
      #include <stdlib.h>
      #include <sys/wait.h>
      #include <unistd.h>
      extern char **environ;
      int main(void) {
          pid_t pid;
          char *args[] = {"true", NULL}, *none[] = {NULL};
          if (posix_spawnp(&pid, "true", NULL, NULL, args, environ) || waitpid(pid, NULL, 0) != pid) return 1;
          if (system("true") || pclose(popen("true", "r"))) return 2;
          if (fork() == 0) { execvp("no such program", args); execle("/bin/true", "true", (char *)0, environ); }
          wait(NULL);
          if (getenv("CLEAR") && fork() == 0) execle("/bin/true", "true", (char *)0, none);
          wait(NULL);
          return execl("/bin/true", "true", (char *)0);
      }`,
    );
    const starts = compileProgram(at('starts.c'), { flags: ['-D_GNU_SOURCE'] });
    const { status, stderr } = await libmalloc(['run', '--', starts]);
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: expect.stringMatching(/^libmalloc: sharded in \d+ processes \(.*\n?$/),
    });
    const cleared = await libmalloc(['run', '--', starts], { env: { CLEAR: '1' } });
    expect(cleared.stderr).toMatch(/not reached: 1 process, and what it started: true \(starts-/);
  });
});

describe('bytes that are not UTF-8 are refused, not changed', () => {
  const say = async (line: string) =>
    play(['bash', '-c', `cd ${folder}; L='${cli.join(' ')}'; ${line}`]);

  test.each([
    ["$L run -- printf %s $'x\\xff'", "the argument $'x\\xff' is not UTF-8"],
    ["$L record -o $'t\\xff' -- true", "the argument $'t\\xff' is not UTF-8"],
    ["V=$'\\xff' $L run -- env", 'the variable V is not UTF-8'],
    ["mkdir -p $'d\\xff'; cd $'d\\xff'; $L run -- true", 'the current folder'],
  ])('%s', async (line, message) => {
    const { status, stdout, stderr } = await say(line);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toContain(message);
    expect(stderr.split('\n')).toHaveLength(2);
  });

  test('and UTF-8 passes through', async () => {
    const { stdout } = await say(`V=ä $L run -q -- sh -c 'printf %s "$V$1"' - 'ö x'`);
    expect(stdout).toBe('äö x');
  });
});

describe('a mistyped name', () => {
  test.each([
    [['run', '-m', 'lst', '--', 'true'], 'did you mean list?'],
    [['record', '-m', 'jemaloc', '-o', 'x', '--', 'true'], 'did you mean jemalloc?'],
    [['bench', 'curv'], 'did you mean curve?'],
    [['bench', 'tihgt-16'], 'did you mean tight-16?'],
    [['bench', 'tigt'], 'did you mean tight?'],
    [['check', '--group', 'semantic'], 'did you mean semantics?'],
    [['check', '--group', 'threads/private-lrge'], 'did you mean private-large?'],
    [['help', 'rnu'], 'did you mean run?'],
  ])('%j', async (args, hint) => {
    const { status, stdout, stderr } = await libmalloc(args);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toContain(hint);
  });

  test('help of an unknown verb is an error, of a known verb its help', async () => {
    expect(await libmalloc(['help', 'zzz'])).toMatchObject({
      status: 125,
      stdout: '',
      stderr: expect.stringMatching(/^libmalloc: there is no verb zzz\n {2}the verbs are: run, /),
    });
    expect(await libmalloc(['help', 'view'])).toMatchObject({ status: 0, stderr: '' });
  });
});

describe('an output that cannot be written is reported before the work', () => {
  test.each([
    ['run', '--', 'touch', 'DONE'],
    ['record', '-o', 'TRACE', '--', 'touch', 'DONE'],
    ['layout', '--', 'touch', 'DONE'],
    ['gdb', '--batch', '--', 'touch', 'DONE'],
    ['check'],
    ['bench', '--', 'touch', 'DONE'],
    ['doctor'],
    ['new', 'fresh'],
  ])('%s: --json', async (verb, ...rest) => {
    const words = rest.map((word) => (word === 'DONE' || word === 'TRACE' ? at(word) : word));
    const args = [verb, '--json', at('nowhere/file'), ...words];
    const { status, stdout, stderr } = await libmalloc(args, { cwd: folder });
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toBe(
      `libmalloc: cannot write ${at('nowhere/file')}: there is no folder ${at('nowhere')}\n` +
        '  give --json a path that can be written, or - for standard output',
    );
    expect(existsSync(at('DONE')) || existsSync(at('TRACE')) || existsSync(at('fresh'))).toBe(
      false,
    );
  });

  test.each([
    ['check', '--junit'],
    ['bench', '--svg'],
    ['replay', 'x', '--export'],
    ['view', 'x', '--png'],
    ['view', 'x', '-o'],
  ])('%j: other files', async (...args) => {
    const { status, stderr } = await libmalloc([...args, '/']);
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: expect.stringContaining('cannot write /: it is a folder'),
    });
  });

  test.each([
    [['run', '--', 'true'], { TMPDIR: '/nowhere' }],
    [['run', '--stats', '--', 'true'], { TMPDIR: '/nowhere' }],
    [['layout', '--', 'true'], { TMPDIR: '/nowhere' }],
    [['record', '--cost'], { TMPDIR: '/nowhere' }],
    [['gdb', '--batch', '--', 'true'], { TMPDIR: '/nowhere' }],
    [['profile', '--', 'true'], { TMPDIR: '/nowhere' }],
  ])('%j with %j', async (args, env) => {
    const { status, stderr } = await libmalloc(args, { env });
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr:
        'libmalloc: no temporary folder can be made in /nowhere: no such file or directory\n' +
        '  set TMPDIR to a folder that can be written to',
    });
  });
});

describe('standard output that cannot be written', () => {
  test('is reported in one line, without a stack', async () => {
    const line = `exec ${cli.join(' ')} doctor >/dev/full`;
    const { status, stderr } = await play(['bash', '-c', line]);
    expect({ status, stderr }).toEqual({
      status: 125,
      stderr: 'libmalloc: cannot write to standard output: no space left on device',
    });
  });

  test.each(['doctor', 'doctor --json -'])(
    'because the reader closed the pipe, ends %s as SIGPIPE would, without a message',
    async (words) => {
      const line = `${cli.join(' ')} ${words} | true; exit \${PIPESTATUS[0]}`;
      const { status, stderr } = await play(['bash', '-c', line]);
      expect({ status, stderr }).toEqual({ status: 141, stderr: '' });
    },
  );
});

describe('Ctrl-C ends it within a second', () => {
  /** The processes of a session. */
  const session = async (sid: number): Promise<string[]> => {
    const { stdout } = await execa('ps', ['-o', 'stat=,args=', '-s', `${sid}`], { reject: false });
    return stdout.split('\n').filter((line) => line.trim() !== '' && !/^\s*Z/.test(line));
  };

  test.each([
    [700, ['check']],
    [2500, ['check', '--group', 'threads', '--group', 'random']],
    [1500, ['bench', 'pairs']],
    [1500, ['layout', '--', 'sleep', '60']],
    [1500, ['run', '--', 'sleep', '60']],
    [1500, ['record', '-o', 'TRACE', '--', 'sleep', '60']],
  ])('after %i ms of %j', async (wait, args) => {
    const words = args.map((word) => (word === 'TRACE' ? at('c.trace') : word));
    const [node, ...rest] = [...cli, ...words] as [string, ...string[]];
    const child = spawn(node, rest, { detached: true, stdio: 'ignore' });
    const pid = child.pid as number;
    const ended = once(child, 'exit');
    await sleep(wait);
    expect(child.exitCode, 'it was over before').toBeNull();
    process.kill(-pid, 'SIGINT');
    const timely = await Promise.race([ended.then(() => true), sleep(10_000, false)]);
    const left = timely ? await session(pid) : [];
    process.kill(timely ? process.pid : -pid, timely ? 0 : 'SIGKILL');
    expect(timely).toBe(true);
    expect(left).toEqual([]);
  });

  test('also while it reads a long trace and has a listener installed', async () => {
    const lines = Array.from({ length: 400_000 }, (_, i) => `a ${i} 16\nf ${i}`).join('\n');
    writeFileSync(at('long.rep'), `1\n400000\n800000\n1\n${lines}\n`);
    const [node, ...rest] = [...cli, 'replay', at('long.rep'), '-m', 'glibc'] as [
      string,
      ...string[],
    ];
    const own = mkdtempSync(at('own-'));
    const env = { ...process.env, TMPDIR: own };
    const child = spawn(node, rest, { stdio: 'ignore', env });
    const made = () => readdirSync(own).some((name) => /^libmalloc-replay-/.test(name));
    while (!made() && child.exitCode === null) await sleep(5);
    child.kill('SIGINT');
    const [, signal] = await once(child, 'exit');
    expect(signal).toBe('SIGINT');
    expect(made(), 'its folder is left').toBe(false);
  });
});
