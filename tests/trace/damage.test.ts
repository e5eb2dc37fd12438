// Traces that are cut, changed, foreign, empty or newer: each gives a sentence, and readable parts are read.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { openSource } from '../../scripts/foreign/source.ts';
import { Failure } from '../../scripts/lib/errors.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { SEGMENT_BYTES } from '../../scripts/trace/format.ts';
import { writePlan } from '../../scripts/trace/plan.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import { gather } from '../../scripts/view/gather.ts';
import { libmalloc } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { randomFrom } from '../lib/random.ts';
import { type Read, readTrace } from '../lib/trace.ts';

const folder = testFolder();
let whole = '';
let before: Read;

beforeAll(async () => {
  whole = join(folder, 'whole');
  const command = [compileProgram('traced.c'), 'threads', '3', '10000'];
  await launch(resolveMalloc('paged'), command, { trace: `sites,snapshots,${whole}` });
  before = readTrace(whole);
});

/** The Failure of view and replay for a file; other errors are rethrown. */
async function readers(file: string): Promise<string> {
  const said: string[] = [];
  const attempt = async (read: () => string[] | Promise<string[]>): Promise<void> => {
    try {
      said.push(...(await read()));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      said.push(error.message);
    }
  };
  await attempt(async () => {
    const trace = openTrace(file);
    try {
      return (await gather(trace)).facts.damage;
    } finally {
      trace.close();
    }
  });
  await attempt(async () => {
    const source = openSource(file, undefined);
    try {
      await writePlan(join(folder, 'plan'), source.steps());
      return source.remarks();
    } finally {
      source.close();
    }
  });
  return said.join('\n');
}

/** A copy, changed. */
function changed(name: string, change: (bytes: Buffer) => Buffer | undefined): string {
  const bytes = readFileSync(whole);
  const file = join(folder, name);
  writeFileSync(file, change(bytes) ?? bytes);
  return file;
}

const events = (read: Read): number =>
  read.processes.reduce(
    (sum, each) => sum + Object.values(each.events).reduce((a, b) => a + b, 0),
    0,
  );

test('an undamaged trace is read completely', () => {
  expect(before.damage).toEqual([]);
  expect(events(before)).toBeGreaterThan(59_000);
});

describe('nothing can be read of', () => {
  const hopeless: [string, (bytes: Buffer) => Buffer | undefined, RegExp][] = [
    ['an empty file', () => Buffer.alloc(0), /is empty/],
    ['a foreign file', () => Buffer.from('#!/bin/sh\necho hello\n'), /is not a trace of libmalloc/],
    ['zeros', () => Buffer.alloc(SEGMENT_BYTES * 3), /is not a trace of libmalloc/],
    [
      'a newer version',
      (b) => void b.writeUInt32LE(9, 8),
      /is a trace of version 9; .* reads versions 2 to 3/,
    ],
    ['a header cut short', (b) => b.subarray(0, 40), /is cut in its header/],
    [
      'a header that makes no sense',
      (b) => void b.writeUInt32LE(12345, 12),
      /is damaged in its header/,
    ],
  ];
  test.each(hopeless)('%s, and the reason is said', (name, change, message) => {
    const file = changed(name.replaceAll(' ', '-'), change);
    expect(() => openTrace(file)).toThrow(message);
  });

  test('a missing file, or a folder', () => {
    expect(() => openTrace(join(folder, 'nowhere'))).toThrow(/there is no trace/);
    expect(() => openTrace(folder)).toThrow(/is not a file/);
  });

  test('and replay says so in two lines, status 125', async () => {
    const { status, stdout, stderr } = await libmalloc([
      'replay',
      changed('e', () => Buffer.alloc(0)),
    ]);
    expect({ status, stdout }).toEqual({ status: 125, stdout: '' });
    expect(stderr).toMatch(/^libmalloc: \S+ is empty: no trace\n {2}record it again: .*$/);
  });
});

