// The generated parts of docs/bench.md that `bench life` fills, from docs/life.json.

import type { Life } from '../bench/life.ts';
import { lifeBars, lifeTracks } from '../bench/life-pictures.ts';
import { lifeFailures, lifeFigures, lifeToBest } from '../bench/life-tables.ts';
import { describeProvenance } from '../bench/provenance.ts';
import type { BenchResult } from '../bench/result.ts';
import { readScenarios } from '../bench/scenarios.ts';
import { Failure } from '../lib/errors.ts';
import type { Figure } from '../picture/figure.ts';
import { marked, sentences } from './bench-document.ts';
import { markdownTable } from './blocks.ts';

function lifeOf({ life }: BenchResult): Life {
  if (life === undefined)
    throw new Failure('docs/life.json has no scenarios', { hint: 'make docs LIFE=1' });
  return life;
}

function figures(result: BenchResult, latency: boolean): string {
  const { head, rows } = lifeFigures(lifeOf(result), latency);
  return markdownTable(head, rows);
}

const ratios = (result: BenchResult, latency: boolean) =>
  marked(lifeToBest(lifeOf(result), latency), 3);

function notes(result: BenchResult): string {
  const life = lifeOf(result);
  const items = [
    ...lifeFailures(life).map((f) => `**${f.malloc}** failed in ${f.scenario}: ${f.reason}`),
    ...life.absent.map(({ name, reason }) => `${name} was not run: ${reason}`),
    ...result.notRun.map(({ malloc, reason }) => `${malloc} was not run: ${reason}`),
  ];
  return sentences(items, 'No malloc failed in any scenario.');
}

/** The current scenarios; figures may be of earlier ones. */
function catalogue(): string {
  const rows = readScenarios().map(({ name, about, shows }) => [name, about, shows]);
  const table = markdownTable(['name', 'what happens', 'what a high figure shows'], rows);
  return table.replaceAll('---:', '---');
}

function conditions(result: BenchResult): string {
  const { runs, amount } = lifeOf(result).plan;
  const plan = `runs of each: ${runs.memory} for memory, ${runs.latency} interleaved for latency`;
  return `\`\`\`\n${describeProvenance(result.provenance)}\n${plan}; amount: ${amount}\n\`\`\``;
}

/** Every generated block by name. */
export const lifeBlocks: Record<string, (result: BenchResult) => string> = {
  'life-memory': (result) => figures(result, false),
  'life-memory-ratios': (result) => ratios(result, false),
  'life-latency': (result) => figures(result, true),
  'life-latency-ratios': (result) => ratios(result, true),
  'life-notes': notes,
  'life-scenarios': catalogue,
  'life-conditions': conditions,
};

/** The pictures by file name in docs/. */
export function lifePictures(result: BenchResult): Record<string, Figure> {
  const life = lifeOf(result);
  return {
    'bench-life-memory.svg': lifeBars(life, false),
    'bench-life-latency.svg': lifeBars(life, true),
    'bench-life-cache.svg': lifeTracks(life),
  };
}
