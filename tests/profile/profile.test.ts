// A profile names callers, live bytes and lifetimes, under any malloc.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Profile as PprofProfile } from 'pprof-format';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findNative } from '../../scripts/lib/native-files.ts';
import { defaultVariant } from '../../scripts/malloc/mallocs.ts';
import { amountOf, type Measure, stacksOf } from '../../scripts/profile/measures.ts';
import { shortName } from '../../scripts/profile/places.ts';
import { type Profile, readProfile } from '../../scripts/trace/profile.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { need } from '../lib/need.ts';

let folder = '';
let program = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'libmalloc-profile-test-'));
  program = compileProgram('profiled.c', { flags: ['-O2'] });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const fresh = (suffix: string): string => join(folder, `${files++}${suffix}`);

interface Ran {
  status: number | undefined;
  profile: Profile;
  said: Record<string, { bytes: number; blocks: number }>;
  stderr: string;
}

/** Profiles the program with `args`; `options` are for libmalloc profile. */
async function run(options: string[], ...args: string[]): Promise<Ran> {
  const json = fresh('.json');
  const words = ['profile', '--json', json, ...options, '--', program, ...args];
  const { status, stdout, stderr } = await libmalloc(words);
  const said = [...stdout.matchAll(/^(\w+) (\d+) (\d+)$/gm)].map(
    ([, name = '', bytes, blocks]) =>
      [name, { bytes: Number(bytes), blocks: Number(blocks) }] as const,
  );
  return { status, profile: readProfile(json), said: Object.fromEntries(said), stderr };
}

/** The bytes that a function of the program allocated itself, in one process or in all. */
function own(profile: Profile, name: string, measure: Measure, pid?: number) {
  const sum = { bytes: 0, blocks: 0, ages: 0 };
  for (const { process, site, frames } of stacksOf(profile)) {
    if (frames[0]?.function !== name || (pid !== undefined && process.pid !== pid)) continue;
    const { bytes, blocks } = amountOf(site, measure);
    sum.bytes += bytes;
    sum.blocks += blocks;
    sum.ages += site.meanAge * site.allocated.blocks;
  }
  return sum;
}

const exactly = (bytes: number, blocks: number) => expect.objectContaining({ bytes, blocks });
const nothing = exactly(0, 0);

describe.each(['glibc', defaultVariant(), 'list'])('with --all, on %s', (m) => {
  let ran: Ran;
  beforeAll(async () => {
    ran = await run(['--all', '-m', m], '1');
  });

  test('every function has the bytes and blocks that it requested', () => {
    expect(ran.status).toBe(0);
    expect(Object.keys(ran.said)).toHaveLength(6);
    for (const [name, { bytes, blocks }] of Object.entries(ran.said))
      expect(own(ran.profile, name, 'all'), name).toEqual(exactly(bytes, blocks));
  });

  test('blocks that were not freed are live at the end', () => {
    expect(own(ran.profile, 'leaks', 'live')).toEqual(exactly(300_000, 300));
    expect(own(ran.profile, 'grows', 'live')).toEqual(exactly(100_000, 1));
    for (const name of ['piles', 'shorts', 'pairs', 'hands_over', 'refused'])
      expect(own(ran.profile, name, 'live'), name).toEqual(nothing);
  });

  test('blocks that were live at the peak are kept', () => {
    expect(own(ran.profile, 'piles', 'peak')).toEqual(exactly(2_000_000, 200));
    expect(own(ran.profile, 'leaks', 'peak')).toEqual(exactly(300_000, 300));
    for (const name of ['shorts', 'pairs', 'grows'])
      expect(own(ran.profile, name, 'peak'), name).toEqual(nothing);
    const [process] = ran.profile.processes;
    expect(process?.peak.bytes).toBe(process?.sites.reduce((sum, { peak }) => sum + peak.bytes, 0));
    expect(process?.peakAt).toBeLessThanOrEqual(process?.seconds ?? 0);
  });

  test('short-lived is what its thread freed before it allocated anything else', () => {
    expect(own(ran.profile, 'shorts', 'short')).toEqual(exactly(500 * 4096, 500));
    expect(own(ran.profile, 'pairs', 'short')).toEqual(exactly(3000, 1));
    for (const name of ['leaks', 'piles', 'grows', 'hands_over'])
      expect(own(ran.profile, name, 'short'), name).toEqual(nothing);
  });

  test('an age is the time from allocation to free, or to the end', () => {
    const [process] = ran.profile.processes;
    const { ages } = own(ran.profile, 'leaks', 'all');
    expect(ages / 300).toBeGreaterThan(own(ran.profile, 'shorts', 'all').ages / 500);
    expect(ages / 300).toBeLessThanOrEqual(process?.seconds ?? 0);
  });

  test('a stack goes through all callers, with their lines', () => {
    const stack = stacksOf(ran.profile).find(({ frames }) => frames[0]?.function === 'leaks');
    expect(stack?.frames[1]?.function).toBe('main');
    const lines = readFileSync('tests/programs/profiled.c', 'utf8').split('\n');
    expect(lines[(stack?.frames[0]?.line ?? 0) - 1]).toContain('malloc(LEAK)');
    expect(lines[(stack?.frames[1]?.line ?? 0) - 1]).toContain('leaks(times)');
  });
});

