import type { Contests } from './contests.ts';
import type { Curve } from './curve.ts';
import type { Life } from './life.ts';
import type { Pairs } from './pairs.ts';
import type { Provenance } from './provenance.ts';
import type { Selection } from './select.ts';
import type { Starts } from './start.ts';

/** The result of one `bench`: the JSON document without its schema. */
export interface BenchResult {
  provenance: Provenance;
  notRun: Selection['notRun'];
  contests?: Contests;
  start?: Starts;
  curve?: { curves: Curve[]; uncounted?: string };
  pairs?: { pairs: Pairs[]; uncounted?: string };
  life?: Life;
}
