/**
 * `make ports`: the C programs of `libmalloc check` on every platform and under every compiler that
 * can be had here. What was run goes into docs/platforms.json, the table of docs/platforms.md. A job
 * that cannot run is skipped by name, and keeps the figures of its last run.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import { targets } from '../../scripts/build/cross-targets.ts';
import type { Group } from '../../scripts/check/case.ts';
import { casesOf } from '../../scripts/check/groups.ts';
import type { Platforms } from '../../scripts/docs/platforms.ts';
import { root } from '../../scripts/lib/paths.ts';
import { prebuiltFolder } from '../../scripts/lib/prebuilt.ts';
import { variants } from '../../scripts/malloc/mallocs.ts';
import {
  buildPort,
  debianMachine,
  enterDebian,
  type Port,
  targetMachine,
} from '../lib/machines.ts';
import { tryCase } from '../lib/tried.ts';

const HOURS = 7_200_000;
const file = join(root, 'docs', 'platforms.json');

/** Writes what a job came to. Cells of another day go, because a row has one date. */
function record(
  kind: 'platforms' | 'compilers',
  name: string,
  cells: Record<string, string>,
): void {
  const all: Platforms = existsSync(file)
    ? JSON.parse(readFileSync(file, 'utf8'))
    : { platforms: [], compilers: [] };
  const day = new Date().toISOString().slice(0, 10);
  const others = all[kind].filter((row) => row.name !== name);
  const before = all[kind].find((row) => row.name === name);
  const row = { name, day, cells: { ...(before?.day === day && before.cells), ...cells } };
  all[kind] = [...others, row].sort((a, b) => a.name.localeCompare(b.name));
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
}

/** Runs all cases of some groups under a variant: `87 of 87`; throws what failed. */
async function passes(machine: Port, variant: string, groups: readonly Group[]): Promise<string> {
  let [passed, run] = [0, 0];
  const failed: string[] = [];
  for (const each of groups.flatMap((group) => casesOf(group))) {
    const { state, because } = await tryCase(machine, variant, each);
    if (state === 'skipped') continue;
    run++;
    if (state === 'failed') failed.push(`${variant}: ${each.group}/${each.name}: ${because}`);
    else passed++;
  }
  console.log(`  ${variant}: ${passed} of ${run}`);
  if (failed.length > 0) console.log(failed.join('\n'));
  return `${passed} of ${run}`;
}

/** A platform: the cases under each variant. Emulated, a part of them. */
async function tryPlatform(
  name: string,
  machine: Port,
  groups: readonly Group[],
  ours: readonly string[] = variants(),
): Promise<void> {
  await buildPort(machine);
  const cells: Record<string, string> = {};
  for (const variant of ours.filter((each) => wanted?.includes(each) ?? true))
    cells[variant] = await passes(machine, variant, groups);
  record('platforms', name, cells);
  const wanting = Object.values(cells).filter((cell) => !/^(\d+) of \1$/.test(cell));
  expect(wanting, JSON.stringify(cells)).toEqual([]);
}

const prebuilt = {
  'linux-x64-glibc': 'x86_64-linux-gnu',
  'linux-x64-musl': 'x86_64-linux-musl',
  'linux-arm64-glibc': 'aarch64-linux-gnu',
  'linux-arm64-musl': 'aarch64-linux-musl',
};
const some = ['semantics', 'structure', 'threads', 'process'] as const;
const wanted = process.env.VARIANTS?.split(' ');
const onMappings = variants().filter((name) => name !== 'dumb' && name !== 'list');

for (const { name, qemu } of targets.filter((target) => target.name !== 'x86_64-linux-gnu'))
  test(
    name,
    async () => {
      const emulated = qemu !== 'x86_64';
      await tryPlatform(name, targetMachine(name), some, emulated ? onMappings : variants());
    },
    HOURS,
  );

