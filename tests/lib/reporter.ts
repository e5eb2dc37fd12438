import { relative } from 'node:path';
import {
  DefaultReporter,
  type SerializedError,
  type TestCase,
  type TestModule,
  type TestRunEndReason,
} from 'vitest/node';
import { root } from '../../scripts/lib/paths.ts';

/** The result of one run of the tests. */
export interface Tally {
  passed: number;
  failed: number;
  skipped: string[];
  /** Each failed test and the first line of its message. */
  failures: string[];
}

function title(test: TestCase): string {
  return `${relative(root, test.module.moduleId)} > ${test.fullName}`;
}

/**
 * Counts tests. An error outside of any test (a file that does not load, a crashed worker) is a failure,
 * too, and so is a test that began and never reported an end.
 */
export function tally(modules: readonly TestModule[], stray: number): Tally {
  const result: Tally = { passed: 0, failed: stray, skipped: [], failures: [] };
  for (const module of modules) {
    result.failed += module.errors().length;
    for (const test of module.children.allTests()) {
      const outcome = test.result();
      if (outcome.state === 'passed') result.passed++;
      else if (outcome.state === 'skipped') {
        result.skipped.push(`${title(test)}: ${outcome.note ?? 'no reason given'}`);
      } else {
        result.failed++;
        const said = outcome.errors?.[0]?.message ?? 'never heard of again';
        result.failures.push(`${title(test)}: ${said.split('\n', 1)[0]}`);
      }
    }
    for (const suite of module.children.allSuites()) result.failed += suite.errors().length;
  }
  return result;
}

/** The last line of a run; CI reads it. */
export function lastLine({ passed, failed, skipped }: Tally): string {
  const tail = skipped.length > 0 ? `, ${skipped.length} skipped` : '';
  return `${passed} passed, ${failed} failed${tail}`;
}

/**
 * Vitest's own report, then every skipped test by name and reason, every failed one again (a log is
 * often cut to its end), and one line of totals.
 */
export default class Reporter extends DefaultReporter {
  override onTestRunEnd(
    modules: readonly TestModule[],
    unhandled: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    super.onTestRunEnd(modules, unhandled, reason);
    const result = tally(modules, unhandled.length);
    if (result.passed + result.failed + result.skipped.length === 0) result.failed = 1;
    if (result.skipped.length > 0) this.log(`Skipped:\n  ${result.skipped.join('\n  ')}\n`);
    if (result.failures.length > 0) this.log(`Failed:\n  ${result.failures.join('\n  ')}\n`);
    this.log(lastLine(result));
  }
}
