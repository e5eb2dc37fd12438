// A program in the foreground, its calls counted.

import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../lib/folders.ts';
import { launchInForeground } from '../malloc/foreground.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import type { Launched } from '../malloc/preload.ts';
import { openTrace, proofsOf, type Trace } from '../trace/trace.ts';
import { type Counts, countsOf, together } from './counts.ts';
import { describeCounts } from './show-counts.ts';

/** The counts, as text and as JSON. */
export interface Counted {
  lines: string[];
  json: { stats: Counts | null; statsByProcess: { pid: number; stats: Counts | null }[] };
}

/** As launchInForeground with a report: the trace library says who provided malloc. */
export async function launchCounted(
  m: Malloc,
  argv: string[],
  timeout: number | undefined,
): Promise<{ result: Launched; counted: Counted | undefined }> {
  const folder = temporaryFolder('stats');
  try {
    const file = join(folder, 'counts');
    const result = await launchInForeground(m, argv, {
      trace: `count,${file}`,
      timeout,
      report: true,
    });
    if (!existsSync(file)) return { result, counted: undefined };
    const trace = openTrace(file);
    const counted = summary(trace);
    const proofs = proofsOf(trace);
    trace.close();
    return { result: { ...result, proofs }, counted };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function summary(trace: Trace): Counted {
  const each = trace.processes.map((process) => ({
    pid: process.pid,
    stats: countsOf(trace, process) ?? null,
  }));
  const all = together(each.map(({ stats }) => stats).filter((stats) => stats !== null));
  return {
    lines: [...(all ? describeCounts(all, each.length) : ['no calls']), ...trace.damage],
    json: { stats: all ?? null, statsByProcess: each },
  };
}
