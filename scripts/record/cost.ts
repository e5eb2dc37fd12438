// The cost of recording: the same calls bare, passed on, counted and recorded.

import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { progress } from '../lib/progress.ts';
import { type Summary, summarize } from '../lib/stats.ts';
import { table } from '../lib/table.ts';
import { provideNative } from '../malloc/from-source.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { launch } from '../malloc/preload.ts';
import { writePlan } from '../trace/plan.ts';
import type { Step } from '../trace/steps.ts';

const CALLS = 2_000_000;
const LIVE = 100;
const ROUNDS = 7;
const way = ['bare', 'passed on', 'recorded', 'with sites', 'with stacks'] as const;
type Way = (typeof way)[number];

/** Nanoseconds of CPU for a call, more than without us; and bytes of the trace for a call. */
export interface Cost {
  malloc: string;
  calls: number;
  nanoseconds: Record<Exclude<Way, 'bare'>, Summary>;
  bytesPerCall: number;
}

/** Small blocks, a hundred alive at a time: malloc itself is at its fastest. */
function* steps(): Generator<Step, void> {
  const step: Step = { kind: 'malloc', thread: 0, slot: 0, old: -1, size: 0, alignment: 0 };
  for (let i = 0; i < CALLS / 2; i++) {
    step.slot = i % LIVE;
    if (i >= LIVE) {
      step.kind = 'free';
      yield step;
    }
    step.kind = 'malloc';
    step.size = 16 + ((i * 37) % 240);
    yield step;
  }
}

/** Plays the same calls in four ways, in turn. Throws Failure when one of them fails. */
export async function measureCost(m: Malloc): Promise<Cost> {
  const player = provideNative('libmalloc-replay');
  const folder = temporaryFolder('cost');
  try {
    const plan = join(folder, 'plan');
    const trace = join(folder, 'trace');
    const { calls } = await writePlan(plan, steps());
    const traces: Record<Way, string | undefined> = {
      bare: undefined,
      'passed on': '',
      recorded: trace,
      'with sites': `sites,${trace}`,
      'with stacks': `stacks,${trace}`,
    };
    const times: Record<Way, number[]> = {
      bare: [],
      'passed on': [],
      recorded: [],
      'with sites': [],
      'with stacks': [],
    };
    let bytes = 0;
    for (let round = 0; round < ROUNDS; round++) {
      for (const each of way) {
        progress(`cost: ${each}, run ${round + 1} of ${ROUNDS}`);
        rmSync(trace, { force: true });
        const run = await launch(m, [player, plan], { trace: traces[each], timeout: 300 });
        if (run.status !== 0) throw new Failure(`${m.name} failed: ${run.stderr}`);
        times[each].push((JSON.parse(run.stdout.toString()).cpu / calls) * 1e9);
        if (each === 'recorded') bytes = statSync(trace).size;
      }
    }
    progress('');
    const bare = summarize(times.bare).median;
    const more = (each: Way): Summary => summarize(times[each].map((time) => time - bare));
    return {
      malloc: m.name,
      calls,
      nanoseconds: {
        'passed on': more('passed on'),
        recorded: more('recorded'),
        'with sites': more('with sites'),
        'with stacks': more('with stacks'),
      },
      bytesPerCall: bytes / calls,
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The costs as a table. */
export function describeCost(cost: Cost): string {
  const rows = Object.entries(cost.nanoseconds).map(([name, { median, low, high }]) => [
    name,
    `${median.toFixed(0)} ns`,
    `${low.toFixed(0)} to ${high.toFixed(0)}`,
  ]);
  return [
    `CPU time that recording adds to a call of ${cost.malloc}:`,
    '',
    table(['calls are', 'median', 'half of the runs'], rows, ['left', 'right', 'right']),
    '',
    `${cost.bytesPerCall.toFixed(1)} bytes a call in the trace, without sites.`,
    '',
  ].join('\n');
}
