// `libmalloc layout`: it shows any process as the kernel describes it, and refuses wrong input.

import { readFileSync, writeFileSync } from 'node:fs';
import { execa, type ResultPromise } from 'execa';
import { afterEach, describe, expect, test } from 'vitest';
import { type Area, areasOf, cut } from '../../scripts/layout/areas.ts';
import { describeLayout } from '../../scripts/layout/describe.ts';
import { layoutPicture } from '../../scripts/layout/layout-picture.ts';
import { lookAt } from '../../scripts/layout/look.ts';
import { type Mapping, parseMaps } from '../../scripts/layout/maps.ts';
import type { HeapRegion } from '../../scripts/layout/regions.ts';
import { bytes } from '../../scripts/lib/units.ts';
import { readElf } from '../../scripts/malloc/elf.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { scratch } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { attributesIn } from '../lib/svg.ts';
import { variantFile } from '../lib/variants.ts';

interface Layout {
  pid: number;
  malloc: { name: string };
  program: { text: number; data: number; bss: number };
  remark?: string;
  areas: Area[];
  regions: HeapRegion[];
}

const children: ResultPromise[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
});

/** A process that has printed its first line and waits. */
async function waiting(
  file: string,
  env: NodeJS.ProcessEnv = {},
): Promise<{ pid: number; said: string }> {
  const child = execa(file, [], { env, reject: false, buffer: false });
  children.push(child);
  const said = await new Promise((resolve) => child.stdout?.once('data', resolve));
  return { pid: child.pid as number, said: String(said).trim() };
}

/** A program that prints how many bytes are live, holds memory of all kinds, and waits. */
function holder(flags: string[] = []): string {
  const source = scratch('holder.c');
  writeFileSync(
    source,
    `#include <malloc.h>
     #include <pthread.h>
     #include <stdio.h>
     #include <stdlib.h>
     #include <string.h>
     #include <unistd.h>
     char zero[3 << 20] = "";
     char filled[100000] = "x";
     static void *wait(void *arg) { pause(); return arg; }
     int main(void) {
       for (int i = 0; i < 100; i++)
         memset(malloc(5000), 1, 5000);
       pthread_t thread;
       pthread_create(&thread, NULL, wait, NULL);
       usleep(100000);
       setvbuf(stdout, NULL, _IONBF, 0);
       printf("%zu\\n", mallinfo2().uordblks);
       pause();
     }`,
  );
  return compileProgram(source, { flags });
}

