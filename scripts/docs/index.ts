// `make docs`: measures, then regenerates every generated picture and every generated part of a
// document. `--draw` measures nothing and draws from docs/*.json; `--bench FILE` takes the
// results of `libmalloc bench --json FILE` for docs/bench.md. One part alone: `--hunt` repeats the
// sessions of docs/debugging.md, `--ladder` measures for docs/ladder.md, `--heaps` records and draws
// the heap maps, `--life` measures the long lives of docs/bench.md (`--life-from FILE` takes the results of
// `libmalloc bench life --json FILE`), and `--safety SECONDS` measures for docs/safety.md, with random
// calls for SECONDS in all. With 0, and when everything is measured, the record of random calls is kept.
// `--costs BLOCKS` measures the heap commands of GDB for docs/debugging.md.
// `--judged FOLDER` fetches and builds the mallocs of tests/public there, and judges them.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { measure, planBench } from '../bench/index.ts';
import type { BenchResult } from '../bench/result.ts';
import { selectMallocs } from '../bench/select.ts';
import { describeFailure, Failure } from '../lib/errors.ts';
import { root } from '../lib/paths.ts';
import { svgOf } from '../picture/figure.ts';
import { tryArticle } from './article.ts';
import { benchBlocks, benchPictures } from './bench-document.ts';
import { blockNames, fillBlocks, readableJson } from './blocks.ts';
import { bugBlock, bugs, type Found, findAll } from './bugs.ts';
import { type Costs, costsBlock, measureCosts } from './costs.ts';
import { heapPictures } from './heap-maps.ts';
import { type Hunts, huntAll, huntBlock } from './hunt.ts';
import { type Judged, judgeAll, judgedText } from './judged.ts';
import { type Ladder, ladderBlocks, ladderPictures } from './ladder.ts';
import { lifeBlocks, lifePictures } from './life-document.ts';
import { type Platforms, platformBlocks } from './platforms.ts';
import { referenceBlocks } from './reference.ts';
import { measureMisuse, measureRandom, type Safety, safetyBlocks } from './safety.ts';

/** All that documents and pictures are generated from. */
export interface Measured {
  ladder: Ladder;
  /** What docs/bench.json holds. */
  bench: BenchResult;
  /** What docs/life.json holds: a bench of scenarios. */
  life: BenchResult;
  /** The sessions of docs/debugging.md, as docs/debugging.json holds them. */
  hunts: Hunts;
  /** The bugs of docs/debugging.md, as docs/bugs.json holds them. */
  bugs: Found;
  /** What docs/gdb-costs.json holds: the time that heap commands take. */
  costs: Costs;
  /** What docs/safety.json holds. */
  safety: Safety;
  /** What docs/judged.json holds: what `check` says of mallocs of others. */
  judged: Judged;
  /** What docs/platforms.json holds: `make ports` writes it. */
  platforms: Platforms;
}

const reference = await referenceBlocks();

const files = {
  ladder: join(root, 'docs', 'ladder.json'),
  bench: join(root, 'docs', 'bench.json'),
  life: join(root, 'docs', 'life.json'),
  hunts: join(root, 'docs', 'debugging.json'),
  bugs: join(root, 'docs', 'bugs.json'),
  costs: join(root, 'docs', 'gdb-costs.json'),
  safety: join(root, 'docs', 'safety.json'),
  judged: join(root, 'docs', 'judged.json'),
  platforms: join(root, 'docs', 'platforms.json'),
};

/** A generated block by name, or undefined. */
function block(name: string, measured: Measured): string | undefined {
  const { ladder, bench, life, hunts, safety, judged, platforms } = measured;
  return (
    ladderBlocks[name]?.(ladder) ??
    benchBlocks[name]?.(bench) ??
    lifeBlocks[name]?.(life) ??
    safetyBlocks[name]?.(safety) ??
    platformBlocks[name]?.(platforms) ??
    reference[name]?.() ??
    huntBlock(name, hunts) ??
    bugBlock(name, measured.bugs) ??
    (name === 'costs' ? costsBlock(measured.costs) : undefined) ??
    (name === 'judged' ? judgedText(judged) : undefined) ??
    (name === 'launch' ? launchBlock() : undefined)
  );
}

/** The example for VS Code, as tests/gdb/editors.test.ts plays it. */
const launchBlock = (): string =>
  `\`\`\`json\n${readFileSync(join(root, '.vscode', 'launch.json'), 'utf8')}\`\`\``;

/** A document with its generated blocks up to date. Throws Failure for an unknown block. */
export function generate(text: string, data: Measured): string {
  return fillBlocks(text, (name) => {
    const text = block(name, data);
    if (text === undefined) {
      const hunts = Object.keys(data.hunts).map((variant) => `hunt-${variant}`);
      const known = [
        ...[ladderBlocks, benchBlocks, lifeBlocks, safetyBlocks, platformBlocks, reference].flatMap(
          Object.keys,
        ),
        ...hunts,
        ...Object.keys(bugs).map((name) => `bug-${name}`),
        'costs',
        'judged',
        'launch',
      ];
      throw new Failure(`unknown generated block: ${name}`, { hint: `known: ${known.join(', ')}` });
    }
    return text;
  });
}

