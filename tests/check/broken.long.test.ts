/** Runs all cases on each broken malloc: the case made for it and at most three others detect the defect. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Finding } from '../../scripts/check/case.ts';
import { conduct } from '../../scripts/check/conduct.ts';
import { choose, usual } from '../../scripts/check/groups.ts';
import { enquire } from '../../scripts/check/preliminaries.ts';
import { root } from '../../scripts/lib/paths.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { compileProgram } from '../lib/compile.ts';

const folder = join(root, 'tests', 'broken');
const library = ['-O2', '-fPIC', '-shared', '-fvisibility=hidden', '-ftls-model=initial-exec'];

/** How many cases may detect a defect besides the one that is made for it. */
const OTHERS = 3;

const broken = readdirSync(folder)
  .filter((file) => file.endsWith('.c') && file !== 'honest.c')
  .map((file) => ({
    name: file.replace(/\.c$/, ''),
    wanted: /^\/\* ([\w-]+\/[\w-]+): /m.exec(readFileSync(join(folder, file), 'utf8'))?.[1] ?? '',
  }));

/** All findings on it; a case whose need a failed preliminary case tests is skipped and names that case. */
async function findingsOn(name: string): Promise<Finding[]> {
  const flags = [...library, '-Wl,-Bsymbolic'];
  const malloc = resolveMalloc(`${name}=${compileProgram(`broken/${name}.c`, { flags })}`);
  const { subject, findings, dead } = await enquire({ malloc, slow: false }, () => {}, 1);
  const cases = choose(usual, { seed: 1, seconds: 1 }).filter(({ group }) => group !== 'basics');
  return dead ? findings : [...findings, ...(await conduct(subject, cases, () => {}, 1))];
}

const nameOf = ({ case: { group, name } }: Finding): string => `${group}/${name}`;
const failedIn = (findings: Finding[]): string[] =>
  findings.filter(({ verdict }) => verdict.state === 'failed').map(nameOf);

describe('the case made for a defect, or its preliminary case, and at most three others detect it', () => {
  test('none fails on a malloc without a defect', { timeout: 1_200_000 }, async () => {
    expect(failedIn(await findingsOn('honest'))).toEqual([]);
  });

  test.each(broken)('$name: $wanted', { timeout: 1_200_000 }, async ({ name, wanted }) => {
    const findings = await findingsOn(name);
    const made = findings.find((each) => nameOf(each) === wanted)?.verdict;
    expect(made?.state === 'failed' || made?.cause !== undefined, made?.because).toBe(true);
    const others = failedIn(findings).filter((found) => found !== wanted);
    expect(others.length, others.join(' ')).toBeLessThanOrEqual(OTHERS);
  });
});
