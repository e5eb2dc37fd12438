/** fork at every instruction of malloc and its family, without exception. */
import { describe, test } from 'vitest';
import { anywhere } from '../lib/anywhere.ts';
import { everyVariant } from '../lib/variants.ts';

const parts = 48;
const atOnce = 6;

describe.each(everyVariant)('%s', (variant) => {
  describe.each(['self', 'other', 'waiting'] as const)('fork at every instruction (%s)', (mode) => {
    for (let part = 0; part < parts; part += atOnce) {
      const of = Array.from({ length: atOnce }, (_, i) => part + i);
      test(`parts ${part} to ${part + atOnce - 1} of ${parts}`, () =>
        anywhere(variant, mode, { parts, of }));
    }
  });
});