test('samples give estimates without a bias', async () => {
  const { profile, said } = await run(['--every', '16K', '-m', 'glibc'], '200');
  // 60 and 410 MB are some 3,700 and 25,000 samples: a deviation of 1.7 and 0.7 %.
  for (const [name, share] of [
    ['leaks', 0.1],
    ['shorts', 0.05],
  ] as const)
    for (const unit of ['bytes', 'blocks'] as const) {
      const wanted = said[name]?.[unit] ?? 0;
      expect(Math.abs(own(profile, name, 'all')[unit] / wanted - 1), name).toBeLessThan(share);
    }
  expect(Math.abs(own(profile, 'leaks', 'live').bytes / 60e6 - 1)).toBeLessThan(0.1);
  expect(Math.abs(own(profile, 'shorts', 'short').bytes / 409.6e6 - 1)).toBeLessThan(0.05);
  const samples = profile.processes[0]?.sites.reduce((sum, site) => sum + site.samples, 0) ?? 0;
  const chance = (bytes: number): number => 1 - Math.exp(-bytes / 16384);
  const wanted = 60_000 * chance(1000) + 200 * chance(10_000) + 100_000 * chance(4096);
  expect(Math.abs(samples / wanted - 1)).toBeLessThan(0.05);
});

test.each(['glibc', defaultVariant(), 'list', 'buddy', 'paged'])(
  'the free of every sampled block is noticed, on %s',
  async (m) => {
    const json = fresh('.json');
    const words = ['--every', '256K', '-m', m, '--json', json, '--', compileProgram('kinds.c')];
    const { status, stderr } = await libmalloc(['profile', ...words]);
    expect(status, stderr).toBe(0);
    const profile = readProfile(json);
    for (const name of ['by_malloc', 'by_calloc', 'by_realloc', 'by_alignment']) {
      // 33 MB in 600 blocks, which are some 110 samples; by realloc, 82 MB.
      const { bytes } = own(profile, name, 'all');
      const wanted = name === 'by_realloc' ? 82e6 : 33e6;
      expect(Math.abs(bytes / wanted - 1), name).toBeLessThan(0.4);
      expect(own(profile, name, 'live'), name).toEqual(nothing);
    }
  },
);

describe('live blocks at exit', () => {
  const holdersOf = async (...options: string[]) => {
    const json = fresh('.json');
    const words = ['profile', ...options, '--json', json, '--', compileProgram('held.c')];
    const { status, stderr } = await libmalloc(words);
    expect(status).toBe(0);
    const found = new Map<string, Record<string, number>>();
    for (const { site, frames } of stacksOf(readProfile(json))) {
      const held = [
        ...(site.roots ?? []),
        { root: 'lost', ...(site.lost ?? { bytes: 0, blocks: 0 }) },
      ];
      for (const { root, blocks } of held) {
        const name = frames[0]?.function ?? '';
        found.set(name, {
          ...found.get(name),
          ...(blocks > 0 && { [root.replace(/ \(held-\w+\)/, '')]: blocks }),
        });
      }
    }
    return { found, stderr };
  };

  test.each(['glibc', defaultVariant(), 'list', 'buddy'])(
    'are lost or held by a root, on %s',
    async (m) => {
      const { found, stderr } = await holdersOf('--all', '-m', m);
      expect(found.get('make_list')).toEqual({ list_head: 100 });
      expect(found.get('make_table')).toEqual({ table: 50 });
      // A register or a dead stack frame may still hold the last.
      expect(found.get('lose_blocks')?.lost).toBeGreaterThanOrEqual(39);
      expect(found.get('lose_list')?.lost ?? 0).toBeGreaterThanOrEqual(39);
      expect(found.get('keep_in_thread')).toEqual({ "a thread's stack or variables": 1 });
      expect(found.get('keep_on_stack')).toEqual({ "a thread's stack or variables": 1 });
      expect(stderr).toMatch(/^lost, because nothing points to it any more: /m);
    },
  );

  test('are read from the malloc if only samples are known', async () => {
    const { found } = await holdersOf('--roots', '--every', '50', '-m', defaultVariant());
    expect(Object.keys(found.get('make_list') ?? {})).toEqual(['list_head']);
    expect(found.get('lose_blocks')?.lost).toBeGreaterThanOrEqual(39);
    expect(Object.keys(found.get('lose_list') ?? {})).toContain('lost');
  });
});

