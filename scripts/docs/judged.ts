// The table of docs/safety.md about mallocs of others: fetches their sources, builds them and judges
// the libraries. Files that are already in the folder are used again, so that a run can be continued;
// remove a file to make it anew.

import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { type Provenance, provenance } from '../bench/provenance.ts';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { progress } from '../lib/progress.ts';
import { markdownTable } from './blocks.ts';

const catalogue = join(root, 'tests', 'public');
const gcc = 'gcc -O2 -g -fPIC -shared -w -fno-builtin-malloc';
/** How many cases a cell names at most. */
const NAMED = 6;

/** An entry of tests/public/catalogue.json. */
interface Source {
  name: string;
  url: string;
  commit: string;
  build: string;
}

/** What `check` found in one malloc. */
interface Judgement {
  name: string;
  commit: string;
  failed: number;
  causes: string[];
  others: string[];
  /** On the clock, and of processor time. */
  seconds: number;
  cpu: number;
}

export interface Judged {
  provenance: Provenance;
  mallocs: Judgement[];
}

/** A case in the JSON of `check`. */
interface Case {
  group: string;
  name: string;
  level: string;
  state: string;
  because?: string;
  cause?: string;
}

/** Runs a command, and throws Failure with what it printed last. */
async function run(cwd: string, file: string, args: string[], env = {}): Promise<void> {
  const { failed, stderr } = await execa(file, args, { cwd, env, reject: false });
  if (failed) throw new Failure(`${file} ${args.join(' ')}: ${stderr.trim().split('\n').at(-1)}`);
}

/** The library of a malloc, from its sources. */
async function library(folder: string, slug: string, source: Source): Promise<string> {
  const [sources, out] = [join(folder, slug), join(folder, `${slug}.so`)];
  if (!existsSync(sources)) {
    await run(folder, 'git', ['clone', '--quiet', source.url, slug]);
    await run(sources, 'git', ['checkout', '--quiet', source.commit]);
  }
  if (!existsSync(out))
    await run(sources, 'sh', ['-c', source.build], { CC: gcc, OUT: out, PUBLIC: catalogue });
  return out;
}

/** Judges a library, and keeps the output of `check` and of the shell's `time`. */
async function judge(folder: string, slug: string, file: string): Promise<void> {
  const [json, time] = [join(folder, `${slug}.json`), join(folder, `${slug}.time`)];
  if (existsSync(json) && existsSync(time)) return;
  const cli = join(root, 'build', 'js', 'cli.js');
  const timed = 'TIMEFORMAT="%R %U %S"; out=$1; shift; { time "$@" >/dev/null 2>&1; } 2>"$out"';
  const words = [process.execPath, cli, 'check', '--json', json, `${slug}=${file}`];
  rmSync(json, { force: true });
  await execa('bash', ['-c', timed, 'bash', time, ...words], { reject: false });
  if (!existsSync(json)) throw new Failure(`check said nothing of ${file}`);
}

function judgement({ name, commit }: Source, json: string, time: string): Judgement {
  const cases: Case[] = JSON.parse(json).mallocs[0].cases;
  const fatal = cases.filter(({ state, level }) => state === 'failed' && level === 'must');
  const [causes, others] = [
    fatal.filter(({ group }) => group === 'basics'),
    fatal.filter(({ group }) => group !== 'basics'),
  ];
  const hidden = (each: Case): number =>
    cases.filter(({ cause }) => cause === `${each.group}/${each.name}`).length;
  const [seconds = 0, user = 0, system = 0] = time.trim().split(' ').map(Number);
  return {
    name,
    commit: commit.slice(0, 7),
    failed: fatal.length,
    causes: causes.map((each) => `${each.name} (${hidden(each)}): ${plain(each.because)}`),
    others: others.map((each) => `${each.group}/${each.name}`),
    seconds,
    cpu: user + system,
  };
}

/** Removes what differs from run to run, and what would end the cell of a table. */
const plain = (because = ''): string =>
  because
    .replaceAll(/0x[0-9a-f]+/g, '0x…')
    .replaceAll('|', '/')
    .replace(/^(.{90}).+$/, '$1…');

/** Fetches, builds and judges all of the catalogue in this folder. */
export async function judgeAll(given: string): Promise<Judged> {
  const folder = resolve(given);
  mkdirSync(folder, { recursive: true });
  const list = JSON.parse(readFileSync(join(catalogue, 'catalogue.json'), 'utf8'));
  const mallocs: Judgement[] = [];
  for (const source of list.mallocs as Source[]) {
    const slug = source.url.split('/').at(-1) ?? '';
    progress(source.name);
    await judge(folder, slug, await library(folder, slug, source));
    const read = (end: string): string => readFileSync(join(folder, `${slug}.${end}`), 'utf8');
    mallocs.push(judgement(source, read('json'), read('time')));
  }
  progress('');
  return { provenance: provenance([]), mallocs };
}

const others = (names: string[]): string => {
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : '';
  return names.slice(0, NAMED).join(', ') + more;
};

/** The generated block of docs/safety.md. */
export function judgedText({ mallocs, provenance: { date, load } }: Judged): string {
  const head = ['malloc', 'version', 'verdict', 'causes', 'what else fails', 'time', 'CPU'];
  const rows = mallocs.map((each) => [
    each.name,
    each.commit,
    each.failed > 0 ? `failed ${each.failed}` : 'passed',
    each.causes.join('; '),
    others(each.others),
    `${Math.round(each.seconds)} s`,
    `${Math.round(each.cpu)} s`,
  ]);
  return `${markdownTable(head, rows)}\n\nMeasured on ${date}, at a load of ${load}.`;
}
