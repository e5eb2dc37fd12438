import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Check } from '../../scripts/doctor/check.ts';
import { checkPrograms } from '../../scripts/doctor/libraries.ts';
import { Failure } from '../../scripts/lib/errors.ts';
import { newEnough } from '../../scripts/lib/platform.ts';
import { peers, resolveMalloc, variants } from '../../scripts/malloc/mallocs.ts';
import { programs, which } from '../../scripts/malloc/programs.ts';
import { checkEnvironment } from '../../scripts/malloc/variables.ts';
import { libmalloc } from '../lib/cli.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

interface Report {
  schema: string;
  ok: boolean;
  checks: Check[];
}

const folder = testFolder();

/** `libmalloc doctor --json -` in the given environment. */
async function doctor(env: NodeJS.ProcessEnv = {}): Promise<{ status?: number; report: Report }> {
  const { status, stdout } = await libmalloc(['doctor', '--json', '-'], { env });
  return { status, report: JSON.parse(stdout) };
}

/** The line about one thing. */
function line(report: Report, name: string): Check | undefined {
  return report.checks.find((check) => check.name === name);
}

/** A folder with these programs, to be used as PATH. */
function pathOf(title: string, names: string[]): string {
  const path = join(folder, title);
  mkdirSync(path);
  for (const name of names) symlinkSync(which(name) ?? name, join(path, name));
  return path;
}

describe('libmalloc doctor', () => {
  test('finds everything on a complete machine', async () => {
    for (const name of ['gcc', 'gdb', 'make', 'libc headers']) need(name);
    const { status, report } = await doctor();
    expect(report.schema).toBe('libmalloc/doctor/1');
    const amiss = report.checks.filter((check) => check.status === 'wrong');
    expect(amiss).toEqual([]);
    expect(report.ok).toBe(true);
    expect(status).toBe(0);
    const names = [
      'platform',
      'node',
      'compiler',
      'make',
      'gdb',
      'ptrace',
      'watchpoints',
      'preload',
      'variables',
      'programs',
    ];
    const wanted = [...names, ...variants(), ...peers.map((peer) => peer.name)];
    expect(report.checks.map(({ name }) => name).sort()).toEqual(wanted.sort());
    for (const name of variants()) expect(line(report, name)?.found).toBe(resolveMalloc(name).file);
    expect(line(report, 'preload')?.found).toContain('proven from inside');
  });

  test('names the package of each missing tool, and ends with 1', async () => {
    const { status, report } = await doctor({ PATH: pathOf('empty', []) });
    expect(status).toBe(1);
    expect(report.ok).toBe(false);
    expect(line(report, 'compiler')).toMatchObject({ status: 'wrong' });
    expect(line(report, 'compiler')?.fix).toContain('apt-get install gcc libc6-dev');
    expect(line(report, 'make')?.fix).toBe('apt-get install make');
    expect(line(report, 'gdb')?.fix).toBe('apt-get install gdb');
    expect(line(report, 'ptrace')?.status).toBe('wrong');
    expect(line(report, 'preload')?.status).toBe('ok');
  });

  test('tells a compiler without headers from none', async () => {
    const path = pathOf('headless', []);
    const script = '#!/bin/sh\n[ "$1" = --version ] && echo cc 1.0 && exit 0\nexit 1\n';
    writeFileSync(join(path, 'cc'), script, { mode: 0o755 });
    const { report } = await doctor({ PATH: path, CC: undefined });
    expect(line(report, 'compiler')).toEqual({
      name: 'compiler',
      status: 'wrong',
      found: 'no C headers',
      fix: 'apt-get install libc6-dev',
    });
  });

  test('notices when a debugger may not trace', async () => {
    const path = pathOf('muzzled', []);
    const script = '#!/bin/sh\ncase "$*" in *run*) echo "ptrace: Operation not permitted."; esac\n';
    writeFileSync(join(path, 'gdb'), `${script}echo 2\n`, { mode: 0o755 });
    const { status, report } = await doctor({ PATH: path });
    expect(status).toBe(1);
    expect(line(report, 'ptrace')?.found).toBe('a debugger may not trace its child');
    expect(line(report, 'ptrace')?.fix).toContain('SYS_PTRACE');
  });

  test('names each variable that is unknown or has a broken value', async () => {
    const { status, report } = await doctor({
      LIBMALLOC_BLOCK: '4k',
      LIBMALLOC_OVERRUN: '1',
      LIBMALLOC_OVERUN: '1',
    });
    expect(status).toBe(1);
    expect(line(report, 'LIBMALLOC_BLOCK')?.found).toBe("broken value LIBMALLOC_BLOCK='4k'");
    expect(line(report, 'LIBMALLOC_OVERRUN')?.status).toBe('ok');
    expect(line(report, 'LIBMALLOC_OVERUN')?.fix).toContain('LIBMALLOC_OVERRUN');
  });

  test('prints a table without colour outside of a terminal, and writes --json beside it', async () => {
    const file = join(folder, 'report.json');
    const { stdout } = await libmalloc(['doctor', '--json', file]);
    expect(stdout).toMatch(/^preload +ok +/m);
    expect(stdout).not.toContain('\u001b[');
    expect(JSON.parse(readFileSync(file, 'utf8')).schema).toBe('libmalloc/doctor/1');
  });

  test('says so when --json cannot be written', async () => {
    const { status, stderr } = await libmalloc(['doctor', '--json', '/no/such/folder/x.json']);
    expect(status).toBe(125);
    expect(stderr).toContain('libmalloc: cannot write /no/such/folder/x.json');
  });
});

