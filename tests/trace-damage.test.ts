// Traces that are cut, flipped, foreign, empty, newer: a sentence each, and what can be read is read.

import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resolveMalloc } from '../scripts/lib/mallocs.ts';
import { launch } from '../scripts/lib/preload.ts';
import { SEGMENT_BYTES } from '../scripts/lib/trace/format.ts';
import { openTrace } from '../scripts/lib/trace/trace.ts';
import { libmalloc } from './lib/cli.ts';
import { compileProgram } from './lib/compile.ts';
import { randomFrom } from './lib/random.ts';
import { type Read, readTrace } from './lib/trace.ts';

let folder = '';
let whole = '';
let before: Read;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
  whole = join(folder, 'whole');
  const command = [compileProgram('traced.c'), 'threads', '3', '10000'];
  await launch(resolveMalloc('paged'), command, { trace: `sites,snapshots,${whole}` });
  before = readTrace(whole);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

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

test('the whole one is whole', () => {
  expect(before.damage).toEqual([]);
  expect(events(before)).toBeGreaterThan(59_000);
});

describe('nothing can be read of', () => {
  const hopeless: [string, (bytes: Buffer) => Buffer | undefined, RegExp][] = [
    ['an empty file', () => Buffer.alloc(0), /is empty/],
    ['a foreign file', () => Buffer.from('#!/bin/sh\necho hello\n'), /is not a trace of libmalloc/],
    ['zeros', () => Buffer.alloc(SEGMENT_BYTES * 3), /is not a trace of libmalloc/],
    ['a newer version', (b) => void b.writeUInt32LE(9, 8), /is a trace of version 9; .* up to 1/],
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

  test('what is not there, or no file', () => {
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

describe('a part is read, and called a part', () => {
  test.each([0.1, 0.5, 0.9, 0.999])('of a file cut at %d of its length', (share) => {
    const file = join(folder, 'cut');
    copyFileSync(whole, file);
    truncateSync(file, Math.floor(before.bytes * share));
    const read = readTrace(file);
    expect(read.damage.join('\n')).toMatch(/^cut: \d+ of \d+ segments are whole/);
    expect(events(read)).toBeLessThanOrEqual(events(before));
    if (share >= 0.5) expect(events(read)).toBeGreaterThan(events(before) * share * 0.5);
  });

  test('when a segment is gone: the others are there', () => {
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

  test('whatever bits flip, and wherever: no crash, no endless loop', () => {
    const random = randomFrom(20);
    for (let round = 0; round < 60; round++) {
      const file = changed('random', (bytes) => {
        for (let i = 0; i < 1 + round / 4; i++)
          bytes[64 + random.below(bytes.length - 64)] = random.below(256);
        return undefined;
      });
      expect(events(readTrace(file))).toBeLessThan(events(before) * 1.5);
    }
  });
});