describe('processes', () => {
  test('a forked child counts for itself, and _exit loses nothing', async () => {
    const { profile } = await run(['--all'], '2', 'fork');
    const [parent, child] = profile.processes;
    expect(profile.processes).toHaveLength(2);
    expect(child?.parentPid).toBe(parent?.pid);
    expect(own(profile, 'inherits', 'live', child?.pid)).toEqual(exactly(28_000, 14));
    expect(own(profile, 'leaks', 'live', child?.pid)).toEqual(nothing);
    expect(own(profile, 'leaks', 'live', parent?.pid)).toEqual(exactly(600_000, 600));
  });

  test('a kill loses nothing, and its signal is the status', async () => {
    const { status, profile } = await run(['--all'], '1', 'kill');
    expect(status).toBe(128 + 9);
    expect(own(profile, 'leaks', 'live')).toEqual(exactly(300_000, 300));
  });

  test('children that exec are profiled, too', async () => {
    const json = fresh('.json');
    await libmalloc([
      'profile',
      '--all',
      '--json',
      json,
      '--',
      'sh',
      '-c',
      `${program}; ${program} 2`,
    ]);
    const { processes } = readProfile(json);
    const ours = processes.filter(({ executable }) => executable === program);
    expect(ours.map(({ command }) => command[1])).toEqual([undefined, '2']);
  });
});

describe('snapshots', () => {
  test('are taken at a signal', async () => {
    const { profile } = await run(['--all', '--signal', 'SIGUSR1'], '1', 'signal');
    const [process] = profile.processes;
    const [snapshot] = process?.snapshots ?? [];
    expect(process?.snapshots).toHaveLength(1);
    expect(snapshot?.why).toBe('signal');
    const sites = snapshot?.sites.map(({ site, bytes }) => {
      const stack = stacksOf(profile).find((each) => each.site === process?.sites[site]);
      return [stack?.frames[0]?.function, bytes];
    });
    expect(sites).toContainEqual(['piles', 2_000_000]);
    expect(sites).toContainEqual(['leaks', 300_000]);
  });

  test('are taken every so many seconds while something is allocated', async () => {
    const script =
      'import time\nfor i in range(25): time.sleep(0.1); x = [bytearray(100) for j in range(1000)]';
    const json = fresh('.json');
    const words = ['--all', '--seconds', '1', '--json', json, '--', need('python3'), '-c', script];
    await libmalloc(['profile', ...words]);
    const [process] = readProfile(json).processes;
    const times = process?.snapshots.map(({ seconds }) => seconds) ?? [];
    expect(times.length).toBeGreaterThanOrEqual(2);
    for (const [i, time] of times.entries()) expect(time).toBeGreaterThanOrEqual(i + 1);
  });
});

