/** The conformance kit itself: each deliberately broken malloc fails the case that it is made for. */
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { isFatal, levelFor, type Subject, type Verdict } from '../../scripts/check/case.ts';
import { choose } from '../../scripts/check/groups.ts';
import { junit } from '../../scripts/check/junit.ts';
import { shrink } from '../../scripts/check/shrink.ts';
import { standInFor } from '../../scripts/check/survey.ts';
import { root } from '../../scripts/lib/paths.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { descendants } from '../../scripts/process/family.ts';
import { cli, libmalloc, play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { need, skip } from '../lib/need.ts';

const folder = join(root, 'tests', 'broken');
const library = ['-O2', '-fPIC', '-shared', '-fvisibility=hidden', '-ftls-model=initial-exec'];

const build = (name: string): string =>
  compileProgram(join('broken', `${name}.c`), { flags: [...library, '-Wl,-Bsymbolic'] });

/** The factor for timeouts on the malloc that hangs: a minute would show no more. */
const IMPATIENT = 0.05;

/** Each file begins with the case that it fails: calloc-dirty.c with semantics/calloc. */
const broken = readdirSync(folder)
  .filter((file) => file.endsWith('.c') && file !== 'honest.c')
  .map((file) => {
    const [, wanted = '', sentence = ''] =
      /^\/\* ([\w-]+\/[\w-]+): (.*) \*\/$/m.exec(readFileSync(join(folder, file), 'utf8')) ?? [];
    return { name: file.replace(/\.c$/, ''), wanted, sentence };
  });

const subjectOf = (name: string): Subject => ({
  malloc: resolveMalloc(`${name}=${build(name)}`),
  slow: false,
});

async function judge(name: string, wanted: string): Promise<Verdict> {
  const [only, ...others] = choose([wanted], { seed: 1, seconds: 2 });
  if (only === undefined || others.length > 0) throw new Error(`${wanted} is not one case`);
  const subject = subjectOf(name);
  const verdict = await only.run(subject, name === 'hangs' ? IMPATIENT : 1);
  const level = levelFor(only, subject) ?? 'should';
  if (verdict.state === 'failed')
    expect(isFatal({ case: only, level, verdict })).toBe(only.level !== 'should');
  return verdict;
}

const asRoot = process.getuid?.() === 0;
const here = broken.filter(({ wanted }) => asRoot || wanted !== 'exhaustion/locked');

describe('a broken malloc fails', () => {
  test('in exhaustion/locked, too', () => {
    if (!asRoot) skip('only root may lock memory without a limit');
    expect(here).toEqual(broken);
  });

  test('there are more than fifteen, each with a case and a sentence of its own', () => {
    expect(broken.length).toBeGreaterThan(15);
    expect(broken.filter(({ wanted, sentence }) => wanted === '' || sentence === '')).toEqual([]);
  });

  test.concurrent.each(here)('$wanted: $sentence', async ({ name, wanted }) => {
    const { state, because, failure } = await judge(name, wanted);
    expect(state).toBe('failed');
    expect(because).toMatch(/\w/);
    expect(failure?.reproduce).toContain('LD_PRELOAD=');
    expect(failure?.debug).toMatch(/libmalloc gdb -m \S+ -- \S+/);
  });

  test.each([...new Set(here.map(({ wanted }) => wanted))])(
    '%s because of the defect: without it the same malloc passes',
    async (wanted) => {
      const { state, because } = await judge('honest', wanted);
      expect([state, because]).toEqual([
        'passed',
        wanted.startsWith('random') ? because : undefined,
      ]);
    },
  );
});

describe('libmalloc check', () => {
  test('says what is wrong and how to reproduce it, and ends with 1', async () => {
    const out = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
    const [json, xml] = [join(out, 'a.json'), join(out, 'a.xml')];
    const group = ['--group', 'semantics/calloc', '--group', 'semantics/quiet'];
    const files = ['--json', json, '--junit', xml];
    const result = await libmalloc(['check', ...group, ...files, build('calloc-dirty')]);
    expect(result.status).toBe(1);
    expect(result.stdout).toMatch(/semantics\/calloc \(must\): byte 0 of 1 at 0x\w+ is not zero/);
    expect(result.stdout.trim().split('\n').at(-1)).toMatch(/failed 1, 1 of 2 cases passed$/);
    const report = JSON.parse(readFileSync(json, 'utf8'));
    expect(report.schema).toBe('libmalloc/check/1');
    expect(report.mallocs[0].cases.map(({ state }: Verdict) => state)).toEqual([
      'failed',
      'passed',
    ]);
    expect(readFileSync(xml, 'utf8')).toContain('tests="2" failures="1"');
    const again = /^ {2}again {6}(.*)$/m.exec(result.stdout)?.[1] ?? 'false';
    const seen = await play([
      'sh',
      '-c',
      again.replace(' -o case ', ` -o ${out}/case `).replace('./case', `${out}/case`),
    ]);
    expect(seen.stderr).toContain('is not zero');
    rmSync(out, { recursive: true });
  });

  test('reproduces by a link what a malloc does whose path LD_PRELOAD would split', async () => {
    const out = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
    const file = join(out, 'my malloc:1.so');
    copyFileSync(build('calloc-dirty'), file);
    const { stdout } = await libmalloc(['check', '--group', 'semantics/calloc', file]);
    const again = /^ {2}again {6}(.*)$/m.exec(stdout)?.[1] ?? 'false';
    const [compile = 'false', ...rest] = again
      .replace(' -o case ', ` -o ${out}/case `)
      .split(' && ');
    const seen = await play(['sh', '-c', [compile, `cd ${out}`, ...rest].join(' && ')]);
    expect(seen.stderr).toContain('is not zero');
    rmSync(out, { recursive: true });
  });

  test('says that a malloc hangs, in which case, and ends with 1', async () => {
    const words = ['check', '--patience', String(IMPATIENT), '--group', 'semantics/aligned'];
    const result = await libmalloc([...words, build('hangs')]);
    expect(result.status).toBe(1);
    expect(result.stdout).toContain('semantics/aligned (must): hung in aligned_alloc (in ');
    expect(result.stdout).toMatch(/look {7}\S.*libmalloc gdb -m \S+ -- \S+semantics-aligned/);
    expect(result.stdout.trim().split('\n').at(-1)).toMatch(/failed 1, 0 of 1 cases passed$/);
  });

  test.each([
    ['crashes', 'ENDS=0', 'it was ended by SIGABRT'],
    ['hangs', 'HANGS', 'it did not end within 2 s'],
  ])(
    'says that nothing runs on a malloc on which an empty script %s, and goes on to the next malloc',
    async (_how, macro, because) => {
      const out = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
      const json = join(out, 'a.json');
      const dead = compileProgram('overlap.c', { flags: ['-shared', '-fPIC', `-D${macro}`] });
      const words = ['check', '--patience', '0.1', '--group', 'semantics/zero', '--json', json];
      const result = await libmalloc([...words, `dead=${dead}`, '-m', 'glibc']);
      expect(result.status).toBe(1);
      expect(result.stdout).toContain(
        `process/alive (must): not even \`sh -c :\` runs on dead: ${because}`,
      );
      expect(result.stdout).toMatch(/look {7}\S.*libmalloc gdb -m \S+ -- \/bin\/sh -c :/);
      expect(result.stdout).toMatch(/dead: failed 1, 0 of 1 cases passed$/m);
      expect(result.stdout).toMatch(/glibc: passed, /);
      const { mallocs } = JSON.parse(readFileSync(json, 'utf8'));
      expect(mallocs.map(({ passed }: { passed: boolean }) => passed)).toEqual([false, true]);
      rmSync(out, { recursive: true });
    },
  );

  test('ends with 0 for a malloc that passes', async () => {
    const result = await libmalloc(['check', '-m', 'glibc', '--group', 'semantics/calloc']);
    expect([result.status, result.stdout]).toEqual([0, expect.stringContaining('glibc: passed')]);
  });

  test.each([
    ['no patience', ['--patience', '0'], 125, 'give a number above 0'],
    ['an unknown group', ['--group', 'nonsense'], 125, 'no such group'],
    ['an unknown case', ['--group', 'threads/nonsense'], 125, 'no such group of cases'],
    ['a library that is not there', ['./no-such.so'], 125, 'no such library'],
  ])('refuses %s', async (_what, args, status, said) => {
    const result = await libmalloc(['check', ...args]);
    expect([result.status, result.stderr]).toEqual([status, expect.stringContaining(said)]);
  });
});

describe('a first malloc', () => {
  /** Runs `check` on first-malloc.c with these defects; returns its output and the cases. */
  async function judged(...macros: string[]) {
    const out = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
    const json = join(out, 'a.json');
    const flags = ['-O1', '-fPIC', '-shared', ...macros.map((macro) => `-D${macro}`)];
    const file = compileProgram('first-malloc.c', { flags });
    const groups = ['basics', 'semantics', 'threads'].flatMap((name) => ['--group', name]);
    const words = ['check', '--quick', ...groups, '--json', json, `first=${file}`];
    const { stdout } = await libmalloc(words);
    const { mallocs } = JSON.parse(readFileSync(json, 'utf8'));
    rmSync(out, { recursive: true });
    const cases: (Verdict & { name: string; group: string; level: string })[] = mallocs[0].cases;
    const fatal = cases.filter(({ state, level }) => state === 'failed' && level === 'must');
    return { stdout, cases, fatal: fatal.map(({ group, name }) => `${group}/${name}`) };
  }

  const causes = (stdout: string): string[] => stdout.match(/^\d\. .*$/gm) ?? [];

  test('without a defect fails no must, nor does one that returns NULL for malloc(0)', async () => {
    const [whole, zero] = [await judged(), await judged('ZERO_IS_NULL')];
    expect([whole.fatal, zero.fatal]).toEqual([[], []]);
    expect(whole.stdout).not.toContain('First mend');
  });

  test('that aligns to 8 bytes gets this as the first cause, and other cases accept it', async () => {
    const { stdout, cases, fatal } = await judged('HEADER=8');
    expect(stdout).toMatch(
      /^First mend this:\n\n1\. malloc\(\d+\) gives a block that is aligned to 8 bytes/,
    );
    expect(stdout).toMatch(/\n {2}why .*\n.*\n {2}standard {3}C23 /);
    expect(fatal).toEqual(['basics/alignment']);
    expect(cases.find(({ name }) => name === 'alignment')?.state).toBe('failed');
    expect(cases.find(({ cause }) => cause === 'basics/alignment')?.name).toBe('alignment');
    expect(cases.find(({ name }) => name === 'private')?.state).toBe('passed');
  });

  test('without calloc is judged in all else, with a stand-in calloc of ours', async () => {
    const { stdout, cases, fatal } = await judged('NO_CALLOC');
    expect(causes(stdout)[0]).toContain('it has no calloc of its own (basics/functions, must)');
    expect(fatal).toEqual(['basics/functions']);
    expect(cases.filter(({ cause }) => cause).map(({ name }) => name)).toEqual([
      'calloc',
      'calloc',
    ]);
    expect(stdout).toMatch(/^absent, .*: calloc, aligned_alloc, /m);
  });

  test.each([
    ['with', 'passed'],
    ['without', 'failed'],
  ])('without calloc runs real programs %s a calloc of ours: %s', async (how, wanted) => {
    need('ls');
    const flags = ['-O1', '-fPIC', '-shared', '-DNO_CALLOC'];
    const malloc = resolveMalloc(`first=${compileProgram('first-malloc.c', { flags })}`);
    const standIn = standInFor({ none: false, absent: ['calloc'] });
    const subject = { malloc, slow: false, ...(how === 'with' && standIn && { standIn }) };
    const verdicts = await Promise.all(choose(['programs/ls']).map((each) => each.run(subject, 1)));
    expect(verdicts.map(({ state, because }) => [state, because])).toEqual([
      [wanted, wanted === 'failed' ? expect.stringMatching(/./) : undefined],
    ]);
  });

  test('without a lock gets one cause, and no case with threads runs', async () => {
    const { stdout, cases, fatal } = await judged('NO_LOCK');
    expect(causes(stdout).at(-1)).toMatch(/\(basics\/threads, must\)$/);
    expect(fatal).toEqual(['basics/threads']);
    const threads = cases.filter(({ group }) => group === 'threads');
    expect([...new Set(threads.map(({ cause }) => cause))]).toEqual(['basics/threads']);
  });

  test('whose free never ends hears that once, and nothing else is run', async () => {
    const { stdout } = await libmalloc(['check', '--quick', '--json', '-', build('stuck')]);
    const cases: (Verdict & { name: string })[] = JSON.parse(stdout).mallocs[0].cases;
    const [failed, ...others] = cases.filter(({ state }) => state === 'failed');
    expect([failed?.name, failed?.because, others]).toEqual([
      'calls',
      expect.stringMatching(/^not over after 5 s of processor time, then in free \(/),
      [],
    ]);
    const asked = cases.filter(({ cause }) => cause !== 'basics/calls').map(({ name }) => name);
    expect(asked).toEqual(['functions', 'alive', 'calls']);
  });

  test('that exports no malloc gets one sentence, which names what it exports instead', async () => {
    const { stdout, cases } = await judged('OTHER_NAMES');
    expect(cases.map(({ name }) => name)).toEqual(['functions']);
    expect(causes(stdout)).toEqual([
      expect.stringContaining(
        'first exports no malloc, so programs never call it; it has mm_malloc',
      ),
    ]);
  });
});

describe('when it is ended early', () => {
  const readable = (pid: number): string => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    } catch {
      return '';
    }
  };

  /** Starts `check` on a malloc that hangs, and waits until a case hangs. */
  async function hanging(more: string[] = []) {
    const cases = ['--group', 'semantics/quiet', '--group', 'semantics/aligned'];
    const [file, ...words] = cli;
    const args = [...words, 'check', ...cases, ...more, build('hangs')];
    const child = execa(file, args, { reject: false, timeout: 60_000 });
    const hung = (): number | undefined =>
      descendants(child.pid as number).find((pid) => readable(pid).includes('semantics-aligned-'));
    while (hung() === undefined) await sleep(50);
    await sleep(500); // until the other case, which is short, has ended
    return { child, hung: hung() as number };
  }

  const gone = async (pid: number): Promise<boolean> => {
    for (let i = 0; i < 100 && readable(pid) !== ''; i++) await sleep(50);
    return readable(pid) === '';
  };

  test('by a signal, reports the finished cases, in files too, and leaves nothing running', async () => {
    const out = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
    const { child, hung } = await hanging(['--json', join(out, 'a.json')]);
    child.kill('SIGTERM');
    const { signal, stdout, stderr } = await child;
    expect([signal, stderr]).toEqual(['SIGTERM', expect.stringContaining('ended by SIGTERM')]);
    expect(stdout).toMatch(/: unfinished, 1 of 1 cases passed$/);
    const { interrupted, mallocs } = JSON.parse(readFileSync(join(out, 'a.json'), 'utf8'));
    expect([interrupted, mallocs[0].passed]).toEqual(['SIGTERM', null]);
    expect(mallocs[0].cases.map(({ name }: { name: string }) => name)).toEqual(['quiet']);
    expect(await gone(hung)).toBe(true);
    rmSync(out, { recursive: true });
  });

  test('by SIGKILL, leaves nothing running', async () => {
    const { child, hung } = await hanging();
    child.kill('SIGKILL');
    await child;
    expect(await gone(hung)).toBe(true);
  });
});

