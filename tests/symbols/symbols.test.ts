// Return addresses get the right names, and never a wrong one.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { describeFrame, type Frame } from '../../scripts/symbols/frame.ts';
import { buildIdOf } from '../../scripts/symbols/module.ts';
import { type SymbolizeOptions, symbolize } from '../../scripts/symbols/symbolize.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

const folder = testFolder();

/** A copy for the test to change. Each has its own folder, because modules are cached by path. */
let n = 0;
function copyOf(program: string): string {
  const copy = join(folder, `${n++}`, 'chain');
  mkdirSync(dirname(copy));
  copyFileSync(program, copy);
  return copy;
}

const compiled = (...flags: string[]): string =>
  copyOf(compileProgram('call-chain.cc', { flags: ['-O2', '-Wl,--build-id', ...flags] }));

function run(tool: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(tool, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${tool} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** The return addresses and the mappings that the program prints. */
function chainOf(program: string): { addresses: number[]; maps: string } {
  const maps = run(program);
  const addresses = [...maps.matchAll(/^0x([0-9a-f]+)$/gm)].map(([, hex = '']) => hex);
  return { addresses: addresses.map((hex) => Number.parseInt(hex, 16)), maps };
}

const said: string[] = [];
beforeEach(() => void said.splice(0));
afterEach(() => void vi.unstubAllEnvs());

async function framesOf(
  program: string,
  { addresses, maps }: ReturnType<typeof chainOf>,
  options: SymbolizeOptions = {},
): Promise<Frame[]> {
  const say = (sentence: string): void => void said.push(sentence);
  const frames = (await symbolize([maps], addresses, { say, ...options })).flat();
  return frames.filter(({ module }) => module === program);
}

const lineOf = (text: string): number =>
  run('grep', '-n', text, 'tests/programs/call-chain.cc').split(':').map(Number)[0] ?? 0;

const inChain = [
  ['look', 'backtrace(frames'],
  ['first', 'int found = look'],
  ['hidden', 'int found = chain'],
  ['seen', 'int found = hidden'],
  ['main', 'return seen'],
] as const;

/**
 * Expects function, file and line of all five; the first is inlined into the second. addr2line does
 * not find the name of the first, and must not show a wrong one.
 */
function expectFull(frames: readonly Frame[]): void {
  const five = frames.slice(0, 5);
  for (const [i, [name, text]] of inChain.entries()) {
    if (five[i]?.named || i > 0) expect(five[i]?.function).toMatch(new RegExp(`\\b${name}\\b`));
    expect(basename(five[i]?.file ?? '')).toBe('call-chain.cc');
    expect(Math.abs((five[i]?.line ?? 0) - lineOf(text))).toBeLessThanOrEqual(1);
  }
  expect(five.map(({ inlined }) => inlined)).toEqual([true, false, false, false, false]);
  expect(five[1]?.function).toMatch(/chain::first<long>/);
}

/** A PATH with only one reader. */
function only(reader: string): string {
  const bin = mkdtempSync(join(folder, 'bin-'));
  for (const tool of [reader, 'c++filt']) symlinkSync(need(tool), join(bin, tool));
  return bin;
}

/** Splits the debug information off from a program, which keeps only its exported symbols. */
function split(program: string, ...link: string[]): string {
  const debug = `${program}.debug`;
  run('objcopy', '--only-keep-debug', program, debug);
  run('strip', program);
  run('objcopy', ...link.map((each) => each.replace('FILE', debug)), program);
  return debug;
}

describe.each(['llvm-symbolizer', 'addr2line'])('with %s', (reader) => {
  const readBy = async (...asked: Parameters<typeof framesOf>): Promise<Frame[]> => {
    vi.stubEnv('PATH', only(reader));
    try {
      return await framesOf(...asked);
    } finally {
      vi.unstubAllEnvs();
    }
  };

  test('functions, lines and inlined calls come from debug information', async () => {
    const program = compiled();
    expectFull(await readBy(program, chainOf(program)));
    expect(said).toEqual([]);
  });

  test('split debug information is found by its link, if the checksum is right', async () => {
    const program = compiled();
    const debug = split(program, '--add-gnu-debuglink=FILE');
    expectFull(await readBy(program, chainOf(program)));
    const other = copyOf(program);
    run('objcopy', '-R', '.comment', debug, join(dirname(other), 'chain.debug'));
    const frames = await readBy(other, chainOf(other));
    expect(frames.filter(({ line }) => line !== undefined)).toEqual([]);
  });

  test('split debug information is found by the build-id, even if the program is gone', async () => {
    const program = compiled();
    const id = buildIdOf(program) ?? '';
    expect(run(need('readelf'), '-n', program)).toContain(id);
    const debugFolder = mkdtempSync(join(folder, 'debug-'));
    const place = join(debugFolder, '.build-id', id.slice(0, 2));
    mkdirSync(place, { recursive: true });
    renameSync(split(program, '-R', '.comment'), join(place, `${id.slice(2)}.debug`));
    const chain = chainOf(program);
    expectFull(await readBy(program, chain, { debugFolder }));
    rmSync(program);
    const buildIds = new Map([[program, id]]);
    expectFull(await readBy(program, chain, { debugFolder, buildIds }));
    expect(said).toEqual([]);
  });

  test('an exported symbol of a stripped program names its own addresses, and none after it', async () => {
    const program = compiled('-rdynamic');
    const full = await readBy(program, chainOf(program));
    run('strip', program);
    const frames = await readBy(program, chainOf(program));
    const names = frames.map((frame) => (frame.named ? frame.function : undefined));
    expect(names.slice(0, 4)).toEqual([full[1]?.function, undefined, 'seen', 'main']);
    expect(frames[1]?.function).toMatch(/^chain\+0x[0-9a-f]+$/);
    expect(frames[1]?.offset).toBe(full[2]?.offset);
  });
});

test('one message reports a program without symbols', async () => {
  const program = compiled();
  run('strip', program);
  const frames = await framesOf(program, chainOf(program));
  expect(frames.length).toBeGreaterThan(3);
  expect(frames.filter(({ named }) => named)).toEqual([]);
  expect(said).toEqual([expect.stringContaining('has neither debug information nor symbols')]);
});

test('a program that was rebuilt or is gone gives no names, and one message reports that', async () => {
  const program = compiled();
  const chain = chainOf(program);
  const buildIds = new Map([[program, buildIdOf(program) ?? '']]);
  copyFileSync(compiled('-DANEW=1', '-O0'), program);
  for (const frame of await framesOf(program, chain, { buildIds })) expect(frame.named).toBe(false);
  expect(said).toEqual([expect.stringContaining('was rebuilt since')]);
  rmSync(program);
  for (const frame of await framesOf(program, chain)) expect(frame.named).toBe(false);
  expect(said.slice(1)).toEqual([expect.stringContaining('is gone')]);
});

test('another file of the same name is recognised even without a build-id', async () => {
  const program = compiled();
  const chain = chainOf(program);
  renameSync(copyOf(program), program);
  for (const frame of await framesOf(program, chain)) expect(frame.named).toBe(false);
  expect(said).toEqual([expect.stringContaining('was replaced since')]);
});

test('code in no file is shown as generated; data has no frame', async () => {
  const maps = [
    '7f0000000000-7f0000001000 rwxp 00000000 00:00 0 ',
    '7f0000001000-7f0000002000 rw-p 00000000 00:00 0 [heap]',
  ];
  const frames = await symbolize([maps.join('\n')], [0x7f0000000010, 0x7f0000001010, 0x10]);
  expect(frames.map((each) => each.map(describeFrame))).toEqual([
    ['[generated code]+0x7f0000000010'],
    [],
    [],
  ]);
});
