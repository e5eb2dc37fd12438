// Documents that are partly generated: the prose is written by hand, the figures by `make docs`.

import { Failure } from '../lib/errors.ts';

const opening = /<!-- generated: ([\w-]+) -->/g;
const closing = '<!-- /generated -->';

/** The names of the generated blocks in a document, in order. */
export function blockNames(text: string): string[] {
  return [...text.matchAll(opening)].map((match) => match[1] ?? '');
}

/**
 * The document with what stands between `<!-- generated: NAME -->` and `<!-- /generated -->`
 * replaced by `block(NAME)`. Throws Failure for a block that is not closed.
 */
export function fillBlocks(text: string, block: (name: string) => string): string {
  const parts: string[] = [];
  let at = 0;
  for (const match of text.matchAll(opening)) {
    const start = match.index + match[0].length;
    const end = text.indexOf(closing, start);
    const next = text.indexOf('<!-- generated:', start);
    if (end < 0 || (next >= 0 && next < end)) {
      throw new Failure(`generated block '${match[1]}' is not closed`, { hint: `add ${closing}` });
    }
    parts.push(text.slice(at, start), `\n${block(match[1] ?? '').trim()}\n`);
    at = end;
  }
  return parts.join('') + text.slice(at);
}

/** A Markdown table; columns after the first are aligned to the right. */
export function markdownTable(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'));
  return [line(head), line(rule), ...rows.map(line)].join('\n');
}

/** Lines of C that are neither blank nor comment. */
export function codeLines(source: string): number {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, (comment) => comment.replace(/[^\n]/g, ''));
  return code.split('\n').filter((line) => line.replace(/\/\/.*/, '').trim() !== '').length;
}

/** Cuts fractions to five digits, which is more than any measurement here is worth. */
const short = (_: string, value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;

/** JSON whose changes are readable in git: objects and arrays without others in them take one line. */
export function readableJson(data: object): string {
  const text = JSON.stringify(data, short, 1);
  const leaf = /\{[^{}[\]]*\}|\[[^{}[\]]*\]/g;
  return `${text.replace(leaf, (found) => found.replace(/\s*\n\s*/g, ' '))}\n`;
}
