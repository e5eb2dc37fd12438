/** What `make test` runs elsewhere: aarch64 under qemu-user, and musl; the rest is `make ports`. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { caseProgram } from '../../scripts/check/compile-case.ts';
import { casesOf } from '../../scripts/check/groups.ts';
import { root } from '../../scripts/lib/paths.ts';
import { disproof, readReports } from '../../scripts/malloc/proof.ts';
import { allocations } from '../../scripts/trace/format.ts';
import { buildPort, type Port, targetMachine } from '../lib/machines.ts';
import { need, skip } from '../lib/need.ts';
import { ownCounts, readTrace } from '../lib/trace.ts';
import { tryCase } from '../lib/tried.ts';

const variants = ['paged', 'sharded'];
const groups = ['semantics', 'threads', 'process'] as const;
/** Fast ones everywhere; what is not `quick` takes minutes under an emulator. */
const cases = groups.flatMap((group) =>
  casesOf(group).filter(({ quick }) => quick || group === 'semantics'),
);

describe.each(['aarch64-linux-gnu', 'x86_64-linux-musl'])('%s', (name) => {
  let made: Promise<Port> | undefined;
  const machine = (): Promise<Port> => {
    made ??= (async () => {
      const port = targetMachine(name);
      await buildPort(port, [...variants, 'probe', 'trace']);
      return port;
    })();
    return made;
  };

  for (const variant of variants)
    test.each(cases.map((each) => [`${each.group}/${each.name}`, each] as const))(
      `${variant}: %s`,
      async (_, each) => {
        const verdict = await tryCase(await machine(), variant, each);
        if (verdict.state === 'skipped') skip(verdict.because ?? '');
        expect(verdict.state, verdict.because).not.toBe('failed');
      },
    );

  test('paged: a thread that aborts leaves alone the lock of another, which is in malloc', async () => {
    const port = await machine();
    const argv = [caseProgram('abort-held', ['-rdynamic'], port)];
    const [file = '', ...args] = port.command(argv, {
      LD_PRELOAD: join(port.libraries, 'libmalloc-paged.so'),
    });
    execFileSync(file, args, { stdio: 'pipe' });
  });

  test('the probe proves which malloc was in use', async () => {
    const port = await machine();
    const at = await ran(port, ['plain', '10']);
    expect(disproof(at.malloc, at.proofs)).toBeUndefined();
    expect(disproof({ ...at.malloc, file: '/other.so' }, at.proofs)).toBeDefined();
  });

  test('a trace holds the calls that the program made, and few of libc’s', async () => {
    const port = await machine();
    const { trace, own } = await ran(port, ['threads', '4', '500']);
    expect(trace.damage).toEqual([]);
    const [{ process, events, unordered } = expect.fail('no process'), ...others] = trace.processes;
    expect(others).toEqual([]);
    expect(unordered).toBe(0);
    const counts = own.get(process.pid) ?? {};
    for (const call of allocations) {
      const more = (events[call] ?? 0) - (counts[call] ?? Number.NaN);
      expect(more, call).toBeGreaterThanOrEqual(0);
      expect(more, call).toBeLessThanOrEqual(8);
    }
  });
});

/** What traced.c did on a machine, under the probe, the recorder and sharded. */
async function ran(port: Port, words: string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-port-'));
  const library = (of: string) => join(port.libraries, `libmalloc-${of}.so`);
  try {
    const argv = [caseProgram('traced', [], port), ...words];
    const [file = '', ...args] = port.command(argv, {
      LD_PRELOAD: [library('sharded'), library('probe')].join(':'),
      LIBMALLOC_REPORT: join(folder, 'report'),
    });
    execFileSync(file, args, { stdio: 'pipe' });
    const [again = '', ...rest] = port.command(argv, {
      LD_PRELOAD: [library('trace'), library('sharded')].join(':'),
      LIBMALLOC_TRACE: `sites,${join(folder, 'trace')}`,
    });
    const printed = execFileSync(again, rest, { stdio: 'pipe', encoding: 'utf8' });
    return {
      malloc: { name: 'sharded', kind: 'variant' as const, file: library('sharded') },
      proofs: readReports(join(folder, 'report')),
      trace: readTrace(join(folder, 'trace')),
      own: ownCounts(printed),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test.each([
  ['a 32-bit target', '-m32'],
  ['another processor', '-U__x86_64__'],
])('%s is one clear error', (_, flag) => {
  if (process.arch !== 'x64') skip('only the compiler of x86-64 has -m32');
  need('gcc');
  for (const file of ['list.c', 'sharded.c', 'tools/probe.c', 'tools/trace.c', 'tools/replay.c']) {
    let said = '';
    try {
      const args = [flag, '-fsyntax-only', '-fdiagnostics-plain-output', `native/${file}`];
      execFileSync('gcc', args, { cwd: root, stdio: 'pipe', encoding: 'utf8' });
    } catch (error) {
      said = (error as { stderr: string }).stderr;
    }
    const errors = said.split('\n').filter((line) => /error: /.test(line));
    expect(errors[0]).toContain('needs 64-bit little-endian Linux: x86-64, aarch64 or riscv64');
    expect(errors.slice(1).join()).toMatch(/^[^,]*fatal error: stop: unsupported target[^,]*$/);
  }
});
