// `bench curve`: what one call costs while 10² … 10⁶ blocks live.

import { progress } from '../lib/progress.ts';
import { ordered, type Summary, summarize } from '../lib/stats.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { withinLimits } from './limits.ts';
import { type Outcome, type Section, stepWorkload, timeWorkload } from './workload.ts';

export interface CurvePlan {
  /** Numbers of live blocks, ascending. */
  sizes: number[];
  runs: number;
  /** Seconds that preparing one point may take, and that one measured section may take. */
  budget: number;
  /** Single steps per point; 0 counts no instructions. */
  steps: number;
  /** The least number of calls to step through, however many steps that takes. */
  least: number;
}

export interface CurvePoint {
  live: number;
  /** CPU nanoseconds per call, the workload's own loop included. */
  nanoseconds: Summary;
  /** Instructions per call, outside of the workload. */
  instructions?: number;
  note?: string;
}

export interface Curve {
  malloc: string;
  points: CurvePoint[];
  /** The first size that is missing, and why. */
  stopped?: { live: number; reason: string };
}

/** Fewer calls than this give no reliable figure. */
const ENOUGH_CALLS = 200;

/** The default plan, or one that ends in under two minutes with three mallocs. */
export function planCurve(options: { quick?: boolean; runs?: number }): CurvePlan {
  const half = (exponent: number) => Math.round(10 ** exponent);
  return options.quick
    ? {
        sizes: [2, 3, 4, 5].map(half),
        runs: options.runs ?? 3,
        budget: 2,
        steps: 15_000,
        least: 8,
      }
    : {
        sizes: [2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6].map(half),
        runs: options.runs ?? 3,
        budget: 5,
        steps: 20_000,
        least: 12,
      };
}

/** The measured section, or the reason why it is not good enough for a point. */
function measured({ sections, stopped }: Outcome): Section | string {
  const section = sections[0];
  if (section !== undefined && section.calls >= ENOUGH_CALLS) return section;
  return stopped ?? `only ${section?.calls ?? 0} calls within the budget`;
}

async function timePoint(
  mallocs: readonly Malloc[],
  live: number,
  plan: CurvePlan,
): Promise<Map<Malloc, CurvePoint | string>> {
  const times = new Map<Malloc, number[]>(mallocs.map((malloc) => [malloc, []]));
  const results = new Map<Malloc, CurvePoint | string>();
  for (let round = 0; round < plan.runs; round++) {
    for (const malloc of ordered(mallocs, round)) {
      if (typeof results.get(malloc) === 'string') continue;
      progress(
        `curve: ${malloc.name}, ${live} live blocks, run ${round + 1} of ${plan.runs}, CPU time`,
      );
      const options = { live, calls: Math.max(400_000, live), budget: plan.budget };
      const outcome = await timeWorkload(malloc, 'curve', withinLimits(malloc, options));
      const section = measured(outcome);
      if (typeof section === 'string') {
        results.set(malloc, section);
        continue;
      }
      times.get(malloc)?.push((section.seconds / section.calls) * 1e9);
      const note = outcome.stopped && `${outcome.stopped} after ${section.calls} calls`;
      const nanoseconds = summarize(times.get(malloc) ?? []);
      results.set(malloc, { live, nanoseconds, ...(note ? { note } : {}) });
    }
  }
  return results;
}

/** Instructions per call at one size; undefined if the workload did not reach it. */
async function stepPoint(
  malloc: Malloc,
  live: number,
  plan: CurvePlan,
): Promise<number | undefined> {
  progress(`curve: ${malloc.name}, ${live} live blocks, counting instructions`);
  const options = { live, calls: 4000, least: plan.least, budget: plan.budget };
  const { sections } = await stepWorkload(
    malloc,
    'curve',
    withinLimits(malloc, options),
    plan.steps,
  );
  const section = sections[0];
  if (!section?.calls || section.instructions === undefined) return undefined;
  return section.instructions / section.calls;
}

/**
 * Measures the curve of every malloc, runs interleaved. A malloc that cannot reach a size (time,
 * memory, a crash) ends there, with the reason; larger sizes are not tried.
 */
export async function measureCurve(
  mallocs: readonly Malloc[],
  plan: CurvePlan,
): Promise<{ curves: Curve[]; uncounted?: string }> {
  const curves = new Map<Malloc, Curve>(mallocs.map((m) => [m, { malloc: m.name, points: [] }]));
  let uncounted: string | undefined;
  for (const live of plan.sizes) {
    const going = mallocs.filter((malloc) => curves.get(malloc)?.stopped === undefined);
    for (const [malloc, result] of await timePoint(going, live, plan)) {
      const curve = curves.get(malloc);
      if (curve === undefined) continue;
      if (typeof result === 'string') {
        curve.stopped = { live, reason: result };
        continue;
      }
      curve.points.push(result);
      if (plan.steps === 0 || uncounted !== undefined) continue;
      try {
        const instructions = await stepPoint(malloc, live, plan);
        if (instructions !== undefined) result.instructions = instructions;
      } catch (error) {
        uncounted = (error as Error).message;
      }
    }
  }
  progress('');
  return { curves: [...curves.values()], ...(uncounted ? { uncounted } : {}) };
}
