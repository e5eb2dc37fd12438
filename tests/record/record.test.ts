import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { findNative } from '../../scripts/lib/native-files.ts';
import { root } from '../../scripts/lib/paths.ts';
import { defaultVariant, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { allocations } from '../../scripts/trace/format.ts';
import { Ledger, Op, openTrace } from '../../scripts/trace/trace.ts';
import { cli, libmalloc, play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';
import { ownCounts, readTrace, type Sum } from '../lib/trace.ts';

const folder = testFolder();
const traced = compileProgram('traced.c');

let traces = 0;

/** Records a command as the verb does, and reads the trace. */
async function record(
  options: { malloc?: string; words?: string; env?: NodeJS.ProcessEnv },
  ...command: string[]
) {
  const file = join(folder, `trace-${traces++}`);
  const env = { ...process.env, ...options.env };
  const trace = `${options.words ?? ''}${file}`;
  const { status, stdout } = await launch(resolveMalloc(options.malloc), command, {
    trace,
    env,
    timeout: 100,
  });
  return { status, stdout: stdout.toString(), file, ...readTrace(file) };
}

/** Compares a process with its own counts: calls, bytes, and no block lost or seen twice. */
function agree(sum: Sum | undefined, counts: Record<string, number> | undefined): void {
  if (!sum || !counts) throw new Error(`no ${sum ? 'count of its own' : 'record'} of the process`);
  const { events, ledger } = sum;
  for (const name of allocations.filter((each) => each !== 'calloc'))
    expect(events[name] ?? 0, name).toBe(counts[name]);
  // pthread_create allocates by calloc, and every thread frees NULL a few times at its end.
  const more = (events.calloc ?? 0) - (counts.calloc ?? 0);
  expect(more).toBeGreaterThanOrEqual(0);
  expect(more).toBeLessThan(sum.threads);
  if (more === 0) expect(ledger.totalBytes).toBe(counts.bytes);
  expect(ledger.overlaps).toBe(0);
  expect(sum.unordered).toBe(0);
}

test('a small process takes a few KiB of the disk', async () => {
  const script = 'i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done';
  const { file, processes } = await record({ words: 'stacks,' }, 'sh', '-c', script);
  expect(processes).toHaveLength(101);
  // 16 KiB where the disk has blocks of 4 KiB: its names, its maps, its calls.
  expect((statSync(file).blocks * 512) / 101).toBeLessThan(24 * 1024);
});

const mallocs = [defaultVariant(), 'paged', 'glibc'];

describe.each(mallocs)('a trace on %s', (m) => {
  test('has every call of every function, and the requested bytes', async () => {
    const { stdout, processes, damage, status } = await record(
      { malloc: m },
      traced,
      'plain',
      '20000',
    );
    expect(status).toBe(0);
    expect(damage).toEqual([]);
    const [counts] = ownCounts(stdout).values();
    agree(processes[0], counts);
    expect(processes[0]?.ledger.releases).toBe(processes[0]?.ledger.allocations);
    expect(processes[0]?.ledger.strays).toBe(0);
    expect(processes[0]?.events.free).toBe(counts?.free);
  });

  test('keeps the order in which blocks pass between threads', async () => {
    const { stdout, processes } = await record({ malloc: m }, traced, 'threads', '6', '40000');
    const [counts] = ownCounts(stdout).values();
    agree(processes[0], counts);
    expect(processes[0]?.threads).toBe(7);
    expect(processes[0]?.ledger.strays).toBe(0);
    expect(processes[0]?.ledger.liveBlocks).toBeGreaterThanOrEqual(
      Number(counts?.malloc) - Number(counts?.free),
    );
  });
});

describe('nothing is lost', () => {
  test('by kill -9', async () => {
    const { status, stdout, processes } = await record({}, traced, 'kill', '5000');
    expect(status).toBe(137);
    agree(processes[0], [...ownCounts(stdout).values()][0]);
  });

  test('by _exit', async () => {
    const { status, stdout, processes } = await record({}, traced, 'exit', '5000');
    expect(status).toBe(3);
    agree(processes[0], [...ownCounts(stdout).values()][0]);
  });

  test('by fork and exec: each process has its own events', async () => {
    const { stdout, processes } = await record({}, traced, 'fork');
    const counts = ownCounts(stdout);
    expect(counts.size).toBe(3);
    expect(processes).toHaveLength(3);
    for (const sum of processes) agree(sum, counts.get(sum.process.pid));
    const [parent, forked, executed] = processes;
    expect(forked?.process.parent).toBe(parent?.process.number);
    expect(forked?.ledger.strays, 'the block that it inherited').toBe(1);
    expect(executed?.process.parent).toBe(0);
    expect(executed?.process.command).toEqual([traced, 'plain', '10']);
    expect(executed?.process.executable).toBe(traced);
  });

  test('by threads that come and go, which share segments', async () => {
    const { stdout, processes, bytes } = await record({}, traced, 'churn', '1000');
    agree(processes[0], [...ownCounts(stdout).values()][0]);
    expect(processes[0]?.threads).toBeGreaterThan(900);
    expect(bytes).toBeLessThan(2 ** 21);
  });

  test('by signal handlers that interrupt the recorder', async () => {
    const shy = compileProgram('shy-malloc.c', { flags: ['-shared', '-fPIC'] });
    const { stdout, processes } = await record({ malloc: `shy=${shy}` }, traced, 'signals', '300');
    const [counts] = ownCounts(stdout).values();
    expect(Number(counts?.calloc)).toBeGreaterThanOrEqual(300);
    agree(processes[0], counts);
    expect(processes[0]?.events.free).toBe(counts?.free);
  });

  test('of a million calls, and each takes 16 bytes', async () => {
    const { stdout, processes, bytes } = await record({}, traced, 'threads', '2', '250000');
    agree(processes[0], [...ownCounts(stdout).values()][0]);
    const events = Object.values(processes[0]?.events ?? {}).reduce((sum, n) => sum + n, 0);
    expect(events).toBeGreaterThan(999_000);
    expect(bytes / events).toBeLessThan(17);
  });
});

test('agrees with valgrind about a real program', async () => {
  const valgrind = need('valgrind');
  const { stderr } = await execa(valgrind, ['--tool=memcheck', 'ls', '/usr/bin'], {
    env: { LC_ALL: 'C' },
  });
  const [, allocs, frees, bytes] =
    /total heap usage: ([\d,]+) allocs, ([\d,]+) frees, ([\d,]+) bytes/.exec(stderr) ?? [];
  const { processes } = await record({ malloc: 'glibc', env: { LC_ALL: 'C' } }, 'ls', '/usr/bin');
  const ledger = processes[0]?.ledger;
  const number = (text = '') => Number(text.replaceAll(',', ''));
  expect(ledger?.allocations).toBe(number(allocs));
  expect(ledger?.totalBytes).toBe(number(bytes));
  // valgrind also frees blocks that the C library keeps until the end.
  expect(ledger?.releases).toBeLessThanOrEqual(number(frees));
});

test('a malloc that calls its own public functions is recorded as the program sees it', async () => {
  const shy = compileProgram('shy-malloc.c', { flags: ['-shared', '-fPIC'] });
  const { processes } = await record({ malloc: `shy=${shy}` }, 'sort', '/etc/passwd');
  const { ledger, events } = processes[0] as Sum;
  expect(ledger.overlaps).toBe(0);
  expect(ledger.strays).toBe(0);
  expect(ledger.allocations).toBeGreaterThan(10);
  expect(events.release).toBeGreaterThan(0);
});

describe('the operators of C++', () => {
  // mimalloc's operator is written in C, and aborts instead of throwing.
  const throwing = ['glibc', defaultVariant(), 'jemalloc', 'tcmalloc'];

  test.each([...throwing, 'mimalloc'])('are recorded under %s, each once', async (malloc) => {
    if (!['glibc', defaultVariant()].includes(malloc)) need(malloc);
    const program = compileProgram('operators.cc');
    const all = throwing.includes(malloc);
    const more = all ? [] : ['no failure'];
    const { stdout, file, processes } = await record({ malloc, words: 'sites,' }, program, ...more);
    expect(stdout).toBe(all ? 'thrown\nnull\n' : '');
    const { ledger } = processes[0] as Sum;
    expect([ledger.strays, ledger.overlaps, ledger.liveBlocks < 20]).toEqual([0, 0, true]);
    const aligned = [2048, 2112, 2176, 2240, 2304, 2368];
    const sizes = [1001, 1002, 1003, 1004, 1005, 1006, ...aligned];
    const bySize = new Map<number, number>();
    const trace = openTrace(file);
    for (const { op, size, alignment, address } of trace.events()) {
      if (address === 0 || !sizes.includes(size)) continue;
      bySize.set(size, (bySize.get(size) ?? 0) + 1);
      expect(alignment).toBe(size < 2048 ? 0 : 64);
      expect(op).toBe(size < 2048 ? Op.malloc : Op.aligned_alloc);
      expect(address % Math.max(16, alignment)).toBe(0);
    }
    trace.close();
    expect([...bySize].sort(([a], [b]) => a - b)).toEqual(sizes.map((size) => [size, 100]));
  });
});

describe('C++', () => {
  test('has the caller of new as its site', async () => {
    const program = compileProgram('operators.cc');
    const { file } = await record({ malloc: 'glibc', words: 'sites,' }, program);
    const trace = openTrace(file);
    const [process] = trace.processes;
    const code = trace
      .maps(process as NonNullable<typeof process>)
      .join('')
      .split('\n');
    const own = code.find((line) => / r.xp /.test(line) && line.endsWith(program)) ?? '';
    const [from = 0, to = 0] = own.split(/[- ]/).map((text) => Number.parseInt(text, 16));
    let calls = 0;
    for (const { size, site } of trace.events()) {
      if (size < 1001 || size > 1006) continue;
      calls++;
      expect(site).toBeGreaterThan(from);
      expect(site).toBeLessThan(to);
    }
    expect(calls).toBe(600);
    trace.close();
  });

  test('is unchanged in a program with its own operators', async () => {
    const { stdout, processes } = await record(
      { malloc: 'glibc' },
      compileProgram('replaced-new.cc'),
    );
    expect(stdout).toBe('5 news, 5 deletes\n');
    expect(processes[0]?.ledger.strays).toBe(0);
  });
});

describe('with options', () => {
  test('--sites: each call names the code that made it', async () => {
    const { file, processes } = await record({ words: 'sites,' }, traced, 'plain', '300');
    const trace = openTrace(file);
    const [process] = trace.processes;
    expect(trace.sites).toBe(true);
    const code = trace
      .maps(process as NonNullable<typeof process>)
      .join('')
      .split('\n')
      .map((line) => /^([0-9a-f]+)-([0-9a-f]+) r.x.* (\/\S+)$/.exec(line))
      .filter((match) => match !== null)
      .map(([, from = '', to = '', name]) => ({
        from: Number.parseInt(from, 16),
        to: Number.parseInt(to, 16),
        name,
      }));
    const files = new Set<string | undefined>();
    for (const { op, site } of trace.events(process))
      if (op !== Op.footprint && op !== Op.release)
        files.add(code.find(({ from, to }) => site >= from && site < to)?.name);
    trace.close();
    expect([...files]).toEqual([traced]);
    expect(processes[0]?.ledger.strays).toBe(0);
  });

  test('--snapshots: the heap from inside agrees with the calls so far', async () => {
    const { file } = await record(
      { malloc: 'paged', words: 'snapshots=1000,' },
      traced,
      'plain',
      '500',
    );
    const trace = openTrace(file);
    const [process] = trace.processes;
    const live = new Set<number>();
    let seen = 0;
    for (const event of trace.events(process)) {
      if (event.op === Op.snapshot && process) {
        seen++;
        const chunks = [...trace.chunks(process, event.size)];
        expect(chunks).toHaveLength(event.address);
        const blocks = chunks.filter(({ kind }) => kind === 'live').map(({ user }) => user);
        for (const address of live) expect(blocks).toContain(address);
        expect(blocks).toHaveLength(live.size);
      } else if (event.op >= Op.free && event.op <= Op.release) live.delete(event.address);
      else if (event.address !== 0) live.add(event.address);
    }
    trace.close();
    expect(seen).toBeGreaterThan(3);
  });

  test.each(['paged', 'sharded'])(
    '--snapshots on %s: at growth by a quarter, at the peak, at the end',
    async (malloc) => {
      const { file, processes } = await record(
        { malloc, words: 'snapshots,' },
        compileProgram('peaks.c'),
      );
      const trace = openTrace(file);
      const [process] = trace.processes;
      const ledger = new Ledger();
      const seen: { live: number; blocks: number; index: number; chunks: number }[] = [];
      let events = 0;
      for (const event of trace.events(process)) {
        ledger.apply(event);
        events++;
        if (event.op !== Op.snapshot || !process) continue;
        const chunks = [...trace.chunks(process, event.size)].filter(({ kind }) => kind === 'live');
        const { liveBytes: live, liveBlocks: blocks } = ledger;
        seen.push({ live, blocks, index: event.index, chunks: chunks.length });
      }
      trace.close();
      const peak = processes[0]?.ledger.peakBytes ?? 0;
      // Less than a 64th below the highest moment, and equal to the trace at that moment.
      const high = [...seen].sort((a, b) => b.live - a.live)[0];
      expect(high?.live).toBeGreaterThan(peak * (1 - 1 / 60));
      expect(high?.chunks).toBe(high?.blocks);
      expect(seen.at(-1)?.index).toBeGreaterThan(events - 5);
      // During growth, no snapshot is more than a quarter plus a block above the one before.
      const rising = seen.slice(0, seen.indexOf(high as (typeof seen)[number]) + 1);
      for (const [i, { live }] of rising.entries()) {
        const before = Math.max(16_384, ...rising.slice(0, i).map((each) => each.live));
        expect(live).toBeLessThan(before * 1.3 + 4096);
      }
      expect(seen.length).toBeLessThan(200);
    },
  );

  test('--snapshots takes none if nothing grows', async () => {
    const { file } = await record(
      { malloc: 'paged', words: 'snapshots,' },
      compileProgram('one-block.c'),
    );
    const trace = openTrace(file);
    let count = 0;
    for (const { op } of trace.events()) if (op === Op.snapshot) count++;
    trace.close();
    expect(count).toBeLessThan(4);
  });
});

describe('the verb', () => {
  const m = defaultVariant();
  const verb = (file: string, ...args: string[]) =>
    libmalloc(['record', '-o', join(folder, file), ...args]);

  test('prints one line about the recording, and replaces an earlier trace', async () => {
    const { status, stdout, stderr } = await verb('one', '--', traced, 'kill', '100');
    expect(status).toBe(137);
    expect(stdout).toMatch(/^malloc=100 /);
    expect(stderr).toMatch(
      new RegExp(
        '^libmalloc: traced\\S* was ended by SIGKILL\\n' +
          `libmalloc: [\\d,]+ records of ${m} in 1 process \\(traced\\S*\\): /\\S+, [\\d.]+ kB$`,
      ),
    );
    await verb('one', '-q', '--', 'true');
    expect(readTrace(join(folder, 'one')).processes).toHaveLength(1);
  });

  test('says with --progress how large the trace is, while the program runs', async () => {
    const { status, stderr } = await verb('slow', '--progress', '--', 'sleep', '2');
    expect(status).toBe(0);
    expect(stderr).toMatch(/^libmalloc: record: [\d.]+ kB\n(?:.*\n)*libmalloc: \d+ records of /);
    expect((await verb('slow', '--', 'sleep', '2')).stderr).toMatch(
      /^libmalloc: \d+ records[^\n]*$/,
    );
  });

  test.each([
    ['elsewhere, in a line that goes again', '>/dev/null', '', true],
    ['to the terminal, not a word', '', '', false],
    ['to the terminal, with --progress all the same', '', '--progress', true],
    ['elsewhere, with -q not a word', '>/dev/null', '-q', false],
  ])('on a terminal, the output going %s', async (_, to, option, says) => {
    const file = join(folder, 'terminal');
    const words = [...cli, 'record', ...(option ? [option] : []), '-o', file, '--', 'sleep', '2'];
    const script = `${words.map((word) => `'${word}'`).join(' ')} ${to}; echo over`;
    const driver = join(root, 'tests', 'programs', 'terminal.py');
    const steps = [...(says ? [['expect', 'record: ']] : []), ['expect', 'over']];
    const { status, stdout } = await play(
      [need('python3'), driver, JSON.stringify(steps), 'sh', '-c', script],
      { env: { TERM: 'xterm', NO_COLOR: '1' } },
    );
    expect(status, stdout).toBe(0);
    const rest = option === '-q' ? '' : String.raw`libmalloc: \d+ records of [^\r\n]*\r\n`;
    // Each line replaces the one before, and the last one is cleared before any other output.
    const line = String.raw`\r\x1b\[K`;
    const said = says ? `(?:${line}record: [\\d.]+ kB)+${line}` : `(?:${line})?`;
    expect(stdout).toMatch(new RegExp(`^${said}${rest}over\\s*$`));
  });

  test('writes --json: what happened, and in which processes', async () => {
    const json = join(folder, 'record.json');
    const script = 'ls / >/dev/null; exit 4';
    await verb(
      'two',
      '--sites',
      '--snapshots',
      '--json',
      json,
      '-m',
      'glibc',
      '--',
      'sh',
      '-c',
      script,
    );
    const found = JSON.parse(readFileSync(json, 'utf8'));
    expect(found).toMatchObject({
      schema: 'libmalloc/record/1',
      status: 4,
      proven: true,
      malloc: { name: 'glibc' },
      trace: { lost: 0, damage: [] },
    });
    expect(found.processes).toHaveLength(2);
    const trace = openTrace(join(folder, 'two'));
    expect({ sites: trace.sites, snapshots: trace.snapshots }).toEqual({
      sites: true,
      snapshots: true,
    });
    trace.close();
  });

  test('leaves output, descriptors and status to the program', async () => {
    const script = 'echo out; echo err >&2; ls /proc/self/fd; exit 3';
    const bare = await libmalloc(['run', '-q', '--', 'sh', '-c', script]);
    const { status, stdout, stderr } = await verb('three', '-q', '--', 'sh', '-c', script);
    expect({ status, stdout, stderr }).toEqual(bare);
    expect(bare).toMatchObject({ status: 3, stderr: 'err' });
  });

  test('lets the program continue when the disk is full, and says how much is lost', async () => {
    const limited = `ulimit -f 1024; exec ${traced} plain 20000`;
    const { status, stderr, stdout } = await verb('full', '--', 'bash', '-c', limited);
    expect(status).toBe(0);
    expect(ownCounts(stdout).size).toBe(1);
    expect(stderr).toMatch(/[1-9]\d* records are lost: the disk was full/);
    const { processes, damage } = readTrace(join(folder, 'full'));
    expect(damage.join()).toContain('lost');
    expect(processes.at(-1)?.ledger.allocations).toBeGreaterThan(5_000);
  });

  test('says when a process cannot open the file any more', async () => {
    const script = [
      'import resource',
      'resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))',
      'x = [bytes(1000) for i in range(20000)]',
    ].join('\n');
    const args = ['shut', '--', need('python3'), '-c', script] as const;
    const { status, stderr } = await verb(...args);
    expect(status).toBe(0);
    expect(stderr).toMatch(/[1-9]\d* records are lost: a process could not open the file any more/);
    const { damage } = readTrace(join(folder, 'shut'));
    expect(damage.join()).not.toContain('the disk was full');
  });
});

describe('refused', () => {
  const refuse = async (args: string[], message: RegExp, hint: RegExp) => {
    const { status, stdout, stderr } = await libmalloc(['record', ...args, '--', 'true']);
    expect(stdout).toBe('');
    expect(status).toBe(125);
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(hint);
  };

  test('a file that is no trace is not overwritten', async () => {
    const file = join(folder, 'letter');
    writeFileSync(file, 'dear reader');
    await refuse(['-o', file], /letter is there already, and is no trace/, /another name/);
    expect(readFileSync(file, 'utf8')).toBe('dear reader');
  });

  test('a missing folder', () =>
    refuse(['-o', join(folder, 'no/where')], /there is no folder/, /give --output a path/));
  test('no file at all', () => refuse([], /no file for the trace/, /record -o FILE -- CMD/));
  test('an invalid number of calls', () =>
    refuse(['-o', 'x', '--snapshots', '0'], /a number of calls above 0/, /--help/));
  test('standard output for JSON', () =>
    refuse(['-o', 'x', '--json', '-'], /standard output belongs to the program/, /give a file/));

  test('a broken LIBMALLOC_TRACE, by run, too', async () => {
    const { status, stderr } = await libmalloc(['run', '--', 'true'], {
      env: { LIBMALLOC_TRACE: 'relative' },
    });
    expect(status).toBe(125);
    expect(stderr).toContain("broken value LIBMALLOC_TRACE='relative'");
  });
});

describe('the library, used by hand,', () => {
  const library = () => findNative('libmalloc-trace.so') as string;

  test('passes calls through without LIBMALLOC_TRACE', async () => {
    const { stdout, stderr } = await execa('ls', ['/'], { env: { LD_PRELOAD: library() } });
    expect(stdout).toContain('usr');
    expect(stderr).toBe('');
  });

  test.each(['nonsense', 'sites,', 'other,/tmp/x', ''])(
    'ignores LIBMALLOC_TRACE=%s',
    async (value) => {
      const { exitCode, stderr } = await execa('ls', ['/'], {
        env: { LD_PRELOAD: library(), LIBMALLOC_TRACE: value },
      });
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    },
  );

  test('adds processes to an existing trace, and does not touch other files', async () => {
    const file = join(folder, 'by-hand');
    const env = { LD_PRELOAD: library(), LIBMALLOC_TRACE: file };
    await execa('ls', ['/'], { env });
    await execa('ls', ['/usr'], { env });
    expect(readTrace(file).processes).toHaveLength(2);
    writeFileSync(file, 'somebody else’s');
    await execa('ls', ['/'], { env });
    expect(readFileSync(file, 'utf8')).toBe('somebody else’s');
  });
});
