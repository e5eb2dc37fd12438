// The generated parts of docs/bench.md, from docs/bench.json.

import { readCatalog } from '../bench/catalog.ts';
import type { Contests } from '../bench/contests.ts';
import { failures } from '../bench/envelope.ts';
import { contestHeat, contestPareto } from '../bench/pictures.ts';
import { describeProvenance } from '../bench/provenance.ts';
import type { BenchResult } from '../bench/result.ts';
import {
  againstRows,
  mallocsOf,
  oursOf,
  type Rows,
  ratioRows,
  startRows,
  summaryRows,
  threadRows,
} from '../bench/rows.ts';
import { pairsColumns } from '../bench/show.ts';
import { champion, targets } from '../bench/targets.ts';
import { Failure } from '../lib/errors.ts';
import type { Figure } from '../picture/figure.ts';
import { markdownTable } from './blocks.ts';

function contestsOf({ contests }: BenchResult): Contests {
  if (contests === undefined)
    throw new Failure('docs/bench.json has no contests', { hint: 'make docs' });
  return contests;
}

const plain = ({ head, rows }: Rows) => markdownTable(head, rows);

/** Bold for ratios that are as good as the best peer's, or better. */
export function marked({ head, rows }: Rows, from: number): string {
  const strong = (text: string, column: number) =>
    column >= from && Number(text) <= 1 ? `**${text}**` : text;
  return markdownTable(
    head,
    rows.map((cells) => cells.map(strong)),
  );
}

function against(result: BenchResult): string {
  const contests = contestsOf(result);
  return oursOf(contests)
    .map((ours) => plain(againstRows(contests, ours)))
    .join('\n\n');
}

function targetTable(result: BenchResult): string {
  const rows = targets(result).map(({ promise, found, met }) => [
    promise,
    found,
    met ? 'met' : '**missed**',
  ]);
  return markdownTable([`held against ${champion(result)}`, 'found', ''], rows);
}

export const sentences = (items: string[], none: string) =>
  items.length === 0 ? none : items.map((item) => `- ${item}`).join('\n');

function notes(result: BenchResult): string {
  const { contests, absent } = contestsOf(result);
  const items = [
    ...failures(contests).map((f) => `**${f.malloc}** failed in ${f.contest}: ${f.reason}`),
    ...contests.flatMap(({ name, note }) => (note ? [`${name}: ${note}`] : [])),
    ...absent.map(({ name, reason }) => `${name} was not run: ${reason}`),
    ...result.notRun.map(({ malloc, reason }) => `${malloc} was not run: ${reason}`),
  ];
  return sentences(items, 'Everything ran under every malloc, with the same output.');
}

/** The current catalogue; figures exist for the entries that could run when they were measured. */
function catalogue(): string {
  const { workloads, programs } = readCatalog();
  const about = [...workloads, ...programs].map((each) => [
    each.name,
    each.about,
    'punishes' in each ? each.punishes : '',
  ]);
  const table = markdownTable(['name', 'what it does', 'what it is hard on'], about);
  return table.replaceAll('---:', '---');
}

function conditions(result: BenchResult): string {
  const { runs, amount } = contestsOf(result).plan;
  const lines = [
    describeProvenance(result.provenance),
    `${runs} interleaved runs of each, amount: ${amount}`,
  ];
  return `\`\`\`\n${lines.join('\n')}\n\`\`\``;
}

/** The command that repeats the measurement; the reader fills in the paths of files. */
function command(result: BenchResult): string {
  const { plan, peers } = contestsOf(result);
  const versions = result.provenance.mallocs;
  const all = mallocsOf(contestsOf(result));
  const files = all.filter((name) => peers.all.includes(name) && !peers.debian.includes(name));
  const named = all.filter((name) => !files.includes(name)).map((name) => `-m ${name}`);
  const lines = [
    ['npx libmalloc bench', ...named].join(' '),
    ...files.map((name) => `-m ${name}=PATH/${name}.so --version-of ${name}='${versions[name]}'`),
    `--runs ${plan.runs}${plan.amount === 'quick' ? ' --quick' : ''} --json result.json`,
  ];
  return `\`\`\`sh\n${lines.join(' \\\n  ')}\nmake docs BENCH=result.json\n\`\`\``;
}

/** Every generated block by name. */
export const benchBlocks: Record<string, (result: BenchResult) => string> = {
  'bench-summary': (result) => {
    const contests = contestsOf(result);
    return marked(summaryRows(contests, contests.peers.all), 1);
  },
  'bench-debian': (result) => {
    const contests = contestsOf(result);
    return marked(summaryRows(contests, contests.peers.debian), 1);
  },
  'bench-targets': targetTable,
  'bench-against': against,
  'bench-cpu': (result) => marked(ratioRows(contestsOf(result), 'cpu'), 3),
  'bench-peak': (result) => marked(ratioRows(contestsOf(result), 'peak'), 3),
  'bench-threads': (result) => plain(threadRows(contestsOf(result))),
  'bench-start': ({ start }) => (start ? plain(startRows(start)) : 'Not measured.'),
  'bench-pairs': ({ pairs }) => (pairs ? plain(pairsColumns(pairs.pairs)) : 'Not measured.'),
  'bench-notes': notes,
  'bench-workloads': catalogue,
  'bench-conditions': conditions,
  'bench-command': command,
};

/** The pictures by file name in docs/. */
export function benchPictures(result: BenchResult): Record<string, Figure> {
  const contests = contestsOf(result);
  return {
    'bench-pareto.svg': contestPareto(contests),
    'bench-cpu.svg': contestHeat(contests, 'cpu'),
    'bench-peak.svg': contestHeat(contests, 'peak'),
  };
}
