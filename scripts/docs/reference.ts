// The generated parts of docs/reference.md, from the tables that the command itself uses.

import { statuses } from '../lib/status.ts';
import { type Key, options } from '../malloc/options.ts';
import { debugKeys, variables } from '../malloc/variables.ts';
import { helpOf } from '../system/verb-help.ts';
import { verbs } from '../verbs.ts';
import { markdownTable } from './blocks.ts';

/** A `|` would end the cell of a table. */
const code = (text: string): string => `\`${text.replaceAll('|', '\\|')}\``;

/** Prose in columns: nothing here is aligned to the right. */
const proseTable = (head: string[], rows: string[][]): string =>
  markdownTable(head, rows).replaceAll('---:', '---');

function keyTable(keys: Readonly<Record<string, Key>>): string {
  const rows = Object.entries(keys).map(([key, { value, meaning, otherwise }]) => [
    code(`${key}=${value}`),
    meaning,
    otherwise,
  ]);
  return proseTable(['key', 'meaning', 'default'], rows);
}

/** The sentence `Exit status: …` of a help; undefined when there is none. */
export function exitStatusOf(help: string): string | undefined {
  const found = /^Exit status(?: of a batch)?: ([\s\S]*?\.)(?=\n[A-Z]|\n\n|\s*$)/m.exec(help)?.[1];
  return found?.replaceAll(/\s*\n\s*/g, ' ');
}

/** Each verb and its exit statuses. Throws if the help of a verb does not name them. */
async function verbStatuses(): Promise<string> {
  const rows: string[][] = [];
  for (const [verb, load] of Object.entries(verbs)) {
    const status = exitStatusOf(helpOf(await load()));
    if (status === undefined) throw new Error(`the help of ${verb} has no exit status`);
    rows.push([code(`libmalloc ${verb}`), status]);
  }
  return proseTable(['verb', 'exit status'], rows);
}

/** Every generated block by name. */
export async function referenceBlocks(): Promise<Record<string, () => string>> {
  const perVerb = await verbStatuses();
  return {
    variables: () =>
      proseTable(
        ['variable', 'meaning'],
        Object.entries(variables).map(([name, { value, meaning }]) => [
          code(`${name}=${value}`),
          meaning,
        ]),
      ),
    options: () => keyTable(options),
    'debug-keys': () => keyTable(debugKeys),
    statuses: () =>
      proseTable(
        ['status', 'meaning'],
        Object.entries(statuses).map(([status, meaning]) => [code(status), meaning]),
      ),
    'verb-statuses': () => perVerb,
  };
}
