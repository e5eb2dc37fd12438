import { describe, expect, test } from 'vitest';
import type { Case, Group } from '../../scripts/check/case.ts';
import { idle } from '../../scripts/check/cases/real-programs.ts';
import { isSlow } from '../../scripts/check/features.ts';
import { casesOf } from '../../scripts/check/groups.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { skip } from './need.ts';
import { everyVariant } from './variants.ts';

/** One case of `libmalloc check` under a variant, as a test: it passes, or is skipped with the reason. */
export async function conforms(variant: string, each: Case, debug = false): Promise<void> {
  const subject = { malloc: resolveMalloc(variant, { debug }), slow: isSlow(variant) };
  const { state, because, failure } = await each.run(subject, 1);
  if (state === 'skipped') {
    const required = process.env.REQUIRE === '1' && / is missing: /.test(because ?? '');
    expect(required || because?.endsWith(idle), because).toBe(false);
    skip(because ?? '');
  }
  expect(state, [because, failure?.reproduce, failure?.printed].join('\n')).not.toBe('failed');
}

/** Milliseconds: a case gives up before that, and says why. */
const PATIENCE = 300_000;

/** A test for each case of a group and each variant; `wanted` leaves some out. */
export function conformance(
  group: Group,
  wanted: (each: Case) => boolean = () => true,
  { debug = false } = {},
): void {
  describe.each(everyVariant)(debug ? 'the debug build of %s' : '%s', (variant) => {
    for (const each of casesOf(group).filter(wanted))
      test(`${each.name}: ${each.promise}`, () => conforms(variant, each, debug), PATIENCE);
  });
}
