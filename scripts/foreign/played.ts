// A trace with no addresses, or with another malloc's, played on a malloc and recorded.

import { rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { temporaryFolder } from '../lib/folders.ts';
import { provideNative } from '../malloc/from-source.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { launch } from '../malloc/preload.ts';
import { atOurEnd } from '../process/ending.ts';
import { writePlan } from '../trace/plan.ts';
import { openSource } from './source.ts';

/** A trace of ours, and what is to be said of it. */
export interface PlayedTrace {
  file: string;
  name: string;
  /** Bytes: the most alive, and the heap when it was largest (0 where that cannot be seen). */
  peakLive: number;
  heap: number;
  remarks: string[];
  remove: () => void;
}

/** Plays a .rep file, or a recording of another tool, on `m`. Throws Failure when `m` cannot. */
export async function playForeign(foreign: string, m: Malloc): Promise<PlayedTrace> {
  const player = provideNative('libmalloc-replay');
  const folder = temporaryFolder('played');
  const release = atOurEnd(() => rmSync(folder, { recursive: true, force: true }));
  const remove = () => {
    release();
    rmSync(folder, { recursive: true, force: true });
  };
  const source = openSource(foreign, undefined);
  try {
    const plan = join(folder, 'plan');
    const file = join(folder, basename(foreign).replaceAll(',', '_'));
    const { peakLive } = await writePlan(plan, source.steps());
    const { status, stderr } = await launch(m, [player, plan], { trace: file });
    if (status !== 0)
      throw new Failure(`${m.name} cannot play ${foreign}: ${stderr.toString().trim()}`);
    const { stdout } = await launch(m, [player, '--heap', plan]);
    const { heap } = JSON.parse(stdout.toString()) as { heap: number };
    return { file, name: source.name, peakLive, heap, remarks: source.remarks(), remove };
  } catch (error) {
    remove();
    throw error;
  } finally {
    source.close();
  }
}
