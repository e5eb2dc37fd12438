// Measures what the heap commands of GDB cost on millions of blocks, for docs/debugging.md.

import { join } from 'node:path';
import { compileInto } from '../lib/compile.ts';
import { Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { markdownTable } from './blocks.ts';
import { transcript } from './transcript.ts';

/** Seconds of GDB's processor time: by malloc, by command. */
export interface Costs {
  blocks: number;
  seconds: Record<string, Record<string, number>>;
}

/** The mallocs to measure on, each as it is typed after -m. */
const mallocs = [
  ...['list', 'buddy', 'paged', 'sharded', 'glibc', 'mimalloc'],
  ...['jemalloc --track', 'list --debug', 'sharded --debug'],
];

const line = /^ *([\d.]+) s .* KiB {2}(.*)$/gm;
const fixture = (file: string): string => join(root, 'tests', 'programs', file);

/** The costs on all mallocs. Throws a Failure if GDB or a malloc is missing. */
export async function measureCosts(blocks: number): Promise<Costs> {
  const seconds: Costs['seconds'] = {};
  for (const malloc of mallocs) {
    process.stderr.write(`heap commands on ${malloc}\n`);
    seconds[malloc] = await measureOn(malloc, blocks);
  }
  return { blocks, seconds };
}

async function measureOn(name: string, blocks: number): Promise<Record<string, number>> {
  const [malloc = '', option] = name.split(' ');
  const flags = ['-O1', '-g', '-fno-builtin'];
  const program = compileInto(join(root, 'build', 'tests'), fixture('gdb-million.c'), flags);
  const text = await transcript({
    // list would take hours to find room for so many blocks, so the program carves them.
    program: [program, `${blocks}`, ...(malloc === 'list' ? ['carved'] : [])],
    malloc,
    debug: option === '--debug',
    track: option === '--track',
    break: ['stop_here'],
    on: [],
    commands: [`source ${fixture('gdb-million.gdb')}`],
  });
  const found = [...text.matchAll(line)].map(([, cost, command]) => [command, Number(cost)]);
  if (!found.length) throw new Failure(`the heap commands were not measured on ${name}:\n${text}`);
  return Object.fromEntries(found);
}

/** The generated block `costs` of docs/debugging.md. */
export function costsBlock({ blocks, seconds }: Costs): string {
  const commands = Object.keys(Object.values(seconds)[0] ?? {});
  const rows = Object.entries(seconds).map(([malloc, costs]) => [
    malloc,
    ...commands.map((command) => short(costs[command] ?? Number.NaN)),
  ]);
  const heading = commands.map((command) => `\`${command}\``);
  const said = `With ${blocks.toLocaleString('en')} blocks, a third of them free, the commands need this many seconds of GDB's
processor time, each as the first command at a stop (\`make bench-gdb\` measures them all in one run):`;
  return `${said}\n\n${markdownTable(['', ...heading], rows)}`;
}

const short = (cost: number): string => (cost < 0.095 ? cost.toPrecision(1) : cost.toFixed(1));
