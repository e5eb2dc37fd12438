import {
  existsSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prerequisites } from '../../scripts/lib/compile.ts';
import { defaultVariant, variants } from '../../scripts/malloc/mallocs.ts';
import { which } from '../../scripts/malloc/programs.ts';
import { declarations, freeRung, ordered } from '../../scripts/malloc/variants.ts';
import { Checkout } from '../lib/checkout.ts';

const last = defaultVariant();
const libraries = [
  ...[...variants(), 'probe', 'trace', 'layout', 'profile', 'track'].map(
    (name) => `build/release/libmalloc-${name}.so`,
  ),
  'build/release/libmalloc-replay',
];
const library = (name: string): string => `build/release/libmalloc-${name}.so`;

describe('make', () => {
  let here: Checkout;
  beforeAll(async () => {
    here = new Checkout();
    const first = await here.make();
    expect(first.status, first.said).toBe(0);
  });
  afterAll(() => here.remove());

  /** The products that a command wrote again. */
  async function rewritten(command: () => Promise<unknown>): Promise<string[]> {
    const products = [...libraries, 'build/js/cli.js'];
    const before = products.map((file) => (existsSync(here.path(file)) ? here.age(file) : 0));
    await command();
    return products.filter((file, index) => here.age(file) !== before[index]);
  }

  test('builds every variant, the probe and the command, and links the default', () => {
    for (const file of [...libraries, 'build/js/cli.js', 'build/js/ffi/index.d.ts'])
      expect(existsSync(here.path(file)), file).toBe(true);
    expect(readlinkSync(here.path('libmalloc.so'))).toBe(library(last));
  });

  test('does nothing the second time', async () => {
    const written = await rewritten(async () => {
      const second = await here.make();
      expect(second.said).toBe("make: Nothing to be done for 'all'.");
    });
    expect(written).toEqual([]);
  });

  test('compiles only the library whose source was touched', async () => {
    here.touch('native/list.c');
    expect(await rewritten(() => here.make())).toEqual([library('list')]);
    expect((await here.make()).said).toContain('Nothing to be done');
  });

  test('compiles only the libraries that include a touched header', async () => {
    here.touch('native/base/report.h');
    const users = ['probe', ...variants()].filter((name) =>
      readFileSync(here.path(`build/release/.deps/${name}.d`), 'utf8').includes('report.h'),
    );
    const written = await rewritten(() => here.make());
    expect(written.sort()).toEqual(users.map(library).sort());
    expect(users).toContain('probe');
    expect(users).not.toContain('paged');
  });

  test('brings back a library that was removed, and compiles no other', async () => {
    rmSync(here.path(library('dumb')));
    expect(await rewritten(() => here.make())).toEqual([library('dumb')]);
  });

  test('VARIANT links ./libmalloc.so to another, plain make back to the default', async () => {
    await here.make(['VARIANT=list']);
    expect(readlinkSync(here.path('libmalloc.so'))).toBe(library('list'));
    expect((await here.make(['VARIANT=list'])).said).toContain('Nothing to be done');
    await here.make();
    expect(readlinkSync(here.path('libmalloc.so'))).toBe(library(last));
  });

  test('lists the variants when VARIANT is unknown', async () => {
    const { status, said } = await here.make(['VARIANT=lisp']);
    expect(status).toBe(2);
    expect(said).toContain(`no variant is called 'lisp'; there are: ${variants().join(' ')}`);
  });

  test('shows the C compiler’s message, and no stack', async () => {
    const broken = (text: string): string => `${text}\nint broken = no_such_thing;\n`;
    const { status, said } = await here.edited('native/dumb.c', broken, () => here.make());
    expect(status).toBe(2);
    expect(said).toContain('libmalloc: native/dumb.c does not compile');
    expect(said).toMatch(/native\/dumb\.c:\d+:\d+: error: .*no_such_thing/);
    expect(said).not.toMatch(/^\s+at /m);
  });

  test('treats a warning as an error', async () => {
    const sloppy = (text: string): string => `${text}\nstatic int sloppy(long n) { return n; }\n`;
    const { status, said } = await here.edited('native/dumb.c', sloppy, () => here.make());
    expect(status).toBe(2);
    expect(said).toContain('[-Werror=conversion]');
    expect((await here.make()).status).toBe(0);
  });

  test('shows the TypeScript compiler’s message, and compiles only the scripts again', async () => {
    const broken = (text: string): string => `${text}\nexport const n: number = 'one';\n`;
    const { status, said } = await here.edited('scripts/run/index.ts', broken, () => here.make());
    expect(status).toBe(2);
    expect(said).toMatch(/scripts\/run\/index\.ts\(\d+,\d+\): error TS2322/);
    const mended = await rewritten(async () => expect((await here.make()).status).toBe(0));
    expect(mended).toEqual(['build/js/cli.js']);
  });

  /** With a copy of dumb.c that declares itself so. */
  async function withExtra(declared: string, check: () => Promise<unknown>): Promise<void> {
    const source = readFileSync(here.path('native/dumb.c'), 'utf8');
    const copy = source.replace('LIBMALLOC_VARIANT(1, dumb)', `LIBMALLOC_VARIANT(${declared})`);
    writeFileSync(here.path('native/extra.c'), copy);
    try {
      await check();
    } finally {
      rmSync(here.path('native/extra.c'));
      rmSync(here.path(library('extra')), { force: true });
      await here.make();
    }
  }

  test('builds a new C file that declares itself a variant; the default stays', () =>
    withExtra('2.7, extra', async () => {
      expect((await here.make()).status).toBe(0);
      expect(readlinkSync(here.path('libmalloc.so'))).toBe(library(last));
      const run = ['build/js/cli.js', 'run', '-m', 'extra', '--', '/bin/true'];
      const { said } = await here.run(process.execPath, run);
      expect(said).toContain('extra in 1 process');
      await here.make(['VARIANT=extra']);
      expect(readlinkSync(here.path('libmalloc.so'))).toBe(library('extra'));
    }));

  test('refuses a copy that kept its name, and says what to change', () =>
    withExtra('1, dumb', async () => {
      const { status, said } = await here.make();
      expect(status).toBe(2);
      expect(said).toContain('libmalloc: native/extra.c calls itself dumb\n');
      expect(said).toContain('a rung that is free: LIBMALLOC_VARIANT(3.5, extra)');
    }));

  test('refuses one that would become the default, and says how to make it so', () =>
    withExtra('99, extra', async () => {
      const { status, said } = await here.make();
      expect(status).toBe(2);
      expect(said).toContain('native/extra.c is on rung 99, above sharded (4), the default\n');
      expect(said).toContain('LIBMALLOC_VARIANT(3.5, extra)');
      const chosen = (text: string): string =>
        text.replace('"variant": "sharded"', '"variant": "extra"');
      await here.edited('package.json', chosen, async () => {
        expect((await here.make()).status).toBe(0);
        expect(readlinkSync(here.path('libmalloc.so'))).toBe(library('extra'));
      });
    }));

  test('debug builds the same with asserts under build/debug, and does nothing the second time', async () => {
    expect((await here.make(['debug'])).status).toBe(0);
    for (const name of variants())
      expect(existsSync(here.path(`build/debug/libmalloc-${name}.so`)), name).toBe(true);
    expect(readlinkSync(here.path('build/debug/libmalloc.so'))).toBe(`libmalloc-${last}.so`);
    expect((await here.make(['debug'])).said).toBe("make: Nothing to be done for 'debug'.");
    const asserts = (file: string): boolean =>
      readFileSync(here.path(file)).includes('__assert_fail');
    expect(asserts(`build/debug/libmalloc-${last}.so`)).toBe(true);
    expect(asserts(library(last))).toBe(false);
  });

  test('tells editors how each file is compiled', () => {
    const list = JSON.parse(readFileSync(here.path('build/compile_commands.json'), 'utf8'));
    const release = libraries.map((file) => here.path(file));
    const outputs = list.map(({ output }: { output: string }) => output);
    expect(outputs).toEqual(expect.arrayContaining(release));
    for (const { file, arguments: words } of list) {
      expect(existsSync(file), file).toBe(true);
      expect(words).toContain('-std=gnu17');
    }
  });

  test('help lists every target', async () => {
    const { said } = await here.make(['help']);
    const more = 'install uninstall prebuilds deb'.split(' ');
    const verbs = 'debug run test test-long gdb bench docs deps clean help'.split(' ').concat(more);
    for (const verb of verbs) expect(said).toMatch(new RegExp(`^make ${verb}\\b`, 'm'));
  });

  test('run CMD= runs one command on VARIANT', async () => {
    const { status, said } = await here.make(['run', 'VARIANT=list', "CMD=/bin/echo 'a  b'"]);
    expect(status, said).toBe(0);
    expect(said).toContain('a  b\n');
    expect(said).toContain('list in 1 process (echo)');
  });

  test('install makes a command that works from anywhere', async () => {
    const made = await here.make(['install', 'PREFIX=/opt', `DESTDIR=${here.path('image')}`]);
    expect(made.status, made.said).toBe(0);
    const command = here.path('image/opt/bin/libmalloc');
    const { status, said } = await here.run(command, ['run', '-m', 'list', '--', '/bin/true']);
    expect(status, said).toBe(0);
    expect(said).toContain('image/opt/lib/libmalloc/build/release/libmalloc-list.so');
    expect(existsSync(here.path('image/opt/lib/libmalloc.so'))).toBe(true);
    expect(existsSync(here.path('image/opt/include/libmalloc.h'))).toBe(true);
  });

  test('installs the node modules when the lockfile has other versions, and only then', async () => {
    const folder = here.path('path-npm');
    mkdirSync(folder);
    const script = `#!/bin/sh\necho "npm was asked to $*" >&2\n`;
    writeFileSync(`${folder}/npm`, script, { mode: 0o755 });
    const env = { PATH: `${folder}:${process.env.PATH}` };
    here.touch('package-lock.json');
    expect((await here.make([], env)).said).not.toContain('npm was asked');
    // Not edited in place: the modules of the real checkout are linked here, the lockfile is not.
    const newer = (text: string): string =>
      text.replace('"version": "9.6.1"', '"version": "9.6.2"');
    const { said } = await here.edited('package-lock.json', newer, () => here.make([], env));
    expect(said).toContain('npm was asked to ci --ignore-scripts');
  });

  describe('says in one line what to install', () => {
    const tools = 'sh bash make sed sort cut find readlink grep echo touch node npm cc as ld'.split(
      ' ',
    );

    /** A PATH with all that make needs but one tool, or with a tool of the test's own making. */
    function pathWith(tool: string, script?: string): string {
      const folder = here.path(`path-${tool}-${script === undefined ? 'none' : 'own'}`);
      mkdirSync(folder);
      for (const name of tools.filter((each) => each !== tool))
        symlinkSync(which(name) ?? name, `${folder}/${name}`);
      if (script !== undefined)
        writeFileSync(`${folder}/${tool}`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
      return folder;
    }

    test('when there is no compiler', async () => {
      here.touch('native/dumb.c');
      const { status, said } = await here.make([], { PATH: pathWith('cc') });
      expect(status).toBe(2);
      expect(said.split('\n')[0]).toBe(
        'libmalloc: cc is missing; install it: apt-get install gcc libc6-dev',
      );
    });

    test('when there is no Node', async () => {
      const { status, said } = await here.make(['run'], { PATH: pathWith('node') });
      expect(status).toBe(2);
      expect(said.split('\n')[0]).toMatch(/Node 20\.19 or newer is needed, found none; install it/);
    });

    test('when Node is too old', async () => {
      const old = pathWith('node', 'case $1 in --version) echo v18.20.4;; *) exit 1;; esac');
      const { status, said } = await here.make(['run'], { PATH: old });
      expect(status).toBe(2);
      expect(said.split('\n')[0]).toMatch(/Node 20\.19 or newer is needed, found v18\.20\.4;/);
    });

    test('when there is no gdb', async () => {
      await here.make(['all', 'debug']);
      const { status, said } = await here.make(['gdb'], { PATH: pathWith('gdb') });
      expect(status).toBe(2);
      expect(said).toContain('libmalloc: gdb is missing; install it: apt-get install gdb');
    });
  });

  // This test is late, because tests after it have to compile everything again.
  test('compiles everything again when the flags change', async () => {
    // To -O0, which compiles fastest.
    const others = (text: string): string => text.replace('"-O2"', '"-O0"');
    const written = await here.edited('native/flags.json', others, () =>
      rewritten(() => here.make()),
    );
    expect(written).toEqual(libraries);
  });

  test('clean removes all that was built', async () => {
    expect((await here.make(['clean'])).status).toBe(0);
    expect(existsSync(here.path('build'))).toBe(false);
    expect(existsSync(here.path('libmalloc.so'))).toBe(false);
    expect(existsSync(here.path('node_modules'))).toBe(true);
  });
});

describe('reading what to build', () => {
  const read = (...rungs: [name: string, rung: string][]) =>
    rungs.flatMap(([name, rung]) =>
      declarations(`${name}.c`, `/* x */\nLIBMALLOC_VARIANT(${rung}, ${name});\n`),
    );

  test('variants are in the order of their rungs, whatever the order of the files', () => {
    const all = read(['ten', '10'], ['two', '2'], ['between', '2.5']);
    expect(ordered(all, 'ten')).toEqual(['two', 'between', 'ten']);
    expect(declarations('heap.h', '#define LIBMALLOC_VARIANT(rung, name) x')).toEqual([]);
  });

  test('two on one rung are refused, and the hint is a rung that is free', () => {
    const all = read(['a', '1'], ['b', '1'], ['c', '1.5'], ['d', '2']);
    expect(() => ordered(all, 'd')).toThrow('native/a.c and native/b.c are both on rung 1');
    expect(freeRung(all, 'd')).toBe(1.75);
  });

  test('a rule of several lines names every file', () => {
    expect(prerequisites('a.so: /x/a.c \\\n /x/b.h \\\n /x/c.h\n')).toEqual([
      '/x/a.c',
      '/x/b.h',
      '/x/c.h',
    ]);
  });
});