describe('a part is read, and reported as a part', () => {
  test.each([0.1, 0.5, 0.9, 0.999])('of a file cut at %d of its length', (share) => {
    const length = Math.floor(before.bytes * share);
    const start = length - (length % SEGMENT_BYTES);
    const read = readTrace(changed('cut', (bytes) => bytes.subarray(0, length)));
    expect(read.damage.join('\n')).toMatch(/^cut: \d+ of \d+ segments are whole/m);
    // All that is not among the whole segments is in the rest. (Not a share of the events: where
    // the malloc was slow, snapshots fill the file. Some of the cut segment may be readable.)
    const first = events(readTrace(changed('first', (bytes) => bytes.subarray(0, start))));
    const rest = changed('rest', (bytes) => void bytes.fill(0xff, SEGMENT_BYTES, start));
    expect(first + events(readTrace(rest))).toBe(events(before));
    expect(events(read)).toBeGreaterThanOrEqual(first);
    expect(events(read)).toBeLessThanOrEqual(events(before));
  });

  test('when a segment is lost: the others are there', () => {
    const wiped = (bytes: Buffer) => void bytes.fill(0xff, 5 * SEGMENT_BYTES, 6 * SEGMENT_BYTES);
    const read = readTrace(changed('wiped', wiped));
    expect(read.damage).toContain('segment 5 is damaged: left out');
    expect(events(read)).toBeGreaterThan(events(before) * 0.8);
  });

  test('when one bit of a finished segment has flipped', () => {
    const trace = readFileSync(whole);
    let segment = 1;
    while (
      trace.readUInt32LE(segment * SEGMENT_BYTES + 4) !== 1 ||
      trace.readUInt32LE(segment * SEGMENT_BYTES + 36) !== 1
    )
      segment++;
    for (const at of [100, 5_000, 65_000]) {
      const place = segment * SEGMENT_BYTES + at;
      const file = changed(
        'flipped',
        (bytes) => void bytes.writeUInt8((bytes[place] ?? 0) ^ 4, place),
      );
      const read = readTrace(file);
      expect(read.damage.join()).toContain(`segment ${segment} does not add up: left out`);
      expect(events(read)).toBeGreaterThan(events(before) * 0.8);
    }
  });

  /** The places of segments with events that were in use when the program ended. */
  const inUse = (): number[] => {
    const trace = readFileSync(whole);
    const all = Array.from({ length: trace.length / SEGMENT_BYTES }, (_, i) => i * SEGMENT_BYTES);
    return all.filter(
      (at) => trace.readUInt32LE(at + 4) === 1 && trace.readUInt32LE(at + 36) === 2,
    );
  };

  test('when one bit has flipped of a segment that was in use at the exit', () => {
    const [segment = 0] = inUse();
    const used = readFileSync(whole).readUInt32LE(segment + 32);
    for (const at of [64, 64 + used / 2, 63 + used]) {
      const place = segment + Math.floor(at);
      const read = readTrace(
        changed('flipped', (b) => void b.writeUInt8((b[place] ?? 0) ^ 1, place)),
      );
      const number = segment / SEGMENT_BYTES;
      expect(read.damage.join()).toContain(`segment ${number} does not add up: left out`);
    }
  });

  test('calls after the exit are read, behind the sum', () => {
    const [segment = 0] = inUse();
    const grown = changed('grown', (bytes) => {
      const end = segment + 64 + bytes.readUInt32LE(segment + 32);
      bytes.copy(bytes, end, end - 16, end);
      return undefined;
    });
    expect(readTrace(grown).damage).toEqual([]);
    expect(events(readTrace(grown))).toBe(events(before) + 1);
  });

  test('when any bit has flipped in the segment of a killed process: each is found', async () => {
    const killed = join(folder, 'killed');
    const command = [compileProgram('traced.c'), 'kill', '1500'];
    await launch(resolveMalloc('glibc'), command, { trace: `sites,${killed}` });
    const sound = readTrace(killed);
    expect(sound.damage).toEqual([]);
    expect(events(sound)).toBeGreaterThan(1500);
    const bytes = readFileSync(killed);
    const open = Array.from({ length: bytes.length / SEGMENT_BYTES }, (_, i) => i * SEGMENT_BYTES)
      .filter((at) => bytes.readUInt32LE(at + 4) === 1 && bytes.readUInt32LE(at + 36) === 0)
      .at(-1);
    expect(open).toBeDefined();
    const random = randomFrom(7);
    const file = join(folder, 'flipped');
    // Each bit of the head and of the first records; then here and there, the empty rest included.
    const bits = Array.from({ length: 8 * (64 + 32) }, (_, i) => i);
    for (let i = 0; i < 200; i++) bits.push(random.below(8 * SEGMENT_BYTES));
    // Fields that are not covered by the sum: `used`, `sealed` without a sum, `sum` and the spare.
    const free = (bit: number): boolean => [32, 40].includes(4 * Math.floor(bit / 32));
    for (const bit of bits.filter((each) => !free(each))) {
      const flipped = Buffer.from(bytes);
      const place = (open ?? 0) + (bit >> 3);
      flipped.writeUInt8((flipped[place] ?? 0) ^ (1 << (bit & 7)), place);
      writeFileSync(file, flipped);
      const { damage } = readTrace(file);
      expect(damage.join(), `bit ${bit}`).toMatch(/is damaged|does not add up|nothing is known/);
    }
  });

  test('wherever it is cut: by every reader, as a part or not at all', async () => {
    const random = randomFrom(6);
    const edges = [0, 1, 2, 5].flatMap((n) =>
      [-1, 0, 1, 63, 64, 65, 80].map((d) => n * 65_536 + d),
    );
    const wild = Array.from({ length: 30 }, () => random.below(before.bytes));
    for (const length of [...edges, ...wild].filter((n) => n >= 0)) {
      const file = changed('cut', (bytes) => bytes.subarray(0, length));
      const said = await readers(file);
      if (length < 64) expect(said).toMatch(/is empty|is cut in its header|not a trace/);
      else expect(said, `cut at ${length}`).toMatch(/cut: \d+ of \d+ segments are whole|has no/);
    }
  });

  test('after any flipped bits: no crash, no endless loop', async () => {
    const random = randomFrom(20);
    for (let round = 0; round < 60; round++) {
      const file = changed('random', (bytes) => {
        for (let i = 0; i < 1 + round / 4; i++)
          bytes[64 + random.below(bytes.length - 64)] = random.below(256);
        return undefined;
      });
      if (round % 4 === 0) await readers(file);
      expect(events(readTrace(file))).toBeLessThan(events(before) * 1.5);
    }
  });
});
