// libmalloc view: a recorded heap as a page to look at, or as a picture.

import { writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { type PlayedTrace, playForeign } from '../foreign/played.ts';
import { isForeign } from '../foreign/source.ts';
import { Failure, reasonOf } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { bytes } from '../lib/units.ts';
import { resolveMalloc } from '../malloc/mallocs.ts';
import { checkEnvironment } from '../malloc/variables.ts';
import { writePicture } from '../picture/canvas.ts';
import { openTrace } from '../trace/trace.ts';
import type { HeapData } from './data.ts';
import { pageOf } from './fill.ts';
import { gather } from './gather.ts';
import { heapPicture } from './heap-picture.ts';
import { type Fluency, measurePage } from './measure.ts';

interface Options {
  malloc?: string[];
  output?: string;
  svg?: string;
  png?: string;
  process?: number;
  json?: string;
  measure?: boolean;
}

/** The verb `view`. */
export function viewCommand(): Command {
  return new Command('view')
    .summary('show a recorded heap: a page, or a picture')
    .description(
      'Makes one HTML file from traces of `libmalloc record`: a map of the heap that is moved through\n' +
        'time, with live and resident bytes, sizes and lifetimes. Several traces stand side by side.\n' +
        'A .rep file, or what mtrace, ltrace or heaptrack recorded, is played on M first.',
    )
    .argument('<traces...>', 'files that `libmalloc record` or another of these tools wrote')
    .option(
      '-m, --malloc <M>',
      'what plays a file that is no trace of ours; repeatable (default: the last variant)',
      (spec: string, all: string[] = []) => [...all, spec],
    )
    .option('-o, --output <file>', 'the page (default: the name of the first trace, and .html)')
    .option('--svg <file>', 'a still picture of the fullest moment')
    .option('--png <file>', 'the same as pixels')
    .option('--process <number>', 'which process of the trace (default: the busiest)', parseNumber)
    .option('--measure', 'open the page in headless chromium: how soon, how many pictures a second')
    .option('--json <file>', 'write the figures to a file (- is standard output)')
    .showHelpAfterError('(libmalloc view --help explains)')
    .addHelpText(
      'after',
      '\nWith --svg, --png or --json and without -o, no page is written.\n\nExit status: 0; 125 if libmalloc failed.',
    )
    .action(view);
}

function parseNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('a number from 1 on is needed');
  return Number(text);
}

async function view(traces: string[], options: Options): Promise<void> {
  checkEnvironment();
  const heaps: HeapData[] = [];
  for (const file of traces) heaps.push(...(await readHeaps(file, options)));
  const { svg, png, json } = options;
  if (svg !== undefined || png !== undefined) await draw(heaps, options);
  const facts = heaps.map((heap) => heap.facts);
  const picturesOnly = options.output === undefined && (svg ?? png ?? json) !== undefined;
  if (picturesOnly && !options.measure) {
    if (json !== undefined) writeJson('view', json, { heaps: facts });
    return;
  }
  const output = options.output ?? `${basename(traces[0] ?? '').replace(/\.\w+$/, '')}.html`;
  const page = pageOf(heaps);
  write(output, page, '-o');
  const said = json === '-' ? process.stderr : process.stdout;
  said.write(`${output}: ${bytes(page.length)}; open it in a browser\n`);
  const fluency = options.measure ? await measurePage(output) : undefined;
  if (fluency) said.write(`${describeFluency(fluency)}\n`);
  if (json !== undefined) writeJson('view', json, { heaps: facts, ...(fluency && { fluency }) });
}

function describeFluency({ open, framesPerSecond, frame95 }: Fluency): string {
  const seconds = (open / 1000).toFixed(2);
  const most = frame95.toFixed(0);
  return `in headless chromium: open after ${seconds} s; scrubbed at ${framesPerSecond.toFixed(0)} pictures a second, 19 of 20 within ${most} ms`;
}

/** One of a trace of ours; of another tool's one for each malloc that plays it. */
async function readHeaps(file: string, options: Options): Promise<HeapData[]> {
  if (!isForeign(file)) return [readHeap(file, options.process)];
  const heaps: HeapData[] = [];
  for (const spec of options.malloc ?? [undefined]) {
    const played = await playForeign(file, resolveMalloc(spec));
    try {
      const heap = readHeap(played.file, undefined);
      heaps.push({ ...heap, facts: { ...heap.facts, command: played.name, file: basename(file) } });
      for (const line of [score(heap.facts.malloc, played), ...played.remarks])
        process.stderr.write(`libmalloc: ${file}: ${line}\n`);
    } finally {
      played.remove();
    }
  }
  return heaps;
}

/** Its utilisation, as the malloc lab has it. */
function score(malloc: string, { peakLive, heap }: PlayedTrace): string {
  const share = heap > 0 ? ` of heap: utilisation ${((100 * peakLive) / heap).toFixed(0)} %` : '';
  return `${malloc} has at most ${bytes(peakLive)} alive in ${bytes(heap)}${share}`;
}

/** A damaged trace is shown as far as it can be read, with a message. */
function readHeap(file: string, number: number | undefined): HeapData {
  const trace = openTrace(file);
  try {
    const heap = gather(trace, { process: number, progress: progressOf(file) });
    for (const sentence of trace.damage.slice(0, 5))
      process.stderr.write(`libmalloc: ${file}: ${sentence}\n`);
    if (trace.damage.length > 5)
      process.stderr.write(`libmalloc: ${file}: and ${trace.damage.length - 5} more like these\n`);
    return heap;
  } finally {
    trace.close();
  }
}

/** A line of progress, if standard error is a terminal. */
function progressOf(file: string): ((share: number) => void) | undefined {
  if (!process.stderr.isTTY) return undefined;
  return (share) => {
    const end = share >= 0.995 ? '\r\x1b[K' : '';
    process.stderr.write(`\r${basename(file)}: ${Math.floor(share * 100)} %${end}`);
  };
}

async function draw(heaps: readonly HeapData[], { svg, png }: Options): Promise<void> {
  const picture = heapPicture(heaps);
  if (svg !== undefined) writePicture(svg, picture);
  if (png === undefined) return;
  const { Resvg } = await import('@resvg/resvg-js');
  const font = { loadSystemFonts: true, defaultFontFamily: 'DejaVu Sans' };
  write(
    png,
    new Resvg(picture, { font, fitTo: { mode: 'zoom', value: 2 } }).render().asPng(),
    '--png',
  );
}

function write(file: string, content: string | Uint8Array, option: string): void {
  try {
    writeFileSync(file, content);
  } catch (cause) {
    throw new Failure(`cannot write ${file}: ${reasonOf(cause)}`, {
      hint: `give ${option} a path that can be written`,
      cause,
    });
  }
}
