// Stacks in a trace: the tree of calls, and the number that an event carries.

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { kinds, offset, SEGMENT_BYTES } from '../../scripts/trace/format.ts';
import { frameFlags, Ledger, openTrace, type TraceProcess } from '../../scripts/trace/trace.ts';
import { testFolder } from '../lib/folder.ts';
import { type Node, writeTrace } from '../lib/handmade.ts';

const folder = testFolder();

/** Three times main → work → leaf, and more nodes than a segment holds. */
const nodes: Node[] = [
  { address: 0x1000, parent: 0 },
  { address: 0x2000, parent: 1 },
  { address: 0x3000, parent: 2 },
  { address: 0x7f00_0000_0008, parent: 2, flags: frameFlags.jit },
  ...Array.from({ length: 5000 }, (_, i) => ({ address: 0x10000 + 16 * i, parent: 3 })),
];
const deep = 4 + 4500;

function written(): string {
  return writeTrace(
    join(folder, 'stacks'),
    [
      { op: 'malloc', address: 0x100010, size: 10, stack: 3 },
      { op: 'malloc', address: 0x100020, size: 20, stack: 4 },
      { op: 'free', address: 0x100010, stack: 2 },
      { op: 'malloc', address: 0x100030, size: 30, stack: deep },
      { op: 'malloc', address: 0x100040, size: 40 },
    ],
    undefined,
    nodes,
  );
}

describe('a stack', () => {
  test('is read as the event has it, the innermost call first', () => {
    const trace = openTrace(written());
    const process = trace.busiest as TraceProcess;
    const found: (readonly number[])[] = [];
    for (const { stack } of trace.events(process)) found.push(trace.stackOf(process, stack));
    expect(found).toEqual([
      [0x3000, 0x2000, 0x1000],
      [0x7f00_0000_0008, 0x2000, 0x1000],
      [0x2000, 0x1000],
      [0x10000 + 16 * 4499, 0x3000, 0x2000, 0x1000],
      [],
    ]);
    expect(trace.calls(process).flags[4]).toBe(frameFlags.jit);
    expect(trace.damage).toEqual([]);
    trace.close();
  });

  test('stays with its block', () => {
    const trace = openTrace(written());
    const ledger = new Ledger();
    for (const event of trace.events()) ledger.apply(event);
    const stacks = [...ledger.live()].map((row) => ledger.rows.stack[row]);
    expect(stacks.sort()).toEqual([0, 4, deep].sort());
    trace.close();
  });

  test('of an unknown number is empty', () => {
    const trace = openTrace(written());
    const process = trace.busiest as TraceProcess;
    expect(trace.stackOf(process, nodes.length + 1)).toEqual([]);
    expect(trace.stackOf(process, 0)).toEqual([]);
    trace.close();
  });
});

/** The trace with one segment of stacks changed. */
function changed(order: number, change: (bytes: Buffer, at: number) => void): string {
  const bytes = readFileSync(written());
  for (let at = SEGMENT_BYTES; at < bytes.length; at += SEGMENT_BYTES)
    if (
      bytes.readUInt32LE(at + offset('segment', 'kind')) === kinds.stacks &&
      bytes.readUInt32LE(at + offset('segment', 'order')) === order
    )
      change(bytes, at);
  const file = join(folder, 'changed');
  writeFileSync(file, bytes);
  return file;
}

describe('damage', () => {
  test.each([0, 1])('in segment %d of the stacks loses its nodes, and is reported', (order) => {
    const flip = (bytes: Buffer, at: number) => {
      bytes[at + 5000] = (bytes[at + 5000] ?? 0) ^ 1;
    };
    const trace = openTrace(changed(order, flip));
    const process = trace.busiest as TraceProcess;
    const inner = trace.stackOf(process, deep);
    const outer = trace.stackOf(process, 3);
    expect(trace.damage.join()).toMatch(/segment \d+ does not add up: left out/);
    // The numbers of the other nodes stay what they were.
    expect(inner).toEqual(order === 0 ? [0x10000 + 16 * 4499] : []);
    expect(outer).toEqual(order === 0 ? [] : [0x3000, 0x2000, 0x1000]);
    trace.close();
  });

  test('that makes a loop of the tree ends', () => {
    const loop = (bytes: Buffer, at: number) => {
      bytes.writeUInt32LE(0, at + offset('segment', 'sealed'));
      bytes.writeUInt32LE(3, at + 64 + offset('frame', 'parent'));
    };
    const trace = openTrace(changed(0, loop));
    expect(trace.stackOf(trace.busiest as TraceProcess, 3).length).toBeLessThan(4);
    trace.close();
  });
});

test('a trace of version 2 is read: it has no stacks', () => {
  const file = writeTrace(join(folder, 'old'), [{ op: 'malloc', address: 0x100010, size: 10 }]);
  const bytes = readFileSync(file);
  bytes.writeUInt32LE(2, offset('header', 'version'));
  writeFileSync(file, bytes);
  const trace = openTrace(file);
  const process = trace.busiest as TraceProcess;
  const events = [...trace.events(process)];
  expect(events).toHaveLength(1);
  expect(events[0]).toMatchObject({ size: 10, stack: 0 });
  expect(trace.stackOf(process, 1)).toEqual([]);
  expect([trace.stacks, trace.damage]).toEqual([false, []]);
  trace.close();
});