async function layoutOf(args: string[]): Promise<Layout> {
  const { status, stdout, stderr } = await libmalloc(['layout', '--json', '-', ...args]);
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

const size = ({ pieces }: Area): number =>
  pieces.reduce((sum, { start, end }) => sum + end - start, 0);
const find = (layout: Layout, kind: Area['kind']): Area[] =>
  layout.areas.filter((area) => area.kind === kind);

describe('a running process', () => {
  test('is shown to the byte as /proc has it, in the terminal as well', async () => {
    const { pid } = await waiting(holder());
    const layout = await layoutOf(['--pid', `${pid}`]);
    const maps = parseMaps(readFileSync(`/proc/${pid}/smaps`, 'latin1'));
    const pieces = layout.areas.flatMap((area) => area.pieces);
    const sum = (list: Mapping[], of: (each: Mapping) => number): number =>
      list.reduce((total, each) => total + of(each), 0);
    for (const of of [({ start, end }: Mapping) => end - start, (each: Mapping) => each.resident])
      expect(sum(pieces, of)).toBe(sum(maps, of));
    // Every byte that is mapped has one place in the picture.
    for (const { start, end } of maps)
      expect(
        sum(
          pieces.filter((piece) => piece.start >= start && piece.end <= end),
          (each) => each.end - each.start,
        ),
      ).toBe(end - start);
    expect(layout.malloc.name).toBe('glibc');
    const heap = maps.find(({ name }) => name === '[heap]');
    const { stdout } = await libmalloc(['layout', '--pid', `${pid}`]);
    expect(stdout).toMatch(new RegExp(`↑ heap .*break at 0x0*${heap?.end.toString(16)}`));
    expect(stdout).toContain(bytes((heap?.end ?? 0) - (heap?.start ?? 0)));
    expect(stdout.includes('\x1b'), 'no colour when not a terminal').toBe(false);
  });

  test('shows the program’s parts with the sizes of its file, and its threads’ stacks', async () => {
    const file = holder();
    const layout = await layoutOf(['--pid', `${(await waiting(file)).pid}`]);
    const elf = readElf(file);
    const writable = elf?.segments.find((segment) => segment.writable);
    const { data, bss } = layout.program;
    expect([data, bss]).toEqual([
      writable?.inFile,
      (writable?.inMemory ?? 0) - (writable?.inFile ?? 0),
    ]);
    expect(bss).toBeGreaterThanOrEqual(3 << 20);
    const [area] = find(layout, 'bss');
    expect(area && size(area)).toBeGreaterThanOrEqual((3 << 20) - 4096);
    for (const kind of ['text', 'data', 'heap', 'stack', 'kernel', 'library'] as const)
      expect(find(layout, kind).length, kind).toBeGreaterThan(0);
    const [stack, more] = find(layout, 'thread');
    expect(more).toBeUndefined();
    expect(stack?.label).toMatch(/^stack of thread \d+$/);
    const guard = layout.areas.find(({ label }) => label === 'guard page');
    expect(guard?.end).toBe(stack?.start);
  });

  test('on a malloc of ours shows its regions, equal to what the heap itself says', async () => {
    need('gdb');
    const { pid, said } = await waiting(holder(), { LD_PRELOAD: variantFile('paged') });
    const layout = await layoutOf(['--pid', `${pid}`]);
    expect(layout.malloc.name).toBe('paged');
    expect(layout.remark).toBeUndefined();
    const regions = find(layout, 'malloc').filter(({ label }) => label === 'paged: region');
    expect(layout.regions.reduce((sum, { live }) => sum + live, 0)).toBe(Number(said));
    expect(regions.reduce((sum, area) => sum + size(area), 0)).toBe(
      layout.regions.reduce((sum, { start, end }) => sum + end - start, 0),
    );
    expect(regions.reduce((sum, { resident }) => sum + resident, 0)).toBeGreaterThan(500_000);
  });

  test.each(['paged', 'sharded'])('on %s shows where the records are', async (variant) => {
    need('gdb');
    const { pid } = await waiting(holder(), { LD_PRELOAD: variantFile(variant) });
    const layout = await layoutOf(['--pid', `${pid}`]);
    const records = find(layout, 'malloc').filter(({ label }) => label === `${variant}: records`);
    expect(records.reduce((sum, { resident }) => sum + resident, 0)).toBeGreaterThan(0);
    // sharded's table has a record for every address.
    const large = layout.areas.filter((area) => area.label === 'anonymous' && size(area) > 2 ** 30);
    expect(large).toEqual([]);
  });

  test('that is static has no library, and is shown as well', async () => {
    const { pid } = await waiting(holder(['-static']));
    const layout = await layoutOf(['--pid', `${pid}`]);
    expect(layout.malloc.name).toBe('its own (static)');
    expect(find(layout, 'library')).toEqual([]);
    expect(find(layout, 'text')).toHaveLength(1);
    expect(find(layout, 'heap')).toHaveLength(1);
  });
});

describe('a program that we start', () => {
  test('is read when it has finished its work, and its status is passed on', async () => {
    const file = scratch('layout.svg');
    const shell = 'echo printed; exit 3';
    const args = ['layout', '-m', 'list', '--svg', file, '--', 'sh', '-c', shell];
    const { status, stdout, stderr } = await libmalloc(args);
    expect([status, stderr]).toEqual([3, 'printed']);
    expect(stdout).toMatch(/^dash \(pid \d+\) on list, at its end/);
    if (need('gdb')) expect(stdout).toMatch(/↑ heap +list's, up to the program break/);
    const svg = readFileSync(file, 'utf8');
    expect(svg).toMatch(/^<svg .*<\/svg>\n$/s);
    for (const part of ['stack', 'heap', 'libc.so.6', 'text']) expect(svg).toContain(`>${part}<`);
  });

  test('can be read before its end', async () => {
    const after = ['layout', '-m', 'glibc', '--after', '0.3', '--', 'sleep', '1'];
    expect((await libmalloc(after)).stdout).toMatch(/^sleep \(pid \d+\) on glibc, after 0.3 s/);
  });

  test('that ends too early is reported, with status 125', async () => {
    const { status, stderr } = await libmalloc(['layout', '--', 'sh', '-c', 'kill -9 $$']);
    expect(stderr).toContain('ended by SIGKILL before it could be looked at');
    expect(status).toBe(125);
  });
});

describe('a refusal', () => {
  const refused = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await libmalloc(['layout', ...args]);
    expect([status, stdout]).toEqual([125, '']);
    return stderr;
  };

  test('names what is wrong with a process number', async () => {
    expect(await refused('--pid', 'x')).toContain('a process number is needed');
    const child = execa('true', { reject: false });
    const { pid } = child;
    await child;
    expect(await refused('--pid', `${pid}`)).toContain(`there is no process ${pid}`);
    const kernel = lookAt(2).then(() => '', String);
    expect(await kernel).toMatch(/process 2 (is a thread of the kernel|has ended)|no process 2/);
  });

  test('of --pid with a program, and of neither', async () => {
    expect(await refused('--pid', '1', '--', 'ls')).toContain('--pid looks at a process as it is');
    expect(await refused()).toContain('whose layout?');
  });

  test('of a static program names the reason', async () => {
    expect(await refused('--', holder(['-static']))).toContain('statically linked');
  });
});

test('a mapping that is two things is cut, and keeps its resident bytes', () => {
  const mapping = {
    start: 0,
    end: 40960,
    permissions: 'rw-p',
    offset: 0,
    name: '',
    resident: 20480,
    swapped: 0,
  };
  const twice = (start: number, end: number) => ({ sure: (end - start) * 2, perhaps: 0 });
  const pieces = cut(mapping, [8192, 4096, 90000], twice);
  expect(pieces.map(({ start, end, resident }) => [start, end, resident])).toEqual([
    [0, 4096, 8192],
    [4096, 8192, 8192],
    [8192, 40960, 4096],
  ]);
});

test('of pages in doubt, a cut mapping counts as many as the kernel did', () => {
  const mapping = { start: 0, end: 40960, permissions: 'rw-p', offset: 0, name: '', swapped: 0 };
  // Pages that were only read, then pages written to: the kernel counts the latter.
  const present = (start: number) =>
    start === 0 ? { sure: 0, perhaps: 16384 } : { sure: 20480, perhaps: 0 };
  const residents = (resident: number) =>
    cut({ ...mapping, resident }, [16384], present).map((piece) => piece.resident);
  expect(residents(20480)).toEqual([0, 20480]);
  expect(residents(24576)).toEqual([4096, 20480]);
});

test('of smaps it takes what is resident and what is swapped out, and nothing else', () => {
  const text = `7f00-9f00 rw-p 00001000 08:01 42                         /lib/a b.so
Size:               8192 kB
KernelPageSize:        4 kB
Rss:                  64 kB
Pss:                  16 kB
Shared_Clean:         48 kB
Private_Dirty:        12 kB
Referenced:           60 kB
Anonymous:            12 kB
SwapPss:               1 kB
Swap:                  8 kB
Locked:                4 kB
a000-b000 r--p 00000000 00:00 0\n`;
  expect(parseMaps(text)).toEqual([
    {
      start: 0x7f00,
      end: 0x9f00,
      permissions: 'rw-p',
      offset: 0x1000,
      name: '/lib/a b.so',
      resident: 65_536,
      swapped: 8192,
    },
    {
      start: 0xa000,
      end: 0xb000,
      permissions: 'r--p',
      offset: 0,
      name: '',
      resident: 0,
      swapped: 0,
    },
  ]);
});

test('labels name the content of each region; the picture fills the share in memory', () => {
  const piece = (start: number, end: number, resident: number, name = '') => ({
    start,
    end,
    permissions: 'rw-p',
    offset: 0,
    name,
    resident,
    swapped: 0,
  });
  const none = { spans: 0, blocks: 0, live: 0, free: 0, fresh: 0, headers: 0 };
  const regions = [
    { ...none, start: 0x10000, end: 0x20000, spans: 3, blocks: 7, live: 700, free: 2048 },
    { ...none, start: 0x40000, end: 0x50000, spans: 1, blocks: 1, live: 100, fresh: 8192 },
  ];
  const process = {
    pid: 1,
    executable: '/bin/toy',
    program: undefined,
    mappings: [
      piece(0x10000, 0x20000, 0x4000),
      piece(0x40000, 0x50000, 0x10000),
      piece(0x60000, 0x70000, 0x1000),
      piece(0x80000, 0x90000, 0x1000),
      piece(0x7000_0000, 0x7002_0000, 0x1000, '[stack]'),
    ],
    breakStart: 0x8000,
    stackStart: 0x7002_0000,
    argumentsStart: 0x7001_f000,
    environmentEnd: 0x7001_f800,
    stackLimit: 8 * 2 ** 20,
    legacy: false,
    threads: [],
  };
  const malloc = { name: 'paged', file: '/lib/libmalloc-paged.so' };
  const areas = areasOf(process, {
    regions,
    records: [[0x61000, 0x62000]],
    malloc: malloc.name,
    elf: () => undefined,
    present: () => ({ sure: 0, perhaps: 0 }),
  });
  expect(areas.map(({ label, note, grows }) => [label, note, grows])).toEqual([
    ['paged: region', '3 spans, 7 live blocks of 700 bytes, 2 KiB free', undefined],
    ['paged: region', '1 span, 1 live block of 100 bytes, 8 KiB never used', undefined],
    ['paged: records', 'of its pages, blocks and threads', undefined],
    ['anonymous', 'mapped by the malloc or the program', undefined],
    ['stack', '', 'down'],
  ]);
  const layout = {
    pid: 1,
    executable: process.executable,
    malloc,
    program: { text: 100, data: 20, bss: 3 },
    areas,
    regions,
    remark: undefined,
    process,
  };
  const said = describeLayout(layout, 'as it runs').split('\n');
  expect(said[3]).toMatch(
    /^ {2}0x000070000000 +128 KiB +4 KiB {2}█░{7} ↓ stack {2}grows down, up to 8 MiB; 2 KiB of arg/,
  );
  expect(said[4]).toMatch(/⋮ +1.75 GiB +not mapped/);
  expect(said[6]).toMatch(/^ {2}0x000000060000 +64 KiB +4 KiB {2}█░{7} +paged: records/);
  expect(said[7]).toMatch(/^ {2}0x000000040000 +64 KiB +64 KiB {2}█{8} +paged: region/);
  expect(said[8]).toMatch(/^ {2}0x000000010000 +64 KiB +16 KiB {2}██░{6} +paged: region/);
  expect(said.join('\n')).toContain(
    'mapped 384 KiB, of which 92 KiB in memory; new mappings go down',
  );
  expect(said.join('\n')).toContain(
    'paged has 4 spans, 8 live blocks of 800 bytes, 2 KiB free, 8 KiB never used',
  );
  expect(said.join('\n')).toContain('text 100, data 20, bss 3 bytes');
  const svg = layoutPicture(layout, 'toy');
  const filled = attributesIn(svg, 'rect[fill-opacity="0.85"]');
  // Of a column of 260: the stack's 1 of 32 pages, 1 of 16, all of a region, a quarter of the other.
  expect(filled.map(({ width }) => Number(width))).toEqual([8.13, 16.25, 16.25, 260, 65]);
  // An arrow points in the direction of growth: downwards for the stack.
  const arrow = attributesIn(svg, 'path')[0]?.d ?? '';
  const [, from = 0, to = 0] = /^M\d+ ([\d.]+)V([\d.]+)m/.exec(arrow)?.map(Number) ?? [];
  expect(to).toBeGreaterThan(from);
});

test('sizes have units that people use', () => {
  const said = [0, 1, 512, 1024, 1536, 42 * 2 ** 20, 132 * 1024].map(bytes);
  expect(said).toEqual(['0 bytes', '1 byte', '512 bytes', '1 KiB', '1.5 KiB', '42 MiB', '132 KiB']);
});
