/** The workloads of the bench compile without warnings and print the same under every malloc. */
import { join } from 'node:path';
import { execaSync } from 'execa';
import { describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { defaultVariant, type Malloc, resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { compileProgram } from '../lib/compile.ts';
import { testFolder } from '../lib/folder.ts';
import { gap } from '../lib/mallocs.ts';
import { need, skip } from '../lib/need.ts';
import { everyVariant } from '../lib/variants.ts';
import table from '../workloads/workloads.json' with { type: 'json' };

const here = join(root, 'tests', 'workloads');
const scratch = testFolder();
const flags = ['-O2', '-Werror'];
const glibc = resolveMalloc('glibc');
const able = everyVariant.filter((variant) => gap(variant, 'reuse') === undefined);
const sources = [...new Set(table.workloads.map(({ source }) => source))];

/** What a command prints under `malloc`; throws with its messages when it ends badly. */
async function printed(malloc: Malloc, argv: string[], env: object = {}): Promise<string> {
  const options = { timeout: 60, env: { ...process.env, ...env } };
  const { status, signal, stdout, stderr } = await launch(malloc, argv, options);
  if (status !== 0 || signal)
    throw new Error(`${argv.join(' ')}: status ${status} ${signal ?? ''}\n${stderr}`);
  return stdout.toString('latin1');
}

test('names are stable words, each used once', () => {
  const names = [...table.workloads, ...table.programs].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const name of names) expect(name).toMatch(/^[a-z0-9+]+(-[a-z0-9]+)*$/);
});

test.each(everyVariant)('%s bears workloads that never stop allocating', (variant) => {
  const reason = gap(variant, 'reuse');
  if (reason !== undefined) skip(reason);
  expect(able).toContain(variant);
});

describe('compiles without a warning', () => {
  test.each(sources)('%s', (source) => {
    need(source.endsWith('.cc') ? 'g++' : 'gcc');
    compileProgram(`workloads/${source}`, { flags });
  });
});

describe.each(table.workloads)('$name', ({ source, args, scale, threads }) => {
  const argv = () => [
    compileProgram(`workloads/${source}`, { flags }),
    ...args,
    '--scale',
    String(scale.tiny),
  ];
  let expected: Promise<string> | undefined;

  test('says how many threads it has', () => {
    const given = args.indexOf('--threads');
    const own: Record<string, number> = { 'pipeline.c': 2, 'sharing.c': 2 };
    expect(threads).toBe(given >= 0 ? Number(args[given + 1]) : (own[source] ?? 1));
  });

  test.each(able)('prints the same under %s as under glibc', async (variant) => {
    expected ??= printed(glibc, argv());
    expect(await expected).toMatch(/^[0-9a-f]{16}\n$/);
    expect(await printed(resolveMalloc(variant), argv())).toBe(await expected);
  });
});

/** Makes the input of a program at that amount and returns its path. */
function makeInput(kind: string, amount: string): string {
  const path = join(scratch, `${kind}-${amount}`);
  execaSync(process.execPath, [join(here, 'inputs.mjs'), kind, amount, path]);
  return path;
}

describe.each(table.programs)('$name', ({ needs, command, input, env, amount }) => {
  test(`prints the same under ${defaultVariant()} as under glibc`, async () => {
    const [program = '', ...rest] = command;
    for (const name of needs) need(name);
    const n = String(amount.tiny);
    const made = input === undefined ? '' : makeInput(input, n);
    const fill = (word: string) =>
      word.replaceAll('{n}', n).replaceAll('{here}', here).replaceAll('{input}', made);
    const argv = [need(program), ...rest.map(fill)];
    const expected = await printed(glibc, argv, env);
    expect(await printed(resolveMalloc(defaultVariant()), argv, env)).toBe(expected);
  });
});
