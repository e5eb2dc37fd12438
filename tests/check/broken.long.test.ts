/** Each broken malloc goes through all cases: the one made for it notices the defect, and at most three others do. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { conduct } from '../../scripts/check/conduct.ts';
import { choose, usual } from '../../scripts/check/groups.ts';
import { enquire } from '../../scripts/check/preliminaries.ts';
import { root } from '../../scripts/lib/paths.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { compileProgram } from '../lib/compile.ts';

const folder = join(root, 'tests', 'broken');
const library = ['-O2', '-fPIC', '-shared', '-fvisibility=hidden', '-ftls-model=initial-exec'];

/** How many cases may notice a defect besides the one that is made for it. */
const OTHERS = 3;

/** What a first malloc gets wrong is noticed by many programs: these are not held to it. */
const broad = [
  'calloc-dirty',
  'forgets-mappings',
  'free-errno',
  'hangs',
  'leaks-some',
  'misaligned',
  'no-fork',
  'no-lock',
  'overlap',
  'realloc-frees',
  'realloc-loses',
  'remote-frees-lost',
  'thread-death',
  'too-early',
  'too-late',
  'trusts-the-kernel',
  'usable-lies',
].map((name) => `${name}.c`);

const broken = readdirSync(folder)
  .filter((file) => file.endsWith('.c') && file !== 'honest.c' && !broad.includes(file))
  .map((file) => ({
    name: file.replace(/\.c$/, ''),
    wanted: /^\/\* ([\w-]+\/[\w-]+): /m.exec(readFileSync(join(folder, file), 'utf8'))?.[1] ?? '',
  }));

/** The cases that fail on it; those that need what a failed question is about are not run. */
async function failedBy(name: string): Promise<string[]> {
  const flags = [...library, '-Wl,-Bsymbolic'];
  const malloc = resolveMalloc(`${name}=${compileProgram(`broken/${name}.c`, { flags })}`);
  const { subject, findings, dead } = await enquire({ malloc, slow: false }, () => {}, 1);
  const cases = choose(usual, { seed: 1, seconds: 1 }).filter(({ group }) => group !== 'basics');
  const all = dead ? findings : [...findings, ...(await conduct(subject, cases, () => {}, 1))];
  return all
    .filter(({ verdict }) => verdict.state === 'failed')
    .map(({ case: each }) => `${each.group}/${each.name}`);
}

describe('a defect is noticed by at most three cases more than the one made for it', () => {
  test('by none where there is no defect', { timeout: 1_200_000 }, async () => {
    expect(await failedBy('honest')).toEqual([]);
  });

  test.each(broken)('$name: $wanted', { timeout: 1_200_000 }, async ({ name, wanted }) => {
    const others = (await failedBy(name)).filter((found) => found !== wanted);
    expect(others.length, others.join(' ')).toBeLessThanOrEqual(OTHERS);
  });
});