describe('the requirements that doctor checks', () => {
  test('the oldest Node is that of package.json', () => {
    for (const version of ['20.19.0', '20.20.1', '22.0.0', '24.1.0'])
      expect(newEnough(version)).toBe(true);
    for (const version of ['18.19.0', '20.18.9', '20.2.0', '8.0.0'])
      expect(newEnough(version)).toBe(false);
  });

  test('missing programs give one line with the packages to install, each once', () => {
    const absent = { 'no-such-a': { package: 'aa' }, 'no-such-b': { package: 'aa' } };
    expect(checkPrograms(absent)).toMatchObject({
      status: 'optional',
      found: 'missing: no-such-a, no-such-b',
      fix: 'apt-get install aa',
    });
  });

  test('every program that is listed has a package of a plausible name', () => {
    for (const [name, program] of Object.entries(programs()))
      expect(program.package, name).toMatch(/^[a-z0-9][a-z0-9.+-]+$/);
  });
});

describe('checkEnvironment', () => {
  const accepted = [
    {},
    { PATH: '/bin', LIBMALLOC: 'not ours: no underscore' },
    { LIBMALLOC_BLOCK: '1024', LIBMALLOC_OVERRUN: '1' },
    { LIBMALLOC_BLOCK: '1', LIBMALLOC_OVERRUN: '0' },
    { LIBMALLOC_REPORT: join(tmpdir(), 'report') },
    { LIBMALLOC_DEBUG: 'leaks=1' },
    { LIBMALLOC_DEBUG: 'stack=0,quarantine=1048576,fill=0,leaks=0' },
  ];
  test.each(accepted)('accepts %o', (env) => {
    expect(() => checkEnvironment(env)).not.toThrow();
  });

  const refused = [
    { LIBMALLOC_BLOKC: '1024' },
    { LIBMALLOC_: '' },
    { LIBMALLOC_BLOCK: '' },
    { LIBMALLOC_BLOCK: '0' },
    { LIBMALLOC_BLOCK: '-1' },
    { LIBMALLOC_BLOCK: '1k' },
    { LIBMALLOC_BLOCK: ' 1' },
    { LIBMALLOC_BLOCK: '9223372036854775808' },
    { LIBMALLOC_OVERRUN: 'yes' },
    { LIBMALLOC_OVERRUN: '' },
    { LIBMALLOC_DEBUG: '' },
    { LIBMALLOC_DEBUG: 'leaks' },
    { LIBMALLOC_DEBUG: 'constructor=1' },
    { LIBMALLOC_DEBUG: 'stack=9' },
    { LIBMALLOC_DEBUG: 'quarantine=9223372036854775808' },
    { LIBMALLOC_REPORT: '' },
    { LIBMALLOC_REPORT: '/no/such/folder/report' },
    { LIBMALLOC_REPORT: `${tmpdir()}/` },
  ];
  test.each(refused)('refuses %o, naming it and the fix', (env) => {
    const [name = ''] = Object.keys(env);
    let caught: unknown;
    try {
      checkEnvironment(env);
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(Failure);
    expect(caught).toMatchObject({ code: 125, message: expect.stringContaining(name) });
    expect((caught as Failure).hint).toMatch(/\w/);
  });
});