describe('the progress line', () => {
  const words = ['check', '-m', 'glibc', '--group', 'semantics/calloc'];
  const line = 'glibc: 0 of 1, 0 failed: semantics/calloc';

  /** The successive progress lines on a terminal of that width, and the output that remains. */
  async function shown(columns: number): Promise<{ lines: string[]; rest: string }> {
    const driver = join(root, 'tests', 'programs', 'terminal.py');
    const script = `stty cols ${columns}; exec "$@"`;
    const all = [need('python3'), driver, '[]', 'sh', '-c', script, 'sh', ...cli, ...words];
    const { status, stdout } = await play(all, { env: { NO_COLOR: '1' } });
    expect(status).toBe(0);
    const [before, ...lines] = stdout.split('\r\x1b[K');
    expect(before).toBe('');
    return { lines: lines.slice(0, -1), rest: lines.at(-1) ?? '' };
  }

  test.each([40, 80, 200])(
    'never wraps at %i columns, and is erased at the end',
    async (columns) => {
      const { lines, rest } = await shown(columns);
      expect(lines).toContain(line.length < columns ? line : `${line.slice(0, columns - 2)}…`);
      expect(Math.max(...lines.map(({ length }) => length))).toBeLessThan(columns);
      expect(rest).toMatch(/^group .*passed/);
    },
  );

  test('is not written without a terminal', async () => {
    const { status, stdout, stderr } = await libmalloc(words);
    expect([status, stderr]).toEqual([0, '']);
    expect(stdout).not.toContain(line);
  });
});

