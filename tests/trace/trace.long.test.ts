// Ten million calls of a real program: recorded, compared with its own count, replayed on five mallocs.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openSource } from '../../scripts/foreign/source.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { play } from '../../scripts/replay/play.ts';
import { countsOf } from '../../scripts/run/counts.ts';
import { type PlanFigures, writePlan } from '../../scripts/trace/plan.ts';
import { openTrace } from '../../scripts/trace/trace.ts';
import { pageOf } from '../../scripts/view/fill.ts';
import { gather } from '../../scripts/view/gather.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { readTrace } from '../lib/trace.ts';

const script = `
def tree(n):
    return None if n == 0 else [tree(n - 1), tree(n - 1)]
total = 0
for k in range(40):
    t = tree(14)
    total += len({str(i): [i] * (i % 20) for i in range(20000)})
print(total)
`;
const mallocs = ['paged', 'sharded', 'glibc', 'jemalloc', 'mimalloc'];
const env = { ...process.env, PYTHONMALLOC: 'malloc', PYTHONHASHSEED: '0' };
const folder = testFolder();
writeFileSync(join(folder, 'trees.py'), script);
let command: string[] = [];
let figures: PlanFigures;

describe('python, twelve million calls', () => {
  const trace = (): string => join(folder, 'trace');

  test('are all in the trace: counting them by themselves gives the same', {
    timeout: 600_000,
  }, async () => {
    command = [need('python3'), join(folder, 'trees.py')];
    const m = resolveMalloc('paged');
    const run = await launch(m, command, { trace: trace(), env });
    expect({ status: run.status, out: run.stdout.toString() }).toEqual({
      status: 0,
      out: '800000\n',
    });
    await launch(m, command, { trace: `count,${join(folder, 'counts')}`, env });
    const counted = openTrace(join(folder, 'counts'));
    const [process] = counted.processes;
    const counts = process && countsOf(counted, process);
    counted.close();
    const { processes, damage } = readTrace(trace());
    const [sum] = processes;
    expect(damage).toEqual([]);
    expect(sum?.ledger.overlaps).toBe(0);
    expect(sum?.ledger.strays).toBe(0);
    expect(sum?.ledger.allocations).toBeGreaterThan(5e6);
    // What python does with addresses (sorting, hashing by id) may differ by a few calls.
    for (const name of ['malloc', 'calloc', 'realloc', 'free'])
      expect(Math.abs((sum?.events[name] ?? 0) - (counts?.calls[name] ?? 0)), name).toBeLessThan(
        200,
      );
  });

  test('become a plan within bounded memory', { timeout: 600_000 }, async () => {
    const source = openSource(trace(), undefined);
    const before = process.memoryUsage().rss;
    figures = await writePlan(join(folder, 'plan'), source.steps());
    source.close();
    expect(figures.calls).toBeGreaterThan(10e6);
    expect(process.memoryUsage().rss - before).toBeLessThan(400e6);
  });

  test('become a page within bounded memory, small, and exact where it can be shown', {
    timeout: 600_000,
  }, async () => {
    const opened = openTrace(trace());
    const before = process.memoryUsage().rss;
    const data = await gather(opened);
    opened.close();
    expect(process.memoryUsage().rss - before).toBeLessThan(400e6);
    expect(pageOf([data]).length).toBeLessThan(8e6);
    expect(data.facts.events).toBeGreaterThan(10e6);
    expect(data.facts).toMatchObject({ strays: 0, overlaps: 0, damage: [] });
    const { stops } = data.columns;
    expect(Math.max(...stops.bytes)).toBeLessThanOrEqual(data.facts.peakBytes);
    expect(stops.bytes.length * data.facts.every).toBeGreaterThan(data.facts.events);
  });

  test('are played on all of them', { timeout: 900_000 }, async () => {
    for (const name of ['jemalloc', 'mimalloc']) need(name);
    const all = mallocs.map((name) => resolveMalloc(name));
    const played = await play(join(folder, 'plan'), figures, all, { runs: 1, timeout: 200 });
    for (const each of played) {
      expect(each.failure, each.malloc).toBeUndefined();
      expect(each.fragmentation, each.malloc).toBeGreaterThan(0.5);
      expect(each.fragmentation, each.malloc).toBeLessThan(4);
    }
  });
});
