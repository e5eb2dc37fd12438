// make install: what it installs works from there, and make uninstall removes all of it.

import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import { documentedSymbols } from '../../scripts/system/files.ts';
import { allVerbs } from '../../scripts/system/verb-help.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const real = `libmalloc.so.${version}`;
const soname = `libmalloc.so.${version.split('.')[0]}`;

const folder = testFolder();
let prefix: string;
const at = (...parts: string[]): string => join(prefix, ...parts);
const read = (...parts: string[]): string => readFileSync(at(...parts), 'utf8');

/** Runs a command outside the checkout, with its own cache of compiled programs. */
async function run(words: string[], env: NodeJS.ProcessEnv = {}) {
  const [file = '', ...args] = words;
  const result = await execa(file, args, {
    cwd: folder,
    // Python in GDB may write what it compiled, and must not.
    env: { XDG_CACHE_HOME: join(folder, 'cache'), PYTHONDONTWRITEBYTECODE: undefined, ...env },
    reject: false,
    all: true,
    timeout: 120_000,
  });
  return { status: result.exitCode, said: result.all ?? '', stdout: String(result.stdout) };
}

async function make(verb: string): Promise<void> {
  const args = ['--no-print-directory', verb, 'PREFIX=/opt/lm', `DESTDIR=${folder}/image`];
  const env = { MAKEFLAGS: undefined, MAKELEVEL: undefined, VARIANT: undefined };
  const made = await execa('make', args, { cwd: root, env, reject: false, all: true });
  expect(made.exitCode, made.all).toBe(0);
}

/** Every file and link below the prefix. */
function installed(): string[] {
  const entries = readdirSync(prefix, { recursive: true, encoding: 'utf8' });
  return entries.filter((file) => !lstatSync(at(file)).isDirectory());
}

beforeAll(async () => {
  chmodSync(folder, 0o755);
  prefix = join(folder, 'image', 'opt', 'lm');
  await make('install');
});

describe('the library', () => {
  test('has its soname, and the links that the linkers look for', async () => {
    expect(lstatSync(at('lib', real)).isFile()).toBe(true);
    expect(readlinkSync(at('lib', soname))).toBe(real);
    expect(readlinkSync(at('lib', 'libmalloc.so'))).toBe(soname);
    const { stdout } = await run([need('readelf'), '-d', at('lib', real)]);
    expect(stdout).toContain(`Library soname: [${soname}]`);
  });

  test.each(['release', 'debug'])(
    'exports exactly what libmalloc(3) documents, in %s',
    async (kind) => {
      const { own, replaced } = documentedSymbols();
      expect(own).toContain('libmalloc_walk');
      expect(replaced).toContain('malloc');
      const page = read('share', 'man', 'man3', 'libmalloc.3');
      for (const name of [...own, ...replaced]) expect(page, name).toContain(name);
      for (const name of variants()) {
        const file = at('lib', 'libmalloc', 'build', kind, `libmalloc-${name}.so`);
        const { stdout } = await run([need('nm'), '-D', '--defined-only', '--extern-only', file]);
        const exported = stdout.split('\n').map((line) => line.split(' ').at(-1));
        // libmalloc(3) says that debug builds also define the operators new and delete, and dlclose.
        const beyond = kind === 'debug' ? /^_Z(n|d)[awl]|^dlclose$/ : /^$/;
        const plain = exported.filter((each) => !beyond.test(each ?? ''));
        expect(plain.sort(), name).toEqual([...own, ...replaced].sort());
      }
    },
  );

  const program = `#include <libmalloc.h>
    #include <stdio.h>
    int main(void) { return puts(libmalloc_version()) < 0; }\n`;

  test('links with a program by the flags of pkg-config', async () => {
    writeFileSync(join(folder, 'a.c'), program);
    const env = { PKG_CONFIG_PATH: at('lib', 'pkgconfig') };
    const ask = [need('pkg-config'), '--define-prefix', '--cflags', '--libs', 'libmalloc'];
    const { stdout } = await run(ask, env);
    const flags = stdout.trim().split(' ');
    expect(flags).toContain('-lmalloc');
    const built = await run([need('gcc'), 'a.c', '-o', 'a', ...flags]);
    expect(built.status, built.said).toBe(0);
    const { stdout: said } = await run(['./a'], { LD_LIBRARY_PATH: at('lib') });
    expect(said).toBe(`libmalloc ${version} (sharded)`);
  });

  test('is found by pkg-config where the prefix has a blank', async () => {
    const blank = join(folder, 'a prefix');
    symlinkSync(prefix, blank);
    const file = read('lib', 'pkgconfig', 'libmalloc.pc').replace(/^prefix=.*/, `prefix=${blank}`);
    mkdirSync(join(folder, 'pkgconfig'));
    writeFileSync(join(folder, 'pkgconfig', 'libmalloc.pc'), file);
    writeFileSync(join(folder, 'blank.c'), program);
    const script = `eval "set -- $(${need('pkg-config')} --cflags --libs libmalloc)"
      ${need('gcc')} blank.c -o blank "$@"`;
    const env = { PKG_CONFIG_PATH: join(folder, 'pkgconfig') };
    const built = await run(['sh', '-c', script], env);
    expect(built.status, built.said).toBe(0);
  });

  test('is a CMake package, which refuses a version that is too new', async () => {
    const source = join(folder, 'cmake');
    mkdirSync(source);
    writeFileSync(join(source, 'a.c'), program);
    const lists = (wanted: string): void =>
      writeFileSync(
        join(source, 'CMakeLists.txt'),
        `cmake_minimum_required(VERSION 3.13)
         project(a C)
         find_package(libmalloc ${wanted} REQUIRED)
         add_executable(a a.c)
         target_link_libraries(a libmalloc::libmalloc)\n`,
      );
    const configure = [need('cmake'), '-S', source, `-DCMAKE_PREFIX_PATH=${prefix}`, '-B'];
    lists('9.0');
    const refused = await run([...configure, 'refused']);
    expect(refused.status).not.toBe(0);
    expect(refused.said).toContain(`version: ${version}`);
    lists(version);
    const configured = await run([...configure, 'built']);
    expect(configured.status, configured.said).toBe(0);
    const built = await run(['cmake', '--build', 'built']);
    expect(built.status, built.said).toBe(0);
    expect((await run(['built/a'])).stdout).toBe(`libmalloc ${version} (sharded)`);
  });
});

