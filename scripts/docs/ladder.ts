// The generated parts of docs/ladder.md, from docs/ladder.json.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { curvePicture, pairsPicture } from '../bench/pictures.ts';
import { describeProvenance } from '../bench/provenance.ts';
import type { BenchResult } from '../bench/result.ts';
import { curveNotes, curveRatios, curveRows, figure, pairsHead, pairsRows } from '../bench/show.ts';
import { root } from '../lib/paths.ts';
import { variants } from '../malloc/mallocs.ts';
import type { Figure } from '../picture/figure.ts';
import type { Attempt } from './article.ts';
import { codeLines, markdownTable } from './blocks.ts';

/** What docs/ladder.json holds. */
export interface Ladder extends BenchResult {
  article: Attempt[];
}

const curves = ({ curve }: Ladder) => curve?.curves ?? [];
const pairs = (data: Ladder) => data.pairs?.pairs ?? [];

function curveTable(data: Ladder, cell: Parameters<typeof curveRows>[1]): string {
  const head = ['live blocks', ...curves(data).map(({ malloc }) => malloc)];
  return markdownTable(head, curveRows(curves(data), cell));
}

function ratios(data: Ladder): string {
  const at = curveRatios(curves(data), 100_000);
  const rows = pairs(data).map(({ malloc, ratio }) => {
    const replacing = at.get(malloc);
    return [malloc, ratio ? figure(ratio.median) : '-', replacing ? figure(replacing) : '-'];
  });
  return markdownTable(['CPU, glibc is 1', 'pairs', 'replacing among 100,000'], rows);
}

function lines(): string {
  const rows = variants().map((name) => {
    const folder = join(root, 'native', name);
    const parts = existsSync(folder) ? readdirSync(folder).map((part) => join(folder, part)) : [];
    const sources = [join(root, 'native', `${name}.c`), ...parts];
    const sum = sources.reduce((all, file) => all + codeLines(readFileSync(file, 'utf8')), 0);
    return [`[${name}.c](../native/${name}.c)`, String(sum)];
  });
  return markdownTable(['variant', 'lines of code'], rows);
}

function article(data: Ladder): string {
  const rows = data.article.map(({ knobs, command, ended }) => [
    knobs ? `\`${knobs}\`` : 'as it is',
    `\`${command}\``,
    ended,
  ]);
  return markdownTable(['dumb', 'program', 'what happens'], rows).replaceAll('---:', '---');
}

const list = (items: string[]) => items.map((item) => `- ${item}`).join('\n');

/** Every generated block by name. */
export const ladderBlocks: Record<string, (data: Ladder) => string> = {
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

/** The pictures by file name in docs/. */
export function ladderPictures(data: Ladder): Record<string, Figure> {
  return {
    'curve.svg': curvePicture(curves(data)),
    'pairs.svg': pairsPicture(pairs(data)),
  };
}