/** The pictures by file name in docs/. */
export function pictures({ ladder, bench, life }: Measured): Record<string, string> {
  const all = { ...ladderPictures(ladder), ...benchPictures(bench), ...lifePictures(life) };
  return Object.fromEntries(Object.entries(all).map(([file, drawn]) => [file, svgOf(drawn)]));
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

async function measureLadder(): Promise<Ladder> {
  const none = { workloads: [], programs: [], scenarios: [] };
  const plan = { ...none, measurements: ['pairs' as const, 'curve' as const] };
  return { ...(await measure(plan, selectMallocs([]), {})), article: await tryArticle(root) };
}

const measureBench = () => measure(planBench([]), selectMallocs([], { hard: true }), {});
const measureLives = () => measure(planBench(['life']), selectMallocs([], { hard: true }), {});

/** Reads a file of `libmalloc bench --json FILE`. Throws Failure if it is none, or lacks that part. */
function readBench(file: string, part: 'contests' | 'life'): BenchResult {
  const hint = `libmalloc bench ${part === 'life' ? 'life ' : ''}--json ${file}`;
  if (!existsSync(file)) throw new Failure(`there is no file ${file}`, { hint });
  const { schema, ...found } = JSON.parse(readFileSync(file, 'utf8'));
  if (schema !== 'libmalloc/bench/1' || found[part] === undefined)
    throw new Failure(`${file} has no ${part} of a bench`, { hint });
  return found;
}

/** Earlier measurements, which `make docs` keeps in docs/. */
export function readMeasured(): Measured {
  const read = (file: string) => JSON.parse(readFileSync(file, 'utf8'));
  return {
    ladder: read(files.ladder),
    bench: read(files.bench),
    life: read(files.life),
    hunts: read(files.hunts),
    bugs: read(files.bugs),
    costs: read(files.costs),
    safety: read(files.safety),
    judged: read(files.judged),
    platforms: read(files.platforms),
  };
}

/** Records and draws the heap maps; the recordings are too large to keep. */
async function drawHeaps(): Promise<void> {
  for (const [file, svg] of Object.entries(await heapPictures()))
    writeFileSync(join(root, 'docs', file), svg);
}

async function measureSafety(seconds: number): Promise<Safety> {
  const misuse = await measureMisuse();
  const random = seconds > 0 ? await measureRandom(seconds) : readMeasured().safety.random;
  return { ...misuse, random };
}

function wholeNumber(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new Failure(`${option} needs a whole number, and not ${text}`);
  return value;
}

/** Measures what is not given, and keeps it. */
async function measureAll(options: {
  draw?: boolean;
  bench?: string;
  hunt?: boolean;
  costs?: string;
  ladder?: boolean;
  life?: boolean;
  'life-from'?: string;
  safety?: string;
  judged?: string;
}): Promise<Measured> {
  const seconds = wholeNumber('--safety', options.safety ?? '0');
  const lifeFrom = options['life-from'];
  const named = [options.draw, options.bench, options.hunt, options.ladder, options.safety];
  const parts = [...named, options.life, lifeFrom, options.judged, options.costs];
  const all = parts.every((part) => part === undefined);
  if (all || options.hunt) {
    writeFileSync(files.hunts, `${JSON.stringify(await huntAll(), null, 1)}\n`);
    writeFileSync(files.bugs, `${JSON.stringify(await findAll(), null, 1)}\n`);
  }
  if (options.costs !== undefined) {
    const costs = await measureCosts(wholeNumber('--costs', options.costs));
    writeFileSync(files.costs, readableJson(costs));
  }
  if (all || options.safety !== undefined)
    writeFileSync(files.safety, readableJson(await measureSafety(seconds)));
  if (all || options.ladder)
    writeFileSync(files.ladder, `${JSON.stringify(await measureLadder(), null, 1)}\n`);
  if (options.judged !== undefined)
    writeFileSync(files.judged, readableJson(await judgeAll(options.judged)));
  if (options.bench !== undefined) {
    writeFileSync(files.bench, readableJson(readBench(options.bench, 'contests')));
  } else if (all) {
    writeFileSync(files.bench, readableJson(await measureBench()));
    await drawHeaps();
  }
  if (all || options.life) writeFileSync(files.life, readableJson(await measureLives()));
  else if (lifeFrom !== undefined)
    writeFileSync(files.life, readableJson(readBench(lifeFrom, 'life')));
  return readMeasured();
}

async function docs(): Promise<void> {
  const { values } = parseArgs({
    options: {
      draw: { type: 'boolean' },
      bench: { type: 'string' },
      hunt: { type: 'boolean' },
      costs: { type: 'string' },
      ladder: { type: 'boolean' },
      life: { type: 'boolean' },
      'life-from': { type: 'string' },
      heaps: { type: 'boolean' },
      safety: { type: 'string' },
      judged: { type: 'string' },
    },
  });
  if (values.heaps) return drawHeaps();
  const data = await measureAll(values);
  for (const [file, svg] of Object.entries(pictures(data)))
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