test('a real program that prints more than on glibc fails, and its command reproduces that', async () => {
  const { state, because, failure } = await judge('chatty', 'programs/ls');
  expect([state, because]).toEqual([
    'failed',
    expect.stringContaining('said on standard error “malloc! / malloc!'),
  ]);
  const seen = await play(['sh', '-c', failure?.reproduce ?? 'false']);
  expect([seen.status, seen.stderr]).toEqual([0, expect.stringContaining('malloc!')]);
});

describe('a random failure', () => {
  test('is shrunk to a few calls, in a C program that fails on its own', async () => {
    const { state, failure } = await judge('realloc-loses', 'random/small');
    expect(state).toBe('failed');
    expect(failure?.sequence?.length).toBeLessThanOrEqual(3);
    expect(failure?.sequence?.some((call) => call.startsWith('realloc'))).toBe(true);
    const seen = await play(['sh', '-c', failure?.reproduce ?? 'true']);
    expect(seen.status).toBe(1);
  });

  test.each(['free-errno', 'misaligned', 'calloc-dirty'])(
    'of %s yields a program that fails in every run',
    async (name) => {
      const { failure } = await judge(name, 'random/mixed');
      expect(failure?.note).toBeUndefined();
      expect(failure?.reproduce).toMatch(/ \S+random-[\w-]+$/);
      for (let i = 0; i < 3; i++) {
        const seen = await play(['sh', '-c', failure?.reproduce ?? 'true']);
        expect([seen.status, seen.stderr]).toEqual([1, expect.stringContaining('not so: ')]);
      }
    },
  );

  test('that no part of the calls reproduces is reported with its seed and a note', async () => {
    const file = compileProgram('fickle.c', { flags: [...library, '-Wl,-Bsymbolic'] });
    const [only] = choose(['random/small'], { seed: 7, seconds: 0 });
    const subject = { malloc: resolveMalloc(`fickle=${file}`), slow: false };
    const verdict = await only?.run(subject, 1);
    expect(verdict?.failure?.note).toMatch(/^no part of these calls fails in a program of its own/);
    expect(verdict?.failure?.reproduce).toMatch(/ play 7 /);
    const seen = await play(['sh', '-c', verdict?.failure?.reproduce ?? 'true']);
    expect([seen.status, seen.stderr]).toEqual([1, expect.stringContaining('is not zero')]);
  });

  test('keeps the calls that are needed, in order', async () => {
    const all = Array.from({ length: 300 }, (_, i) => `call ${i}`);
    const needed = ['call 7', 'call 100', 'call 222'];
    const fails = async (file: string): Promise<boolean> => {
      const lines = readFileSync(file, 'utf8').split('\n');
      return needed.every((call) => lines.includes(call));
    };
    expect(await shrink(all, fails)).toEqual(needed);
    expect(await shrink(all, async () => false)).toBeUndefined();
  });
});

test('JUnit output has no character that XML cannot represent', () => {
  const [each] = choose(['semantics/quiet']);
  if (each === undefined) throw new Error('no such case');
  const verdict: Verdict = { state: 'failed', because: 'a \u0000 <b> & "c"', seconds: 1 };
  const xml = junit([{ malloc: 'm', findings: [{ case: each, level: 'must', verdict }] }]);
  expect(xml).toContain('message="a ? &lt;b&gt; &amp; &quot;c&quot;"');
});
