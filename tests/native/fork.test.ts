/** fork from any place and during any activity (tests/programs/fork-*.c). */
import { describe, test } from 'vitest';
import { anywhere } from '../lib/anywhere.ts';
import { conformance } from '../lib/conform.ts';
import { everyVariant } from '../lib/variants.ts';

const single = 'fork-anywhere'; // one part of the instructions; more of them here

conformance('process', ({ name }) => name.startsWith('fork') && !name.startsWith(single));

describe.each(everyVariant)('%s', (variant) => {
  test.each(['self', 'other', 'waiting'] as const)(
    'fork at every fortieth instruction of every call (%s)',
    (mode) => anywhere(variant, mode, { parts: 80, of: [0, 40] }),
  );
});
