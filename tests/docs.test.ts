// What the documents say is what was measured, and what they name exists.

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { documents, generate, type Measured, pictures } from '../scripts/docs.ts';
import { blockNames, codeLines, fillBlocks, markdownTable } from '../scripts/lib/docs.ts';
import { root } from '../scripts/lib/paths.ts';

const read = (file: string) => readFileSync(join(root, file), 'utf8');
const measured = () => JSON.parse(read('docs/ladder.json')) as Measured;
const remedy = 'run: npx tsx scripts/docs.ts --from docs/ladder.json';

describe('generated blocks', () => {
  const text =
    'a\n<!-- generated: x -->\nold\n<!-- /generated -->\nb\n<!-- generated: y --><!-- /generated -->';

  test('are replaced, what stands around them is not, and twice is as good as once', () => {
    const filled = fillBlocks(text, (name) => `new ${name}`);
    expect(filled).toBe(
      'a\n<!-- generated: x -->\nnew x\n<!-- /generated -->\nb\n<!-- generated: y -->\nnew y\n<!-- /generated -->',
    );
    expect(fillBlocks(filled, (name) => `new ${name}`)).toBe(filled);
    expect(blockNames(text)).toEqual(['x', 'y']);
  });

  test('one that is not closed, or unknown, is an error', () => {
    expect(() => fillBlocks('<!-- generated: x -->', () => '')).toThrow(/'x' is not closed/);
    const swallowed = '<!-- generated: x --> <!-- generated: y --> <!-- /generated -->';
    expect(() => fillBlocks(swallowed, () => '')).toThrow(/'x' is not closed/);
    const unknown = '<!-- generated: nosuch --><!-- /generated -->';
    expect(() => generate(unknown, measured())).toThrow(/unknown generated block: nosuch/);
  });

  test('a table and a count of lines come out as they should', () => {
    expect(markdownTable(['a', 'b'], [['1', '2']])).toBe('| a | b |\n| --- | ---: |\n| 1 | 2 |');
    expect(codeLines('/* one\n * two */\nint a; /* x */\n\n// no\nint b; // y\n')).toBe(2);
  });
});

describe('the documents', () => {
  test.each(documents())('%s says what was measured', (file) => {
    expect(generate(read(file), measured()), remedy).toBe(read(file));
  });

  test('the pictures show what was measured', async () => {
    for (const [file, svg] of Object.entries(await pictures(measured())))
      expect(svg, remedy).toBe(read(join('docs', file)));
  });

  test.each(documents())('every file that %s links to exists', (file) => {
    const links = [...read(file).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)].map((match) => match[1] ?? '');
    const own = links.filter((link) => !/^[a-z]+:/.test(link));
    expect(own.filter((link) => !existsSync(join(root, dirname(file), link)))).toEqual([]);
  });
});

test('the measurement behind the documents covers every size on paged, and grew on list', () => {
  const { curve } = measured();
  const of = (name: string) => curve?.curves.find(({ malloc }) => malloc === name)?.points ?? [];
  const paged = of('paged').map(({ instructions }) => instructions ?? Number.NaN);
  expect(of('paged').at(-1)?.live).toBe(1_000_000);
  expect(Math.max(...paged) / Math.min(...paged)).toBeLessThan(1.3);
  const list = of('list').map(({ instructions }) => instructions ?? Number.NaN);
  expect((list.at(-1) ?? 0) / (list[0] ?? 1)).toBeGreaterThan(10);
});
