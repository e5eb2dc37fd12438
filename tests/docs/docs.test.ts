// Paths, commands, targets and variables that the documents name exist.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { execa } from 'execa';
import { beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { variables } from '../../scripts/malloc/variables.ts';
import { libmalloc } from '../lib/cli.ts';
import { need } from '../lib/need.ts';

const documents = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(root, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => join('docs', file)),
].filter((file) => existsSync(join(root, file)));

const read = (file: string): string => readFileSync(join(root, file), 'utf8');

/** All code of a document: spans between backticks, and the lines of fenced and indented blocks. */
function codeOf(markdown: string): string[] {
  const fenced = [...markdown.matchAll(/^ *```.*\n([\s\S]*?)^ *```/gm)].map(
    (match) => match[1] ?? '',
  );
  const prose = markdown.replace(/^ *```.*\n[\s\S]*?^ *```/gm, '');
  const spans = [...prose.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');
  const indented = prose.split('\n').filter((line) => /^ {4}\S/.test(line));
  return [...fenced.flatMap((block) => block.split('\n')), ...spans, ...indented];
}

/** The targets of relative links, `#part` included. */
function linksOf(markdown: string): string[] {
  const inline = [...markdown.matchAll(/\]\(\s*<?([^)\s>]+)>?[^)]*\)/g)];
  const html = [...markdown.matchAll(/(?:src|href)="([^"]+)"/g)];
  const targets = [...inline, ...html].map((match) => match[1] ?? '');
  return targets.filter((target) => !/^[a-z]+:/i.test(target));
}

/** The anchor of a heading, as GitHub makes it. */
function anchor(heading: string): string {
  const plain = heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '');
  return plain.trim().replaceAll(/\s/g, '-');
}

