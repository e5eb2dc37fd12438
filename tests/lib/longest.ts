import { join, relative } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { root } from '../../scripts/lib/paths.ts';

/**
 * The files that take longest, longest first. Vitest would begin with the largest files; some of these
 * have only a few lines, and one worker would run them at the end while the others idle.
 */
export const longest: readonly string[] = [
  'native/fork',
  'native/life-memory',
  'native/life-processes',
  'build/build',
  'native/conformance',
  'check/check',
  'native/exhaustion',
  'demo/demo',
  'native/guard',
  'view/map',
  'native/misuse',
  'gdb/heap',
];

const rank = ({ moduleId }: TestSpecification): number => {
  const place = longest.indexOf(relative(join(root, 'tests'), moduleId).replace(/\.test\.ts$/, ''));
  return place < 0 ? longest.length : place;
};

/** Begins with `longest`; the others follow in Vitest's own order. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
