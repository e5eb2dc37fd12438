// The case that runs first: whether any program runs on the malloc at all.

import { shellLine } from '../lib/words.ts';
import { launch } from '../malloc/preload.ts';
import type { Case, Subject, Verdict } from './case.ts';
import { debugLine } from './judge.ts';

const TIMEOUT = 20;
const least = ['/bin/sh', '-c', ':'];

async function judge({ malloc }: Subject, patience: number): Promise<Verdict> {
  const timeout = TIMEOUT * patience;
  const { status, signal, timedOut, seconds, stderr } = await launch(malloc, least, { timeout });
  if (status === 0) return { state: 'passed', seconds };
  const how = timedOut
    ? `it did not end within ${Math.round(timeout)} s`
    : `it ${signal ? `was ended by ${signal}` : `ended with status ${status}`}`;
  return {
    state: 'failed',
    because: `not even \`sh -c :\` runs on ${malloc.name}: ${how}`,
    seconds,
    failure: {
      source: 'sh',
      reproduce: shellLine(['env', `LD_PRELOAD=${malloc.file ?? ''}`, ...least]),
      debug: debugLine(malloc, least),
      printed: stderr.toString().slice(0, 2000),
    },
  };
}

/**
 * Runs before all other cases, because on a library that cannot run an empty script, a hundred
 * cases would crash or hang one after the other.
 */
export const alive: Case = {
  group: 'process',
  name: 'alive',
  promise: 'a shell that does nothing starts and ends',
  level: 'must',
  promised: false,
  quick: true,
  run: judge,
};