describe('forms', () => {
  const names = ['.pb.gz', '.folded', '.speedscope.json', '.json'];
  let written: Record<string, string>;
  let ran: Ran;
  beforeAll(async () => {
    written = Object.fromEntries(names.map((suffix) => [suffix, fresh(suffix)]));
    const outputs = Object.values(written).flatMap((file) => ['-o', file]);
    ran = await run(['--all', ...outputs], '1');
  });
  const text = (suffix: string): string => readFileSync(written[suffix] ?? '', 'utf8');

  test('pprof has the functions, lines and four measures', () => {
    const bytes = gunzipSync(readFileSync(written['.pb.gz'] ?? ''));
    const {
      stringTable,
      sampleType,
      sample,
      location,
      function: functions,
    } = PprofProfile.decode(bytes);
    const string = (n: number | bigint): string => stringTable.strings[Number(n)] ?? '';
    const types = sampleType.map(({ type }) => string(type));
    const nameOf = (id: number | bigint | undefined) => {
      const line = location.find((each) => each.id === id)?.line[0];
      return string(functions.find((each) => each.id === line?.functionId)?.name ?? 0);
    };
    const leaks = sample.find(({ locationId }) => nameOf(locationId[0]) === 'leaks');
    const values = Object.fromEntries(types.map((type, i) => [type, Number(leaks?.value[i])]));
    expect(values).toEqual({
      ...{ alloc_objects: 300, alloc_space: 300_000, short_objects: 0, short_space: 0 },
      ...{ peak_objects: 300, peak_space: 300_000, inuse_objects: 300, inuse_space: 300_000 },
    });
    expect(leaks?.locationId.map(nameOf).slice(0, 2)).toEqual(['leaks', 'main']);
  });

  test('go tool pprof reads it', () => {
    const go = need('go');
    const args = ['tool', 'pprof', '-top', '-sample_index=inuse_space', written['.pb.gz'] ?? ''];
    const { status, stdout, stderr } = spawnSync(go, args, {
      encoding: 'utf8',
      env: { ...process.env, HOME: folder },
    });
    expect(status, stderr).toBe(0);
    expect(stdout).toMatch(/^ *292\.97kB .* leaks$/m);
  });

  test('folded stacks add up', () => {
    const lines = text('.folded').trimEnd().split('\n');
    const sums = lines.map((line) => Number(/ (\d+)$/.exec(line)?.[1]));
    expect(sums.reduce((a, b) => a + b)).toBe(ran.profile.processes[0]?.allocated.bytes);
    expect(lines.find((line) => /^profiled[^;]*;.*main;leaks 300000$/.test(line))).toBeDefined();
  });

  test('speedscope gets a profile for each measure', () => {
    const { shared, profiles } = JSON.parse(text('.speedscope.json'));
    expect(profiles.map(({ name }: { name: string }) => name.replace(/:.*/, ''))).toEqual([
      ...['live at the end', 'live at the peak', 'all allocated', 'short-lived'],
    ]);
    const [{ samples, weights, endValue }] = profiles;
    const i = samples.findIndex(
      (stack: number[]) => shared.frames[stack.at(-1) ?? 0].name === 'leaks',
    );
    expect(weights[i]).toBe(300_000);
    expect(endValue).toBe(ran.profile.processes[0]?.live.bytes);
  });

  test('the text is sorted, and names lines of the source', () => {
    const live = ran.stderr.slice(ran.stderr.indexOf('live at the end\n'));
    expect(live).toMatch(
      /293 KiB +\d+ % +300 +\S+ \S+ +leaks \(profiled\.c:\d+\) ← main \(profiled\.c:\d+\)/,
    );
    const bytes = readProfile(written['.json'] ?? '').processes[0]?.sites.map(
      (site) => site.live.bytes,
    );
    expect(bytes).toEqual([...(bytes ?? [])].sort((a, b) => b - a));
  });
});

test('a service is profiled through its environment, and read later', async () => {
  const raw = fresh('.profile');
  const env = { LD_PRELOAD: findNative('libmalloc-profile.so'), LIBMALLOC_PROFILE: `all,${raw}` };
  expect(spawnSync(program, ['1'], { env, stdio: 'ignore' }).status).toBe(0);
  const { status, stdout } = await libmalloc(['profile', '--read', raw, '--json', '-']);
  expect(status).toBe(0);
  const profile: Profile = JSON.parse(stdout);
  expect(own(profile, 'leaks', 'live')).toEqual(exactly(300_000, 300));
  const bytes = readFileSync(raw);
  for (const length of [100_000, bytes.length - 70_000]) {
    const cut = fresh('.cut');
    writeFileSync(cut, bytes.subarray(0, length));
    const { stdout: shown, stderr } = await libmalloc(['profile', '--read', cut]);
    expect(shown + stderr).toMatch(/cut/);
  }
});

