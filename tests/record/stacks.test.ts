// The stacks of `record --stacks`, compared with GDB's at the same calls.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { findNative } from '../../scripts/lib/native-files.ts';
import { root } from '../../scripts/lib/paths.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { frameFlags, isAllocation, openTrace, type Trace } from '../../scripts/trace/trace.ts';
import { play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { long } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const folder = testFolder();

interface Seen {
  pid: number;
  number: number;
  frames: { pc: number; name: string; file: string }[];
}

const STOPS = 10;

/** Stops a recorded program at ten random calls; returns GDB's stacks there, and the trace. */
async function seenByGdb(
  words: string[],
  { gap, follow = 'parent' }: { gap: number; follow?: 'parent' | 'child' },
): Promise<{ seen: Seen[]; trace: Trace }> {
  const [file, out] = [join(folder, 'trace'), join(folder, 'seen.json')];
  rmSync(file, { force: true });
  const preload = `LD_PRELOAD=${findNative('libmalloc-trace.so')}`;
  const settings = `py STOPS, GAP, SEED, OUT, FOLLOW = ${STOPS}, ${long ? 10 * gap : gap}, 7, '${out}', '${follow}'`;
  const { stderr } = await play(
    [
      ...[need('gdb'), '-nx', '-batch', '-ex', settings],
      ...['-ex', `set exec-wrapper env ${preload} LIBMALLOC_TRACE=stacks,${file}`],
      ...['-x', join(root, 'tests', 'programs', 'stacks-seen-by-gdb.py'), '--args', ...words],
    ],
    { cwd: folder, env: { PYTHONMALLOC: 'malloc' } },
  );
  try {
    return { seen: JSON.parse(readFileSync(out, 'utf8')), trace: openTrace(file) };
  } catch (cause) {
    throw new Error(`GDB saw nothing:\n${stderr}`, { cause });
  }
}

function agree({ seen, trace }: { seen: Seen[]; trace: Trace }): void {
  expect(seen).toHaveLength(STOPS);
  for (const { pid, number, frames: all } of seen) {
    // Nobody calls the entry of the dynamic linker; from there GDB 16 takes words of the stack for frames.
    const entry = all.findIndex(({ name }) => name === '_dl_start_user');
    const frames = entry < 0 ? all : all.slice(0, entry + 1);
    const process = trace.processes.filter((each) => each.pid === pid).at(-1);
    if (!process) throw new Error(`the trace knows no process ${pid}`);
    const hex = (addresses: readonly number[]) => addresses.map((each) => each.toString(16));
    // GDB guesses in code without symbols and tables; both must agree up to there.
    const calls = trace.calls(process);
    let known = frames.length;
    for (let [node, depth] = [number, 0]; node > 0; node = calls.parent[node] as number, depth++)
      if ((calls.flags[node] as number) & frameFlags.jit) known = Math.min(known, depth);
    const ours = trace.stackOf(process, number);
    const whole = known === frames.length ? ours : ours.slice(0, known);
    expect(hex(whole), JSON.stringify(frames, null, 1)).toEqual(
      hex(frames.slice(0, known).map(({ pc }) => pc)),
    );
    expect(frames.length).toBeGreaterThan(2);
  }
  trace.close();
}

describe('the stack of a call is the one that GDB sees', () => {
  test('in sqlite3, which is stripped', async () => {
    const script = join(folder, 'query.sql');
    const sql = [
      'create table t(a, b);',
      'with recursive c(x) as (select 1 union all select x + 1 from c where x < 3000)',
      'insert into t select x, hex(x) from c;',
      "select a.a, b.b from t a join t b on a.b = b.b where a.a like '%7%' order by b.b desc;",
    ];
    writeFileSync(script, sql.join('\n'));
    agree(await seenByGdb([need('sqlite3'), '-init', script, ':memory:', '.quit'], { gap: 200 }));
  });

  test('in redis-server under load', async () => {
    const [server, benchmark] = [need('redis-server'), need('redis-benchmark')];
    const port = String(20_000 + (process.pid % 10_000));
    // The load starts as soon as the server listens, and continues until it has ended.
    const tests = ['-q', '-n', '3000', '-t', 'set,get,lpush,lrange_100'];
    const load = `until ${benchmark} -p ${port} ${tests.join(' ')}; do sleep 0.2; done`;
    const loading = execa('timeout', ['60', 'sh', '-c', load], {
      reject: false,
      stdio: 'ignore',
    });
    try {
      const words = [server, '--port', port, '--save', '', '--io-threads', '2'];
      agree(await seenByGdb(words, { gap: 700 }));
    } finally {
      loading.kill();
      await loading;
    }
  });

  test('in the compiler that g++ -c starts', async () => {
    const source = join(root, 'tests', 'programs', 'threaded.cc');
    const words = [need('g++'), '-O1', '-c', '-o', join(folder, 'object'), source];
    agree(await seenByGdb(words, { gap: 900, follow: 'child' }));
  });

  test('in a script of Python', async () => {
    const script = 'import json, re; [re.sub("a", "b", json.dumps({"a": i})) for i in range(9999)]';
    agree(await seenByGdb([need('python3'), '-c', script], { gap: 1000 }));
  });

  test('in a script of Node', async () => {
    const script =
      'for (let i = 0; i < 999; i++) { JSON.parse(JSON.stringify({ i: Buffer.alloc(5000 + i) })); ' +
      'require("zlib").deflateSync("x".repeat(5000)); new RegExp("a" + i).test("b"); }';
    agree(await seenByGdb([process.execPath, '-e', script], { gap: 700 }));
  });

  test('in C++ with threads, stripped, through libstdc++', async () => {
    const program = compileProgram('threaded.cc', { flags: ['-O2', '-std=c++17', '-s'] });
    agree(await seenByGdb([program, '40'], { gap: 700 }));
  });
});

/** Records a program with stacks. */
async function record(...words: string[]): Promise<Trace> {
  const file = join(folder, 'recorded');
  rmSync(file, { force: true });
  const { status, stderr } = await launch(resolveMalloc('glibc'), words, {
    trace: `stacks,${file}`,
    timeout: 100,
  });
  expect(status, String(stderr)).toBe(0);
  return openTrace(file);
}

describe('a stack', () => {
  test('exists for every call, of every thread and of forked children', async () => {
    const trace = await record(compileProgram('traced.c'), 'fork');
    expect(trace.damage).toEqual([]);
    expect(trace.processes).toHaveLength(3);
    for (const each of trace.processes)
      for (const event of trace.events(each)) {
        if (!isAllocation(event.op)) continue;
        const stack = trace.stackOf(each, event.stack);
        expect(stack[0]).toBe(event.site);
        expect(stack.length).toBeGreaterThan(2);
      }
    trace.close();
  });

  test('goes through code generated at run time, and labels it so', async () => {
    const script =
      'function hot(n) { let s = 0; for (let i = 0; i < n; i++) s += i % 7; return Buffer.allocUnsafeSlow(4e4 + s % 2); }' +
      'for (let i = 0; i < 30000; i++) hot(100);';
    const trace = await record(process.execPath, '-e', script);
    const main = trace.busiest as NonNullable<typeof trace.busiest>;
    const calls = trace.calls(main);
    const isJit = (node: number): boolean => ((calls.flags[node] as number) & frameFlags.jit) !== 0;
    let through = 0;
    const stacks = new Set<number>();
    for (const { stack, op } of trace.events(main)) if (isAllocation(op)) stacks.add(stack);
    for (const stack of stacks) {
      let [jit, beyond] = [false, false];
      for (let node = stack; node > 0; node = calls.parent[node] as number) {
        beyond ||= jit && !isJit(node) && calls.parent[node] === 0;
        jit ||= isJit(node);
      }
      if (jit && beyond) through++;
    }
    expect(through, 'stacks that go through such code to the outermost frame').toBeGreaterThan(3);
    trace.close();
  });

  /** The stacks of the blocks of 4711 bytes: which frames they have, innermost first. */
  async function odd(
    ...words: string[]
  ): Promise<{ depth: number; signals: number; cut: boolean }[]> {
    const program = compileProgram('odd-stacks.c', { flags: ['-O2', '-Wno-vla'] });
    const trace = await record(program, ...words);
    const main = trace.busiest as NonNullable<typeof trace.busiest>;
    const { parent, flags } = trace.calls(main);
    const found: { depth: number; signals: number; cut: boolean }[] = [];
    for (const { op, size, stack } of trace.events(main)) {
      if (!isAllocation(op) || size !== 4711) continue;
      const nodes: number[] = [];
      for (let node = stack; node > 0; node = parent[node] as number) nodes.push(node);
      const are = (flag: number) => nodes.filter((node) => ((flags[node] as number) & flag) !== 0);
      found.push({
        depth: nodes.length,
        signals: are(frameFlags.signal).length,
        cut: are(frameFlags.cut).length > 0,
      });
    }
    trace.close();
    return found;
  }

  test('goes from a signal handler on its own stack to the interrupted code', async () => {
    // allocate, handler, restorer, raise and its kin, interrupted, in_signal, main, libc, _start
    const [seen, ...more] = await odd('signal');
    expect(more).toEqual([]);
    expect(seen).toMatchObject({ signals: 1, cut: false });
    expect(seen?.depth).toBeGreaterThan(7);
  });

  test('of a coroutine begins at its start, although its memory is unmapped later', async () => {
    const seen = await odd('coroutine');
    expect(seen).toHaveLength(10);
    // allocate, and glibc's __start_context, whose unwind table does not mark it as outermost.
    for (const each of seen) expect(each).toMatchObject({ depth: 2, signals: 0 });
  });

  test('is right in libraries that reuse each other’s addresses', async () => {
    const plugin = (bytes: number): string =>
      compileProgram('plugin.c', { flags: ['-O2', '-shared', '-fPIC', `-DBYTES=${bytes}`] });
    const seen = await odd('plugin', plugin(1000), plugin(1500));
    expect(seen).toHaveLength(20);
    // allocate, plugin_call, in_plugins, main, two of libc, _start
    for (const each of seen) expect(each).toEqual({ ...seen[0], signals: 0, cut: false });
    expect(seen[0]?.depth).toBeGreaterThan(5);
  });

  test('exists on the smallest thread stack', async () => {
    const seen = await odd('small');
    expect(seen).toMatchObject([{ signals: 0, cut: false }]);
    expect(seen[0]?.depth).toBeGreaterThan(3);
  });

  test('goes through frames that are realigned', async () => {
    const seen = await odd('realigned');
    expect(seen).toHaveLength(5);
    // allocate, six of realigned, main, two of libc, _start (allocate or main may be inlined)
    for (const each of seen) expect(each).toEqual({ ...seen[0], signals: 0, cut: false });
    expect(seen[0]?.depth).toBeGreaterThan(9);
  });

  test('of a child that a signal handler forked while its parent walked is the child’s', async () => {
    const trace = await record(compileProgram('fork-in-handler.c'));
    expect(trace.processes).toHaveLength(31);
    expect(trace.damage).toEqual([]);
    for (const each of trace.processes)
      for (const event of trace.events(each)) {
        if (!isAllocation(event.op) || event.stack === 0) continue;
        expect(trace.stackOf(each, event.stack)[0]).toBe(event.site);
      }
    trace.close();
  });

  test('of a deep recursion is truncated, and the trace stays small', async () => {
    const trace = await record(compileProgram('recursion.c', { flags: ['-O1'] }), '20000');
    const main = trace.busiest as NonNullable<typeof trace.busiest>;
    const calls = trace.calls(main);
    let deepest = 0;
    for (const { stack } of trace.events(main))
      deepest = Math.max(deepest, trace.stackOf(main, stack).length);
    expect(deepest).toBeGreaterThan(127);
    expect(deepest).toBeLessThan(600);
    // 20,000 levels, two calls at each: a few nodes a level, not hundreds.
    expect(calls.length).toBeLessThan(20_000 * 8);
    expect(calls.flags.some((flags) => (flags & frameFlags.cut) !== 0)).toBe(true);
    trace.close();
  });
});
