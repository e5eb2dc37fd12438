import { keeps } from './keeps.ts';
import { gap } from './mallocs.ts';
import { skip } from './need.ts';

/** Who forks while somebody is inside malloc: see tests/programs/fork-anywhere.c. */
export type Mode = 'self' | 'other' | 'waiting';

export interface Sample {
  /** The instructions are dealt to so many parts… */
  parts: number;
  /** …of which these are tried, side by side: most of the time goes by waiting. */
  of: number[];
}

/** Forks at instructions of every call of the malloc family, and expects all children to live. */
export async function anywhere(variant: string, mode: Mode, sample: Sample): Promise<void> {
  if (process.arch !== 'x64') skip('single-stepping by the trap flag is written for x86-64');
  const unit = gap(variant, 'sizes') ? 16 : 160; // of which the largest block has 900
  await Promise.all(
    sample.of.map((part) =>
      keeps(variant, 'fork-anywhere', {
        args: [mode, unit, part, sample.parts],
        env: { LIBMALLOC_BLOCK: '16384' },
        timeout: 110,
      }),
    ),
  );
}
