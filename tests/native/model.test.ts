/**
 * The memory order of sharded's remote frees: its own code under a model checker (model/model.c), in
 * every order of threads and with every value that C11 lets a load return. And each acquire and
 * release in that code is needed: without it, the checker finds a race or a wrong value.
 */
import { join } from 'node:path';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

const long = process.env.LONG === '1';
const scenarios = ['publish', 'free', 'give'] as const;
/** Deviations from the plainest run: how many, and how many runs that makes at least. */
const extent = { publish: [3, 10], free: [2, 1000], give: [long ? 2 : 1, 200] } as const;

/** What stays in order by something else. */
const spare: Record<string, string> = {
  'page_return: modify without acquire': 'the exchange in page_release_empty acquires, too',
  'page_release_empty: exchange without acquire': 'the addition in page_return acquires, too',
  'page_release_empty: exchange without release': 'the region’s lock, which the owner takes next',
  'page_drain: exchange without acquire': 'the load before it acquires the same value',
  'page_await_frees: modify without release':
    'the region’s lock orders what page_release_empty reads',
};

const folder = testFolder();
let program: string;
beforeAll(async () => {
  program = join(folder, 'remote');
  const [model = '', remote = ''] = ['model', 'remote'].map((name) =>
    join(root, 'tests', 'native', 'model', `${name}.c`),
  );
  const common = ['-std=gnu17', '-O1', '-g', '-Wall', '-Wextra', '-Werror', '-fno-builtin'];
  const folders = ['native', 'tests/programs'].flatMap((name) => ['-I', join(root, name)]);
  const cc = (...args: string[]) => execa(need('gcc'), [...common, ...args], { cwd: folder });
  // Our runtime takes the place of libtsan, so the sanitizer is not named where it is linked.
  await Promise.all([
    cc('-c', '-o', 'model.o', model),
    cc('-fsanitize=thread', ...folders, '-c', '-o', 'remote.o', remote),
  ]);
  await cc('-no-pie', '-pthread', '-o', program, 'model.o', 'remote.o');
});

async function model(scenario: string, deviations: number, weaken: string[] = []) {
  const args = [scenario, String(deviations), ...weaken];
  const { exitCode, stdout, stderr } = await execa(program, args, { reject: false });
  const [runs = '', ...sites] = stdout.split('\n');
  return { exitCode, stderr, runs: Number.parseInt(runs, 10), sites };
}

describe('no race and no lost block', () => {
  test.each(scenarios)('%s', async (scenario) => {
    const [deviations, atLeast] = extent[scenario];
    const { exitCode, stderr, runs } = await model(scenario, deviations);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(runs).toBeGreaterThan(atLeast);
  });
});

/** The function that an operation stands in. */
async function functionOf(code: string): Promise<string> {
  const { stdout } = await execa(need('addr2line'), ['-f', '-e', program, code]);
  return stdout.split('\n')[0] ?? '';
}

test('each acquire and each release is needed', async () => {
  const runs = await Promise.all(scenarios.map((scenario) => model(scenario, 1)));
  const sites = [...new Set(runs.flatMap((run) => run.sites))].filter((line) => line !== '');
  const survivors: string[] = [];
  let tried = 0;
  for (const line of sites) {
    const [code = '', what = '', ...orders] = line.split(' ');
    for (const order of orders.filter((each) => each !== 'relaxed')) {
      tried++;
      const weaken = [code, what, order];
      const found = [];
      for (const scenario of scenarios) found.push((await model(scenario, 1, weaken)).exitCode);
      if (found.every((status) => status === 0))
        survivors.push(`${await functionOf(code)}: ${what} without ${order}`);
    }
  }
  expect(tried).toBeGreaterThan(12);
  expect(survivors.sort()).toEqual(Object.keys(spare).sort());
});
