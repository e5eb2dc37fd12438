import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { limitsOf, type Scene, scenesOf } from '../../scripts/demo/scenes.ts';
import { isSurprise, lines, type Played, prompt, wrap } from '../../scripts/demo/text.ts';
import { type Outcome, outcomeOf, type Verdict, verdictOf } from '../../scripts/demo/verdict.ts';
import type { Malloc } from '../../scripts/malloc/mallocs.ts';
import type { Launched, Proof } from '../../scripts/malloc/preload.ts';
import { programs } from '../../scripts/malloc/programs.ts';
import { type CliResult, play, script } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { everyVariant } from '../lib/variants.ts';

/** Milliseconds for all variants: half a minute, or several on a loaded machine. */
const PATIENCE = 600_000;

const demo = (...args: string[]) =>
  play([...script('demo/index'), ...args], { env: { NO_COLOR: '1' } }, PATIENCE / 1000);

const outcome = (rest: Partial<Outcome> = {}): Outcome => ({
  status: 0,
  signal: undefined,
  timedOut: false,
  seconds: 0.01,
  digest: 'd',
  lines: 9,
  lastLine: 'end',
  errors: '',
  ...rest,
});

describe('the verdict', () => {
  test.each<[Verdict, Partial<Outcome>]>([
    ['same', { seconds: 9 }],
    ['differs', { digest: 'e' }],
    ['differs', { errors: 'a warning' }],
    ['failed', { status: 2 }],
    ['failed', { status: 127, digest: 'e' }],
    ['crashed', { status: 139, signal: 'SIGSEGV' }],
    ['crashed', { status: 134 }],
    ['hung', { status: 124, timedOut: true, signal: 'SIGTERM' }],
  ])('%s: %j', (verdict, ours) => {
    expect(verdictOf(outcome(), outcome(ours))).toBe(verdict);
  });

  test('a run is kept as its digest, its lines and its last line', () => {
    const run = (text: string) =>
      outcomeOf({
        status: 0,
        stdout: Buffer.from(text),
        stderr: Buffer.from('e'),
        timedOut: false,
        seconds: 1,
        proofs: [],
        unreached: [],
        findings: [],
      } satisfies Launched);
    expect(run('a\nb\n  c \n')).toMatchObject({ lines: 3, lastLine: 'c', errors: 'e' });
    expect(run('')).toMatchObject({ lines: 0, lastLine: '' });
    expect(run('a').digest).not.toBe(run('b').digest);
  });
});

const scene = (rest: Partial<Scene> = {}): Scene => ({
  command: 'ls -l',
  expect: 'same',
  why: {},
  env: {},
  timeout: 1,
  needs: [],
  ...rest,
});
const m: Malloc = { name: 'list', kind: 'variant', file: '/x/libmalloc-list.so' };
const proof: Proof = {
  pid: 1,
  executable: '/bin/ls',
  malloc: m.file as string,
  calloc: '',
  realloc: '',
  free: '',
};
const played = (rest: Partial<Played> = {}): Played => ({
  scene: scene(),
  system: outcome(),
  ours: outcome(),
  verdict: 'same',
  proofs: [proof],
  doubt: undefined,
  ...rest,
});

describe('a surprise', () => {
  test('is what should have worked and did not', () => {
    expect(isSurprise(played())).toBe(false);
    for (const verdict of ['differs', 'failed', 'crashed', 'hung'] as const)
      expect(isSurprise(played({ verdict }))).toBe(true);
  });

  test('is any run without the proof', () => {
    for (const expect_ of ['same', 'failure', 'anything'] as const) {
      expect(isSurprise(played({ scene: scene({ expect: expect_ }), doubt: 'not in use' }))).toBe(
        true,
      );
    }
  });

  test('is no expected failure, and nothing of the library that may do anything', () => {
    for (const verdict of ['same', 'failed', 'crashed', 'differs'] as const) {
      expect(isSurprise(played({ scene: scene({ expect: 'failure' }), verdict }))).toBe(false);
      expect(isSurprise(played({ scene: scene({ expect: 'anything' }), verdict }))).toBe(false);
    }
  });
});

describe('a scene reads', () => {
  test('as it would be typed', () => {
    expect(prompt(scene({ env: { A: '1', B: '2' } }))).toContain('A=1 B=2 ls -l');
  });

  test('with the proof, the time and, for a short output, its last line', () => {
    const text = lines(m, played({ ours: outcome({ lines: 1 }) })).join('\n');
    expect(text).toContain('same: 1 line, status 0 · 0.01 s (system 0.01 s)');
    expect(text).toContain('libmalloc-list.so in 1 process: ls');
    expect(text).toContain('→ end');
  });

  test('with the complaint and the reason when it failed', () => {
    const why = { failed: 'Because.' };
    const ours = outcome({ status: 2, lines: 4, errors: 'out of memory\nmore\n' });
    const text = lines(
      m,
      played({ scene: scene({ expect: 'failure', why }), ours, verdict: 'failed' }),
    ).join('\n');
    expect(text).toMatch(
      /failed: status 2 instead of 0, 4 of 9 lines .*\n.*\n.*→ out of memory\n.*Because\./,
    );
    expect(text).not.toContain('more');
  });

  test('with the signal, also behind a shell', () => {
    const text = (ours: Partial<Outcome>) =>
      lines(m, played({ ours: outcome(ours), verdict: 'crashed' }))[0];
    expect(text({ status: 139, signal: 'SIGSEGV' })).toContain('SIGSEGV');
    expect(text({ status: 134 })).toContain('SIGABRT');
  });

  test('in lines that fit', () => {
    expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
    expect(wrap('unbreakable', 3)).toEqual(['unbreakable']);
  });
});