describe('the command', () => {
  const command = (): string => at('bin', 'libmalloc');

  test('finds every malloc, and the doctor reports no problem', async () => {
    const { status, stdout, said } = await run([command(), 'doctor', '--json', '-']);
    expect(status, said).toBe(0);
    const { checks } = JSON.parse(stdout);
    const of = (name: string) => checks.find((check: { name: string }) => check.name === name);
    for (const name of variants())
      expect(of(name)).toMatchObject({
        status: 'ok',
        found: at('lib', 'libmalloc', 'build', 'release', `libmalloc-${name}.so`),
      });
  });

  test('debugs with the debug build, its sources and the heap commands', async () => {
    need('gdb');
    const source = 'int main(void) { char *p = malloc(77); return p == 0; }\n';
    writeFileSync(join(folder, 'b.c'), `#include <stdlib.h>\n${source}`);
    await run([need('gcc'), '-g', '-fno-builtin', 'b.c', '-o', 'b']);
    writeFileSync(join(folder, 'commands'), 'frame\nfinish\nheap\n');
    const session = ['--debug', '-m', 'list', '--batch', '--break', 'malloc:n==77'];
    const { said } = await run([command(), 'gdb', ...session, '-x', 'commands', '--', './b']);
    expect(said).toContain('malloc (size=77) at ./native/abi.h');
    expect(said).toMatch(/\d+\s+EXPORT void \*malloc\(size_t size\)/); // GDB found the source
    expect(said).toMatch(/live\s+1\s+\d+/);
    expect(said).toContain('image/opt/lm/lib/libmalloc/build/debug/libmalloc-list.so');
  });

  test('checks the debug build', async () => {
    need('gcc');
    const args = ['check', '--debug', '-m', 'paged', '--quick', '--group', 'semantics'];
    const { status, said } = await run([command(), ...args]);
    expect(status, said).toBe(0);
  });

  test('recognises the library by its versioned name in a running process', async () => {
    need('gdb');
    const child = execa('sleep', ['60'], { env: { LD_PRELOAD: at('lib', soname) }, reject: false });
    try {
      writeFileSync(join(folder, 'look'), 'heap\n');
      const pid = String(child.pid);
      const { said } = await run([command(), 'gdb', '--batch', '--pid', pid, '-x', 'look']);
      expect(said).toMatch(/live\s+\d+\s+\d+/);
      const layout = await run([command(), 'layout', '--pid', pid, '--json', '-']);
      expect(JSON.parse(layout.stdout).malloc).toMatchObject({ name: 'sharded' });
    } finally {
      child.kill('SIGKILL');
      await child;
    }
  });
});