const anchors = (markdown: string): string[] =>
  [...markdown.matchAll(/^#+ +(.*)$/gm)].map((match) => anchor(match[1] ?? ''));

/** A path with a word to be replaced: `native/NAME.c`. */
const isPattern = (path: string): boolean => /\b(NAME|GROUP)\b/.test(path);

/** Words that look like a path in this repository: `native/list.c`, `tests/programs.json:3`. */
function pathsOf(code: string[]): string[] {
  const top = 'native|scripts|tests|docs|\\.ci';
  const pattern = new RegExp(`(?<![\\w./-])(?:\\./)?((?:${top})/[\\w./+-]*\\w)`, 'g');
  return code
    .flatMap((piece) => [...piece.matchAll(pattern)].map((match) => match[1] ?? ''))
    .filter((path) => !isPattern(path));
}

/** `dumb.c`, `heap.h`, `run.ts` on their own: a file of that name somewhere in the tree. */
function namesOf(code: string[]): string[] {
  return code.filter((piece) => /^[\w-]+\.(c|h|ts|py|gyp)$/.test(piece));
}

/** The first words after `make`, `libmalloc` or `npm run` in a document's code. */
function verbsOf(code: string[], command: RegExp): string[] {
  return code.flatMap((piece) => [...piece.matchAll(command)].map((match) => match[1] ?? ''));
}

let tracked: string[];
let verbs: string[];
beforeAll(async () => {
  const { stdout } = await execa(need('git'), ['ls-files', '-co', '--exclude-standard'], {
    cwd: root,
  });
  tracked = stdout.split('\n').filter((file) => existsSync(join(root, file)));
  const help = (await libmalloc(['--help'])).stdout;
  const commands = help.slice(help.indexOf('Commands:'));
  verbs = [...commands.matchAll(/^ {2}(\w+)/gm)].map((match) => match[1] ?? '');
});

test('there is a README and a ladder', () => {
  expect(documents).toEqual(expect.arrayContaining(['README.md', join('docs', 'ladder.md')]));
});

describe.each(documents)('%s', (file) => {
  const markdown = read(file);
  const code = codeOf(markdown);

  test('links to files and headings that exist', () => {
    const dead = linksOf(markdown).filter((target) => {
      const [path = '', part] = target.split('#');
      const to = path === '' ? file : normalize(join(dirname(file), path));
      if (!existsSync(join(root, to))) return true;
      return part !== undefined && to.endsWith('.md') && !anchors(read(to)).includes(part);
    });
    expect(dead).toEqual([]);
  });

  test('names paths that exist', () => {
    expect(pathsOf(code).filter((path) => !existsSync(join(root, path)))).toEqual([]);
    const basenames = tracked.map((path) => path.split('/').at(-1));
    expect(namesOf(code).filter((name) => !basenames.includes(name))).toEqual([]);
  });

  test('names make targets that exist', () => {
    const makefile = read('Makefile');
    const targets = [...makefile.matchAll(/^\.PHONY: (.*)$/gm)].flatMap((m) => m[1]?.split(' '));
    const named = verbsOf(code, /(?:^|[\s$;&(])make +([a-z][\w-]*)\b(?!=)/g);
    expect(named.filter((target) => !targets.includes(target))).toEqual([]);
  });

  test('names verbs and npm scripts that exist', () => {
    const named = verbsOf(code, /(?:^|npx |[\s;&(])libmalloc +([a-z]+)\b/g);
    expect(named.filter((verb) => !verbs.includes(verb))).toEqual([]);
    const { scripts } = JSON.parse(read('package.json'));
    const run = verbsOf(code, /npm run +([\w-]+)/g);
    expect(run.filter((script) => !(script in scripts))).toEqual([]);
  });

  test('names variables that exist', () => {
    const named = [...markdown.matchAll(/\bLIBMALLOC_[A-Z]+\b/g)].map(([name]) => name);
    const declared = tracked
      .filter((path) => /^native\/.*\.[ch]$/.test(path))
      .map(read)
      .join('\n');
    const unknown = named.filter((name) => !(name in variables) && !declared.includes(name));
    expect(unknown).toEqual([]);
  });
});

describe('every file', () => {
  test('is free of absolute paths of a developer’s machine', () => {
    // Written in pieces, so that this file does not find itself.
    const homes = new RegExp(['/wo', 'rk/|/ho', 'me/\\w|/ro', 'ot/|/Us', 'ers/\\w'].join(''));
    const text = tracked.filter((file) => !/\.(png|ico|gz)$/.test(file));
    expect(text.filter((file) => homes.test(read(file)))).toEqual([]);
  });

  test('lies in a folder that the layout knows', () => {
    const top = new Set(tracked.map((file) => file.split('/')[0] ?? ''));
    const folders = ['native', 'scripts', 'tests', 'docs', '.ci'];
    const files = ['Makefile', 'package.json', 'package-lock.json', 'tsconfig.json', 'gdbinit'];
    const texts = [
      ...['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'],
      ...['LICENSE', 'biome.json'],
    ];
    const strays = [...top].filter(
      (name) => ![...folders, ...files, ...texts].includes(name) && !name.startsWith('.'),
    );
    expect(strays).toEqual([]);
  });
});

test('CONTRIBUTING.md prints the tree, with one line for each folder', () => {
  const tree = /<!-- tree -->([\s\S]*)<!-- \/tree -->/.exec(read('CONTRIBUTING.md'))?.[1] ?? '';
  const printed: string[] = [];
  for (const [, indent = '', name = ''] of tree.matchAll(/^( *)([\w.-]+)\/ +\S/gm)) {
    const above = printed.filter((path) => path.split('/').length <= indent.length / 2);
    const parent =
      indent === ''
        ? ''
        : `${above
            .at(-1)
            ?.split('/')
            .slice(0, indent.length / 2)
            .join('/')}/`;
    printed.push(`${parent}${name}`);
  }
  const folders = new Set(tracked.map(dirname).filter((folder) => folder !== '.'));
  expect(printed.sort()).toEqual([...folders].sort());
});

describe('reading a document', () => {
  test('finds code in spans, fences and indented blocks', () => {
    const markdown = 'a `one` b\n\n```sh\ntwo\n```\n\n    three\n';
    expect(codeOf(markdown).map((piece) => piece.trim())).toEqual(['two', '', 'one', 'three']);
  });

  test('finds relative links only', () => {
    const markdown = '[a](docs/a.md#b) [c](https://x.y) ![d](d.svg "t") <img src="e.svg">';
    expect(linksOf(markdown)).toEqual(['docs/a.md#b', 'd.svg', 'e.svg']);
    expect(anchor('What it `costs`, and why')).toBe('what-it-costs-and-why');
    expect(relative('docs', 'docs/a.md')).toBe('a.md');
  });
});