describe('the plan', () => {
  test.each([...everyVariant, 'sharded'])(
    '%s shows ls, grep over a tree, a pipe with sort, python3 and gcc',
    (variant) => {
      const commands = scenesOf(variant).map(({ command }) => command);
      for (const wanted of [/^ls -l /, /^grep -R "" /, /\| sort/, /python3 -c/, /^gcc /]) {
        expect(
          commands.filter((command) => wanted.test(command)),
          String(wanted),
        ).not.toEqual([]);
      }
    },
  );

  test('expects everything of a variant beyond list', () => {
    expect(scenesOf('sharded').every(({ expect: wanted }) => wanted === 'same')).toBe(true);
    expect(limitsOf('sharded')).toBeUndefined();
  });

  test("keeps dumb within 2 GiB and 20 seconds, and shows the article's library", () => {
    expect(limitsOf('dumb')).toMatchObject({ addressSpace: 2 * 2 ** 30, cpu: 20 });
    expect(scenesOf('dumb').every(({ timeout }) => timeout <= 20)).toBe(true);
    const article = scenesOf('dumb').filter(
      ({ env }) => env.LIBMALLOC_BLOCK === '1024' && env.LIBMALLOC_OVERRUN === '1',
    );
    expect(article.map(({ command }) => command.split(' ')[0])).toEqual(
      expect.arrayContaining(['ls', 'grep']),
    );
  });

  test('needs only programs that tests/programs.json lists', () => {
    const known = Object.keys(programs());
    for (const variant of [...everyVariant, 'sharded']) {
      for (const { needs } of scenesOf(variant))
        expect(known).toEqual(expect.arrayContaining(needs));
    }
  });
});

describe('the demonstration', () => {
  // All variants in one run, like `make run`: commands that they share run on the system's malloc once.
  let whole: CliResult;
  beforeAll(async () => {
    whole = await demo(...everyVariant);
  }, PATIENCE);

  /** The part of the output about one variant. */
  function part(variant: string): string[] {
    const text = whole.stdout.split('\n');
    const begins = everyVariant.map((name) => text.findIndex((l) => l.startsWith(`${name}: `)));
    const at = begins[everyVariant.indexOf(variant)] ?? -1;
    expect(at, whole.stdout).toBeGreaterThan(0);
    return text.slice(
      at,
      [...begins, text.length].find((next) => next > at),
    );
  }

  test.each(everyVariant)('of %s shows every scene, proven', (variant) => {
    const shown = scenesOf(variant);
    for (const { needs } of shown) needs.forEach(need);
    const said = part(variant);
    expect(said.filter((line) => line.startsWith('  $ '))).toHaveLength(shown.length);
    const proof = new RegExp(`libmalloc-${variant}\\.so in \\d+ process`);
    expect(said.filter((line) => proof.test(line))).toHaveLength(shown.length);
  });

  test('succeeds, in lines that fit', () => {
    const { status, stdout, stderr } = whole;
    expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('Nothing failed that should have worked.');
    for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(120);
  });

  describe('of a malloc that gives wrong memory', () => {
    const folder = testFolder();

    test('fails, and says what failed', async () => {
      const source = join(folder, 'none.c');
      writeFileSync(
        source,
        `#include <errno.h>
        #include <stddef.h>
        void *malloc(size_t n) { (void)n; errno = ENOMEM; return NULL; }
        void *calloc(size_t n, size_t m) { (void)n, (void)m; errno = ENOMEM; return NULL; }
        void *realloc(void *p, size_t n) { (void)p, (void)n; errno = ENOMEM; return NULL; }
        void free(void *p) { (void)p; }`,
      );
      const { status, stdout } = await demo(
        `none=${compileProgram(source, { flags: ['-shared', '-fPIC'] })}`,
      );
      expect(status).toBe(1);
      expect(stdout).toMatch(
        /\d failed that should have worked:\n {2}ls -l \/usr\/bin: (failed|crashed)/,
      );
    });
  });

  test('of an unknown variant is refused', async () => {
    expect(await demo('nosuch')).toMatchObject({
      status: 125,
      stderr: expect.stringContaining('unknown malloc: nosuch'),
    });
  });

  test('without a folder for temporary files says so in two lines', async () => {
    const env = { NO_COLOR: '1', TMPDIR: '/nowhere' };
    const { status, stderr } = await play(script('demo/index'), { env }, PATIENCE / 1000);
    expect([status, stderr.trim().split('\n').length]).toEqual([125, 2]);
    expect(stderr).toContain('set TMPDIR to');
  });
});