describe('manuals', () => {
  test('cause no warning of mandoc', async () => {
    for (const file of installed().filter((each) => each.startsWith('share/man/'))) {
      const { status, said } = await run([need('mandoc'), '-T', 'lint', '-W', 'warning', at(file)]);
      expect(said, file).toBe('');
      expect(status, file).toBe(0);
    }
  });

  test('include a page for each verb, with every option of its help', async () => {
    for (const verb of await allVerbs()) {
      const page = read('share', 'man', 'man1', `libmalloc-${verb.name}.1`).replaceAll('\\-', '-');
      for (const { flags } of verb.options) expect(page, verb.name).toContain(`\\fB${flags}\\fP`);
      expect(page, verb.name).toContain('.SH EXIT STATUS');
      expect(read('share', 'man', 'man1', 'libmalloc.1')).toContain(`libmalloc\\-${verb.name} (1)`);
    }
  });

  test('include every function of the header, also under its own name', () => {
    for (const name of documentedSymbols().own)
      expect(readlinkSync(at('share', 'man', 'man3', `${name}.3`))).toBe('libmalloc.3');
  });
});

describe('completion', () => {
  const bash = async (...words: string[]): Promise<string[]> => {
    const script = `source ${at('share/bash-completion/completions/libmalloc')}
      COMP_WORDS=(libmalloc ${words.map((word) => `'${word}'`).join(' ')})
      COMP_CWORD=${words.length}; _libmalloc; printf '%s\\n' "\${COMPREPLY[@]}"`;
    return (await run([need('bash'), '-c', script])).said.split('\n');
  };
  const fish = async (line: string): Promise<string[]> => {
    const script = `source ${at('share/fish/vendor_completions.d/libmalloc.fish')}; complete -C '${line}'`;
    const { said } = await run([need('fish'), '--no-config', '-c', script], { HOME: folder });
    return said.split('\n').map((each) => each.split('\t')[0] ?? '');
  };
  /** What zsh inserts for TAB in a pseudo-terminal. */
  const zsh = async (line: string): Promise<string> => {
    const script = `zmodload zsh/zpty
      zpty z ${need('zsh')} -f -i
      zpty -w z "PS1=; fpath=(${at('share/zsh/site-functions')} \\$fpath); autoload -U compinit; compinit -u -D; print READY"
      zpty -r -m z seen '*READY*READY*'
      zpty -w -n z ${`'${line}'`}$'\\t\\C-a print -r -- \\C-e\\n'
      zpty -w z 'print DONE'
      zpty -r -m z seen '*DONE*DONE*'
      print -r -- $seen`;
    return (await run([need('zsh'), '-f', '-c', script], { TERM: 'dumb' })).said;
  };

  test('bash: verbs, options, values, and the program after --', async () => {
    expect(await bash('re')).toEqual(['record', 'replay']);
    expect(await bash('run', '--st')).toEqual(['--stats']);
    expect(await bash('run', '-m', 'pag')).toEqual(['paged']);
    expect(await bash('gdb', '--follow', 'b')).toEqual(['both']);
    expect(await bash('run', '--', 'mkdi')).toContain('mkdir');
  });

  test('fish: verbs, options and values', async () => {
    expect(await fish('libmalloc re')).toEqual(['record', 'replay']);
    expect(await fish('libmalloc run --st')).toEqual(['--stats']);
    expect(await fish('libmalloc run -m pag')).toContain('paged');
  });

  test('zsh: verbs, options and values', async () => {
    expect(await zsh('libmalloc doc')).toContain('libmalloc doctor');
    expect(await zsh('libmalloc run --st')).toContain('libmalloc run --stats');
    expect(await zsh('libmalloc run -m pag')).toContain('libmalloc run -m paged');
  });
});

describe('the installation', () => {
  test('contains nothing that only a build needs, and no path of the checkout', () => {
    const files = installed().filter((file) => !file.includes('node_modules'));
    const left = /(^|\/)\.|\.(ts|d|o|tsbuildinfo)$|compile_commands|__pycache__|prebuilds|\.test\./;
    expect(files.filter((file) => left.test(file) && !file.endsWith('.d.ts'))).toEqual([]);
    const ours = files.filter((file) => !lstatSync(at(file)).isSymbolicLink());
    expect(ours.filter((file) => readFileSync(at(file)).includes(root))).toEqual([]);
  });

  test('is readable for everyone, and only programs are executable', () => {
    const modes = installed()
      .filter((file) => lstatSync(at(file)).isFile())
      .filter((file) => {
        const script = readFileSync(at(file)).toString('latin1', 0, 2) === '#!';
        const program = script || file.endsWith('/libmalloc-replay');
        return (statSync(at(file)).mode & 0o777) !== (program ? 0o755 : 0o644);
      });
    expect(modes).toEqual([]);
  });

  // Must be the last test, because it removes the installation.
  test('is removed by make uninstall, all of it and nothing else', async () => {
    writeFileSync(at('lib', 'other.so'), '');
    await make('uninstall');
    expect(installed()).toEqual(['lib/other.so']);
    expect(existsSync(at('share'))).toBe(false);
  });
});
