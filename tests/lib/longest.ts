import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/**
 * The files that take longest, longest first. Vitest would begin with the largest files, and end
 * with one worker at these, of which some are a few lines.
 */
export const longest: readonly string[] = [
  'fork',
  'life-memory',
  'life-processes',
  'build',
  'conformance',
  'check',
  'exhaustion',
  'demo',
  'guard',
  'view-map',
  'misuse',
  'gdb-heap',
];

const rank = ({ moduleId }: TestSpecification): number => {
  const place = longest.indexOf(basename(moduleId, '.test.ts'));
  return place < 0 ? longest.length : place;
};

/** Begins with `longest`; the others follow in Vitest's own order. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
