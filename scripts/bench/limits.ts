import type { Malloc } from '../malloc/mallocs.ts';
import type { Options } from './workload.ts';

/**
 * The demonstrations of dumb have the same limit: dumb runs out of memory before the machine does.
 */
const DUMB_LIMIT_MIB = 2048;

/**
 * A workload's options within what the malloc can sustain: dumb never reuses a block, so it makes few
 * calls, under a limit of its own. Its cost per call stays the same however many calls it makes.
 */
export function withinLimits(malloc: Malloc, options: Options): Options {
  if (malloc.kind !== 'variant' || malloc.name !== 'dumb') return options;
  const fewer = (name: string, most: number) =>
    options[name] === undefined ? {} : { [name]: Math.min(options[name], most) };
  return {
    ...options,
    limit: DUMB_LIMIT_MIB,
    warm: 1000,
    ...fewer('calls', 20_000),
    ...fewer('pairs', 4000),
  };
}
