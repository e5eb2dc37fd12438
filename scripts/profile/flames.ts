// Profiles for programs that draw flame graphs: folded stacks and speedscope.

import type { Frame } from '../symbols/frame.ts';
import type { Profile } from '../trace/profile.ts';
import { amountOf, type Measure, measures, programOf, stacksOf } from './measures.ts';

/** What stands for a function in one line of text: `;` separates frames, a blank the number. */
const folded = ({ function: name }: Frame): string => name.replaceAll(/[;\n]/g, ':');

/** A line `program;main;load;parse 4096` for each stack: what flamegraph.pl and others read. */
export function toFolded(profile: Profile, measure: Measure): string {
  const sums = new Map<string, number>();
  for (const { process, site, frames } of stacksOf(profile)) {
    const bytes = Math.round(amountOf(site, measure).bytes);
    const names = [programOf(process), ...frames.map(folded).reverse()];
    const line = names.join(';');
    if (bytes > 0) sums.set(line, (sums.get(line) ?? 0) + bytes);
  }
  return [...sums].map(([line, bytes]) => `${line} ${bytes}\n`).join('');
}

/** https://www.speedscope.app/file-format-schema.json: a profile for each measure and process. */
export function toSpeedscope(profile: Profile): string {
  const numbers = new Map(profile.frames.map((frame, i) => [frame, i]));
  const stacks = stacksOf(profile);
  const profiles = (Object.keys(measures) as Measure[]).flatMap((measure) =>
    profile.processes.map((process) => {
      const there = stacks.filter(
        (each) => each.process === process && amountOf(each.site, measure).bytes > 0,
      );
      const weights = there.map(({ site }) => Math.round(amountOf(site, measure).bytes));
      return {
        type: 'sampled',
        name: `${measures[measure].replace(/:.*/, '')}: ${programOf(process)} ${process.pid}`,
        unit: 'bytes',
        startValue: 0,
        endValue: weights.reduce((sum, n) => sum + n, 0),
        samples: there.map(({ frames }) =>
          frames.map((frame) => numbers.get(frame) as number).reverse(),
        ),
        weights,
      };
    }),
  );
  return JSON.stringify({
    $schema: 'https://www.speedscope.app/file-format-schema.json',
    exporter: 'libmalloc',
    name: profile.command.join(' '),
    activeProfileIndex: 0,
    shared: {
      frames: profile.frames.map(({ function: name, file, line }) => ({
        name,
        ...(file !== undefined && { file }),
        ...(line !== undefined && { line }),
      })),
    },
    profiles,
  });
}
