// The four things that a profile can be asked about, and its stacks with the amounts of one.

import type { Frame } from '../symbols/frame.ts';
import type { Amount, Profile, ProfileProcess, ProfileSite } from '../trace/profile.ts';
import { framesOf } from '../trace/profile.ts';

export type Measure = 'live' | 'peak' | 'all' | 'short';

/** Each with its title. */
export const measures: Readonly<Record<Measure, string>> = {
  live: 'live at the end',
  peak: 'live at the peak',
  all: 'all allocated',
  short: 'short-lived: freed by the same thread before it allocated anything else',
};

export function amountOf(
  site: Pick<ProfileSite, 'live' | 'peak' | 'allocated' | 'shortLived'>,
  measure: Measure,
): Amount {
  if (measure === 'all') return site.allocated;
  return measure === 'short' ? site.shortLived : site[measure];
}

/** A call stack of one process, the innermost function first, with what was allocated there. */
export interface Stack {
  process: ProfileProcess;
  site: ProfileSite;
  frames: Frame[];
}

/** Every stack that something was allocated from. */
export function stacksOf(profile: Profile): Stack[] {
  return profile.processes.flatMap((process) =>
    process.sites.map((site) => ({ process, site, frames: framesOf(profile, process, site.node) })),
  );
}

/** The name of a program for people: without its folder. */
export function programOf({ executable, command }: ProfileProcess): string {
  return (command[0] ?? executable).split('/').at(-1) || executable;
}
