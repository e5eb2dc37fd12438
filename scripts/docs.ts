// `make docs`: measures, then regenerates every generated picture and every generated part of a
// document. `--from docs/ladder.json` draws from an earlier measurement instead.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { type BenchResult, measure } from './bench.ts';
import { type Attempt, tryArticle } from './lib/article.ts';
import { describeProvenance } from './lib/bench/provenance.ts';
import { selectMallocs } from './lib/bench/select.ts';
import {
  curveNotes,
  curvePicture,
  curveRatios,
  curveRows,
  figure,
  pairsHead,
  pairsPicture,
  pairsRows,
} from './lib/bench/show.ts';
import { blockNames, codeLines, fillBlocks, markdownTable } from './lib/docs.ts';
import { describeFailure, Failure } from './lib/errors.ts';
import { variants } from './lib/mallocs.ts';
import { root } from './lib/paths.ts';

/** What docs/ladder.json holds: all that documents and pictures are generated from. */
export interface Measured extends BenchResult {
  article: Attempt[];
}

const dataFile = join(root, 'docs', 'ladder.json');
const curves = (data: Measured) => data.curve?.curves ?? [];
const pairs = (data: Measured) => data.pairs?.pairs ?? [];

function curveTable(data: Measured, cell: Parameters<typeof curveRows>[1]): string {
  const head = ['live blocks', ...curves(data).map(({ malloc }) => malloc)];
  return markdownTable(head, curveRows(curves(data), cell));
}

function ratios(data: Measured): string {
  const at = curveRatios(curves(data), 100_000);
  const rows = pairs(data).map(({ malloc, ratio }) => {
    const replacing = at.get(malloc);
    return [malloc, ratio ? figure(ratio.median) : '-', replacing ? figure(replacing) : '-'];
  });
  return markdownTable(['CPU, glibc is 1', 'pairs', 'replacing among 100,000'], rows);
}

function lines(): string {
  const rows = variants().map((name) => {
    const source = readFileSync(join(root, 'native', `${name}.c`), 'utf8');
    return [`[${name}.c](../native/${name}.c)`, String(codeLines(source))];
  });
  return markdownTable(['variant', 'lines of code'], rows);
}

function article(data: Measured): string {
  const rows = data.article.map(({ knobs, command, ended }) => [
    knobs ? `\`${knobs}\`` : 'as it is',
    `\`${command}\``,
    ended,
  ]);
  return markdownTable(['dumb', 'program', 'what happens'], rows).replaceAll('---:', '---');
}

const list = (items: string[]) => items.map((item) => `- ${item}`).join('\n');

/** Every generated block by name. */
export const blocks: Record<string, (data: Measured) => string> = {
  'curve-cpu': (data) => curveTable(data, ({ nanoseconds }) => figure(nanoseconds.median)),
  'curve-instructions': (data) =>
    curveTable(data, ({ instructions }) => (instructions ? figure(instructions) : undefined)),
  'curve-notes': (data) =>
    list([
      ...curveNotes(curves(data)),
      ...data.notRun.map(({ malloc, reason }) => `${malloc} was not run: ${reason}`),
    ]),
  pairs: (data) => markdownTable(pairsHead, pairsRows(pairs(data))),
  ratios,
  lines,
  article,
  provenance: (data) => `\`\`\`\n${describeProvenance(data.provenance)}\n\`\`\``,
};

/** A document with its generated blocks up to date. Throws Failure for an unknown block. */
export function generate(text: string, data: Measured): string {
  return fillBlocks(text, (name) => {
    const block = blocks[name];
    if (block === undefined) {
      throw new Failure(`unknown generated block: ${name}`, {
        hint: `known: ${Object.keys(blocks).join(', ')}`,
      });
    }
    return block(data);
  });
}

/** The pictures by file name in docs/. */
export async function pictures(data: Measured): Promise<Record<string, string>> {
  return {
    'curve.svg': await curvePicture(curves(data)),
    'pairs.svg': await pairsPicture(pairs(data)),
  };
}

/** Documents that have generated parts: README.md and those in docs/. */
export function documents(): string[] {
  const docs = readdirSync(join(root, 'docs')).filter((file) => file.endsWith('.md'));
  return ['README.md', ...docs.map((file) => join('docs', file))].filter((file) => {
    try {
      return blockNames(readFileSync(join(root, file), 'utf8')).length > 0;
    } catch {
      return false;
    }
  });
}

async function measureAll(): Promise<Measured> {
  const result = await measure(
    { workloads: [], programs: [], measurements: ['pairs', 'curve'] },
    selectMallocs([]),
    {},
  );
  return { ...result, article: await tryArticle(root) };
}

async function docs(): Promise<void> {
  const { values } = parseArgs({ options: { from: { type: 'string' } } });
  const data = values.from
    ? (JSON.parse(readFileSync(values.from, 'utf8')) as Measured)
    : await measureAll();
  if (values.from === undefined) writeFileSync(dataFile, `${JSON.stringify(data, null, 1)}\n`);
  for (const [file, svg] of Object.entries(await pictures(data)))
    writeFileSync(join(root, 'docs', file), svg);
  for (const file of documents()) {
    const path = join(root, file);
    writeFileSync(path, generate(readFileSync(path, 'utf8'), data));
    process.stdout.write(`${basename(file)} is up to date\n`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  try {
    await docs();
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    process.stderr.write(`${describeFailure(error)}\n`);
    process.exitCode = error.code;
  }
}
