// The layout of the repository: allowed imports, sizes of files and rooms.

import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { codeLines } from '../../scripts/docs/blocks.ts';
import { verbs as verbTable } from '../../scripts/verbs.ts';
import { filesBelow, read } from '../lib/files.ts';
import { findCycle, importsOf, readImports, roomOf, roomsOf } from '../lib/imports.ts';

/** Started by make or by a user; they may import any room. */
const entries = ['cli.ts', 'verbs.ts', 'build', 'system', 'demo', 'docs'];
const verbs = Object.keys(verbTable);
const concepts = ['ffi', 'malloc', 'process', 'trace', 'foreign', 'picture', 'symbols'];

/** Rooms of one rank may not import each other, but for concepts, which must not do so in a circle. */
const rank = (room: string): number =>
  [entries, verbs, concepts, ['lib']].findIndex((rooms) => rooms.includes(room));

const graph = readImports();
const files = [...graph.keys()];
const lines = (file: string): number => read(join('scripts', file)).split('\n').length;

/** Names that several files have. */
function namesakes(paths: string[]): string[] {
  const names = paths.map((path) => basename(path));
  return [...new Set(names.filter((name, i) => names.indexOf(name) !== i))];
}

describe('imports in scripts/', () => {
  test('lead to files that exist, from rooms that this test knows', () => {
    const targets = [...graph.values()].flat();
    expect(targets.filter((file) => !graph.has(file))).toEqual([]);
    expect(files.map(roomOf).filter((room) => rank(room) < 0)).toEqual([]);
  });

  test('go one way: entries, verbs, concepts, lib', () => {
    const upward = [...graph].flatMap(([file, targets]) =>
      targets
        .filter((target) => rank(roomOf(target)) < rank(roomOf(file)))
        .map((target) => `${file} imports ${target}`),
    );
    expect(upward).toEqual([]);
  });

  test('never lead from one verb into the room of another', () => {
    const across = [...graph].flatMap(([file, targets]) =>
      targets
        .filter((target) => verbs.includes(roomOf(file)) && verbs.includes(roomOf(target)))
        .filter((target) => roomOf(target) !== roomOf(file))
        .map((target) => `${file} imports ${target}`),
    );
    expect(across).toEqual([]);
  });

  test('form no cycle, types included, neither of files nor of rooms', () => {
    expect(findCycle(graph)).toBeUndefined();
    expect(findCycle(roomsOf(graph))).toBeUndefined();
  });
});

describe('files', () => {
  test('no room of scripts/ holds a quarter of its lines', () => {
    const sizes = new Map<string, number>();
    for (const file of files) sizes.set(roomOf(file), (sizes.get(roomOf(file)) ?? 0) + lines(file));
    const all = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    const large = [...sizes].filter(([, size]) => size >= all / 4);
    expect(large).toEqual([]);
  });

  test('have at most 400 lines of code; paged.c, a story in one file, 480', () => {
    const limit = (file: string): number => (file === 'native/paged.c' ? 480 : 400);
    const sources = [...filesBelow('scripts', /\.ts$/), ...filesBelow('native', /\.([ch]|py)$/)];
    const long = sources
      .map((file) => ({ file, code: codeLines(read(file)) }))
      .filter(({ file, code }) => code > limit(file));
    expect(long).toEqual([]);
  });

  test('have names of their own: in scripts/ but for index.ts, and in native/', () => {
    expect(namesakes(filesBelow('native', /\.(c|h|py)$/))).toEqual([]);
    expect(namesakes(files).filter((name) => name !== 'index.ts')).toEqual([]);
  });
});

test('tests lie as what they test does', () => {
  const rooms = [...files.map(roomOf), 'native', 'house', 'ports'];
  const tests = filesBelow('tests', /\.test\.ts$/);
  expect(tests.filter((file) => !rooms.includes(file.split('/')[1] ?? ''))).toEqual([]);
});

describe('reading imports', () => {
  test('finds types, re-exports, lazy and many-line imports', () => {
    const text = [
      "import type { A } from './a.ts';",
      "import {\n  b,\n} from '../x/b.ts';",
      "export * from './c.ts';",
      "const d = () => import('./d.ts');",
      "import e from 'elsewhere';",
    ].join('\n');
    expect(importsOf('room/file.ts', text)).toEqual([
      'room/a.ts',
      'x/b.ts',
      'room/c.ts',
      'room/d.ts',
    ]);
  });

  test('finds a cycle, and none where there is none', () => {
    const chain = new Map([
      ['a', ['b', 'c']],
      ['b', ['c']],
      ['c', []],
    ]);
    expect(findCycle(chain)).toBeUndefined();
    expect(findCycle(new Map([...chain, ['c', ['a']]]))).toEqual(['a', 'b', 'c', 'a']);
  });
});
