// libmalloc view: shows a recorded heap as a page or a picture.

import { basename } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { type PlayedTrace, playForeign } from '../foreign/played.ts';
import { isForeign } from '../foreign/source.ts';
import { Failure } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { writeOutput } from '../lib/outputs.ts';
import { bytes } from '../lib/units.ts';
import { resolveMalloc } from '../malloc/mallocs.ts';
import { checkEnvironment } from '../malloc/variables.ts';
import { isProfileFile, readProfile } from '../trace/profile.ts';
import type { HeapData } from './data.ts';
import { pageOf } from './fill.ts';
import { type Fluency, measurePage } from './measure.ts';
import { showProfile } from './profiled.ts';
import { readShown, type ShownTrace } from './read.ts';

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
      'Makes one HTML file from traces of `libmalloc record`: a map of the heap at any moment, with\n' +
        'live and resident bytes, sizes and lifetimes. Several traces stand side by side.\n' +
        'A profile of `libmalloc profile -o F.json` has no map; the page shows its snapshots.\n' +
        'A .rep file, or a recording of mtrace, ltrace or heaptrack, is first replayed on M.',
    )
    .argument('<traces...>', 'files that `libmalloc record` or one of these tools wrote')
    .option(
      '-m, --malloc <M>',
      'the malloc that replays a file of another tool; repeatable (default: the last variant)',
      (spec: string, all: string[] = []) => [...all, spec],
    )
    .option('-o, --output <file>', 'the page (default: the name of the first trace, and .html)')
    .option('--svg <file>', 'a picture of the moment with most live bytes')
    .option('--png <file>', 'the same picture as PNG')
    .option('--process <number>', 'which process of the trace (default: the busiest)', parseNumber)
    .option('--measure', 'measure how fast headless chromium opens and redraws the page')
    .option('--json <file>', 'write the figures to a file (- is standard output)')
    .showHelpAfterError('(libmalloc view --help explains)')
    .addHelpText(
      'after',
      '\nWith --svg, --png or --json and without -o, no page is written.\n\nExit status: 0; 125 if libmalloc failed.',
    )
    .action(view);
}

function parseNumber(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('give a number from 1 on.');
  return Number(text);
}

async function view(traces: string[], options: Options): Promise<void> {
  checkEnvironment();
  const { svg, png, json } = options;
  const picturesOnly = options.output === undefined && (svg ?? png ?? json) !== undefined;
  const others = !picturesOnly || options.measure === true;
  const shown: ShownTrace[] = [];
  for (const file of traces) shown.push(...(await readTrace(file, options, others)));
  const heaps = shown.map(({ heap }) => heap);
  if ((svg ?? png) !== undefined && heaps.some(({ facts }) => facts.moments))
    throw new Failure('a picture shows the addresses of blocks, which a profile does not record', {
      hint: 'make a page: libmalloc view -o F.html PROFILE',
    });
  if (svg !== undefined || png !== undefined) await draw(heaps, options);
  const facts = heaps.map((heap) => heap.facts);
  if (picturesOnly && !options.measure) {
    if (json !== undefined) writeJson('view', json, { heaps: facts });
    return;
  }
  const output = options.output ?? `${basename(traces[0] ?? '').replace(/\.\w+$/, '')}.html`;
  const page = pageOf(shown.map(({ processes }) => processes));
  writeOutput('-o', output, page);
  const said = json === '-' ? process.stderr : process.stdout;
  said.write(`${output}: ${bytes(page.length)}; open it in a browser\n`);
  const fluency = options.measure ? await measurePage(output) : undefined;
  if (fluency) said.write(`${describeFluency(fluency)}\n`);
  if (json !== undefined) writeJson('view', json, { heaps: facts, ...(fluency && { fluency }) });
}

function describeFluency({ open, framesPerSecond, frame95 }: Fluency): string {
  const seconds = (open / 1000).toFixed(2);
  const most = frame95.toFixed(0);
  return `in headless chromium: opened in ${seconds} s; ${framesPerSecond.toFixed(0)} frames a second while the slider moved, 19 of 20 frames within ${most} ms`;
}

/** One entry for a trace of ours; for a file of another tool, one for each malloc that replays it. */
async function readTrace(file: string, options: Options, others: boolean): Promise<ShownTrace[]> {
  if (isProfileFile(file)) return [showProfile(readProfile(file), file, options.process)];
  if (!isForeign(file)) return [await readShown(file, { process: options.process, others })];
  const shown: ShownTrace[] = [];
  for (const spec of options.malloc ?? [undefined]) {
    const played = await playForeign(file, resolveMalloc(spec));
    try {
      const called = { command: played.name, file: basename(file) };
      const one = await readShown(played.file, { called });
      shown.push(one);
      for (const line of [score(one.heap.facts.malloc, played), ...played.remarks])
        process.stderr.write(`libmalloc: ${file}: ${line}\n`);
    } finally {
      played.remove();
    }
  }
  return shown;
}

/** Peak live bytes and heap size; their ratio is the utilisation that the malloc lab scores. */
function score(malloc: string, { peakLive, heap }: PlayedTrace): string {
  const share = heap > 0 ? `, utilisation ${((100 * peakLive) / heap).toFixed(0)} %` : '';
  return `${malloc}: at most ${bytes(peakLive)} live in a heap of ${bytes(heap)}${share}`;
}

async function draw(heaps: readonly HeapData[], { svg, png }: Options): Promise<void> {
  const { heapPicture } = await import('./heap-picture.ts');
  const picture = heapPicture(heaps);
  if (svg !== undefined) writeOutput('--svg', svg, picture);
  if (png === undefined) return;
  const { Resvg } = await import('@resvg/resvg-js');
  const font = { loadSystemFonts: true, defaultFontFamily: 'DejaVu Sans' };
  const image = new Resvg(picture, { font, fitTo: { mode: 'zoom', value: 2 } }).render();
  writeOutput('--png', png, image.asPng());
}