/** The libraries of the npm package, as they are packed. */
for (const [platform, target] of Object.entries(prebuilt))
  test(
    `prebuilt ${platform}`,
    async () => {
      const machine = targetMachine(target);
      execFileSync('make', ['prebuilds', `PLATFORMS=${platform}`], { cwd: root, stdio: 'pipe' });
      const packed = { ...machine, libraries: prebuiltFolder(platform) };
      const cells: Record<string, string> = {};
      for (const variant of ['paged', 'sharded'])
        cells[variant] = await passes(packed, variant, ['semantics']);
      record('platforms', `prebuilt ${platform} (semantics)`, cells);
      const wanting = Object.values(cells).filter((cell) => !/^(\d+) of \1$/.test(cell));
      expect(wanting, JSON.stringify(cells)).toEqual([]);
    },
    HOURS,
  );

for (const kib of [16, 64])
  test(
    `aarch64-linux-gnu, pages of ${kib} KiB`,
    async () => {
      const machine = targetMachine('aarch64-linux-gnu', kib * 1024);
      await tryPlatform(`aarch64-linux-gnu, pages of ${kib} KiB`, machine, some, onMappings);
    },
    HOURS,
  );

const debians = [
  { number: 11, release: 'bullseye', compilers: ['gcc-10', 'clang-13'] },
  {
    number: 12,
    release: 'bookworm',
    compilers: ['gcc-11', 'gcc-12', 'clang-14', 'clang-15', 'clang-16'],
  },
  {
    number: 13,
    release: 'trixie',
    compilers: ['gcc-13', 'gcc-14', 'clang-17', 'clang-18', 'clang-19'],
  },
];

for (const { number, release } of debians)
  test(
    `Debian ${number}, x86-64`,
    () => tryPlatform(`x86_64-linux-gnu, Debian ${number}`, debianMachine(release), some),
    HOURS,
  );

/** Warnings are errors in all of these. */
const ways = [[], ['-O3'], ['-flto']];
for (const { release, compilers } of debians)
  for (const compiler of compilers)
    test(
      compiler,
      async () => {
        const cells: Record<string, string> = {};
        for (const flags of ways) {
          const machine = debianMachine(release, { compiler, flags });
          await buildPort(machine);
          if (flags.length === 0) await buildPort(machine, [], 'debug');
          const way = flags.join(' ') || 'release and debug';
          for (const variant of ['paged', 'sharded'])
            cells[`${way}: ${variant}`] = await passes(machine, variant, ['semantics']);
        }
        record('compilers', compiler, cells);
        const wanting = Object.values(cells).filter((cell) => !/^(\d+) of \1$/.test(cell));
        expect(wanting, JSON.stringify(cells)).toEqual([]);
      },
      HOURS,
    );

/**
 * What a command prints in a fresh checkout on Debian 13, where all packages that tests use are
 * installed. It may fail: the caller reads the output, which also goes into build/ports.
 */
function inCheckout(command: string): string {
  const within = enterDebian('trixie', ['nodejs', 'npm', 'git', 'gdb']);
  const script = `rm -rf /src && git clone -q '${root}' /src && cd /src &&
    cp -a '${root}/node_modules' . && make deps && make all debug && ${command}`;
  const log = join(root, 'build', 'ports', `${command.replaceAll(' ', '-')}.log`);
  const output = openSync(log, 'w');
  const [file = '', ...args] = [...within, 'sh', '-c', script];
  spawnSync(file, args, { stdio: ['ignore', output, output] });
  closeSync(output);
  return readFileSync(log, 'utf8');
}

const trixie = 'x86_64-linux-gnu, Debian 13';

test(
  'Debian 13: make run',
  () => {
    const said = inCheckout('make run && echo green');
    expect(said).toContain('sharded');
    expect(said).toMatch(/\ngreen\n$/);
    record('platforms', trixie, { 'make run': 'green' });
  },
  HOURS,
);

test(
  'Debian 13: make test',
  () => {
    const said = inCheckout('make test');
    const [, passed, failed] =
      /^(\d+) passed, (\d+) failed/m.exec(stripVTControlCharacters(said)) ?? [];
    const all = Number(passed) + Number(failed);
    record('platforms', trixie, { 'make test': `${passed} of ${all}` });
    expect(Number(failed), said.slice(-5000)).toBe(0);
  },
  HOURS,
);