test('the difference of two profiles lists changes, the largest first', async () => {
  const [a, b, folded] = [fresh('.json'), fresh('.json'), fresh('.folded')];
  await libmalloc(['profile', '--all', '-q', '-o', a, '--', program, '1']);
  await libmalloc(['profile', '--all', '-q', '-o', b, '--', program, '3']);
  const { status, stdout } = await libmalloc(['profile', '-o', folded, '--diff', a, b]);
  expect(status).toBe(0);
  expect(stdout).toMatch(
    /^live at the end: \+586 KiB in all\n.*\n\+586 KiB +\+600 +293 KiB +879 KiB +leaks/,
  );
  expect(readFileSync(folded, 'utf8')).toMatch(/;leaks 300000 900000\n/);
  const same = await libmalloc(['profile', '--diff', a, a]);
  expect(same.stdout).toBe('live at the end: no difference');
});

test('a program that was renamed is compared by its functions, and what is unlike is said', async () => {
  const [a, b] = [fresh('.json'), fresh('.json')];
  const renamed = fresh('-renamed');
  copyFileSync(program, renamed);
  await libmalloc(['profile', '--all', '-q', '-o', a, '--', program, '1']);
  await libmalloc(['profile', '--every', '4K', '-q', '-o', b, '--', renamed, '1']);
  const { stdout } = await libmalloc(['profile', '--json', '-', '--diff', a, b]);
  const { changes, remarks } = JSON.parse(stdout);
  const leaks = changes.filter(({ where }: { where: string }) => where.startsWith('leaks '));
  expect(leaks).toEqual([expect.objectContaining({ before: 300_000 })]);
  expect(leaks[0].after).toBeGreaterThan(150_000);
  expect(remarks.join()).toMatch(/before is of .*after of .*-renamed 1.*every alloc.*in 4 KiB/);
  const text = await libmalloc(['profile', '--diff', a, b]);
  expect(text.stdout.match(/^Note: /gm)).toHaveLength(2);
});

test('a program without symbols, or rebuilt since, is reported once', async () => {
  const [bare, raw] = [fresh('-bare'), fresh('.profile')];
  copyFileSync(program, bare);
  spawnSync(need('strip'), [bare]);
  const { stderr } = await libmalloc(['profile', '--all', '--', bare, '1']);
  expect(stderr.match(/has neither debug information nor symbols/g)).toHaveLength(1);
  expect(stderr).not.toMatch(/leaks|piles/);
  const env = { LD_PRELOAD: findNative('libmalloc-profile.so'), LIBMALLOC_PROFILE: `all,${raw}` };
  spawnSync(bare, ['1'], { env, stdio: 'ignore' });
  copyFileSync(compileProgram('profiled.c', { flags: ['-O1'] }), bare);
  const { stdout } = await libmalloc(['profile', '--read', raw]);
  expect(stdout.match(/was rebuilt since/g)).toHaveLength(1);
  expect(stdout).not.toMatch(/leaks|piles/);
});

test.each([
  [['--all', '--every', '1K', '--', 'true'], /exclude each other/],
  [['--every', '0', '--', 'true'], /number of bytes above 0/],
  [['-o', 'x.svg', '--', 'true'], /does not say in which form/],
  [
    ['-o', 'no-folder/x.json', '--', 'no-such-program'],
    /cannot write no-folder.x.json: there is no/,
  ],
  [['-o', 'x.pb.gz', '--diff', 'a.json', 'b.json'], /difference is written as .folded/],
  [['--signal', 'KILL', '--', 'true'], /cannot profile so/],
  [['--json', '-', '--', 'true'], /standard output belongs/],
  [['--diff', 'a.json'], /compares two profiles/],
  [['--read', 'package.json'], /is no profile/],
  [['--read', 'no-such-file'], /cannot read no-such-file/],
  [['--read', 'tests'], /cannot read tests/],
  [[], /no program to profile/],
])('%j is refused with the reason', async (words, reason) => {
  const { status, stderr } = await libmalloc(['profile', ...words]);
  expect(status).toBe(125);
  expect(stderr).toMatch(reason);
});

test.each([
  ['void* deep::outer<int>(int)', 'deep::outer'],
  [
    'std::vector<std::pair<int, char>, std::allocator<int> >::push_back(int const&)',
    'std::vector::push_back',
  ],
  ['(anonymous namespace)::Store::load(char const*) const', '{anonymous}::Store::load'],
  ['operator new(unsigned long)', 'operator new'],
  ['std::ostream::operator<<(void const*)', 'std::ostream::operator<<'],
  ['std::function<void (int)>::operator()(int) const', 'std::function::operator()'],
  ['main', 'main'],
])('%s is shown as %s', (name, short) => expect(shortName(name)).toBe(short));
