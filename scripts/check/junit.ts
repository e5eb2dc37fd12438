// The findings as JUnit XML, which CI servers read. Written as text, because there are four kinds of
// element only, and a DOM would not drop the characters that XML cannot represent.

import { type Finding, isFatal } from './case.ts';

const escapes: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
// Characters that XML 1.0 cannot represent, not even escaped.
const unspeakable = /[^\t\n\r\x20-\ud7ff\ue000-\ufffd]/g;

const escaped = (text: string): string =>
  text.replaceAll(unspeakable, '?').replaceAll(/[&<>"]/g, (sign) => escapes[sign] ?? sign);

function testCase(malloc: string, finding: Finding): string {
  const { case: each, verdict } = finding;
  const open = `    <testcase classname="${escaped(`${malloc}.${each.group}`)}" name="${escaped(each.name)}" time="${verdict.seconds.toFixed(3)}"`;
  if (verdict.state === 'skipped')
    return `${open}><skipped message="${escaped(verdict.because ?? '')}"/></testcase>`;
  if (verdict.state !== 'failed') return `${open}/>`;
  const { reproduce = '', debug = '', printed = '' } = verdict.failure ?? {};
  const text = escaped([each.promise, reproduce, debug, printed].join('\n'));
  const message = escaped(verdict.because ?? '');
  // A failed `should` does not fail the suite.
  return isFatal(finding)
    ? `${open}><failure message="${message}">${text}</failure></testcase>`
    : `${open}><system-out>${message}\n${text}</system-out></testcase>`;
}

/** One suite for each malloc. */
export function junit(results: { malloc: string; findings: readonly Finding[] }[]): string {
  const suites = results.map(({ malloc, findings }) => {
    const failures = findings.filter(isFatal).length;
    const skipped = findings.filter(({ verdict }) => verdict.state === 'skipped').length;
    const cases = findings.map((finding) => testCase(malloc, finding)).join('\n');
    return `  <testsuite name="${escaped(malloc)}" tests="${findings.length}" failures="${failures}" skipped="${skipped}">\n${cases}\n  </testsuite>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites>\n${suites.join('\n')}\n</testsuites>\n`;
}
