import { join } from 'node:path';
import type { Case, Verdict } from '../../scripts/check/case.ts';
import { isSlow } from '../../scripts/check/features.ts';
import type { Port } from './machines.ts';

/** A case of `libmalloc check` on another machine, under a variant that was built for it. */
export function tryCase(machine: Port, variant: string, each: Case): Promise<Verdict> {
  const file = join(machine.libraries, `libmalloc-${variant}.so`);
  const malloc = { name: variant, kind: 'variant' as const, file };
  return each.run({ malloc, slow: isSlow(variant), machine }, 1);
}
