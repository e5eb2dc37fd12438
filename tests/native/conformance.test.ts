/** The semantics of calls, the reuse of memory, random calls: see scripts/check/. */
import { conformance } from '../lib/conform.ts';

const long = process.env.LONG === '1';

conformance('semantics');
conformance('structure', ({ quick }) => quick || long);
conformance('misuse', ({ promised }) => promised);
conformance('misuse', ({ promised }) => promised, { debug: true });
conformance('random');
conformance('random', ({ quick }) => quick, { debug: true });
for (const group of ['semantics', 'threads'] as const)
  conformance(group, ({ quick }) => quick || long, { debug: true });
if (long)
  for (const group of ['structure', 'process', 'exhaustion'] as const)
    conformance(group, () => true, { debug: true });
