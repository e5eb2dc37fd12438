// The head of the report: the causes, which the reader should fix first.

import { color } from '../lib/color.ts';
import type { Finding } from './case.ts';
import { type Cause, causesIn } from './preliminaries.ts';

/** How many causes the report shows; the later ones often vanish with the first. */
const MOST = 3;

const indented = (text: string): string => text.replaceAll('\n', '\n             ');

function causeText({ finding, hides }: Cause, at: number): string {
  const { case: each, level, verdict } = finding;
  const { why, standard } = each.question ?? { why: '', standard: '' };
  const depend = hides === 1 ? '1 case needs it and was' : `${hides} cases need it and were`;
  return [
    color.bold(`${at + 1}. ${verdict.because} (${each.group}/${each.name}, ${level})`),
    `  why        ${indented(why)}`,
    `  standard   ${standard}`,
    `  program    ${verdict.failure?.source}`,
    `  again      ${verdict.failure?.reproduce}`,
    `  look       ${verdict.failure?.debug}`,
    ...(hides > 0 ? [`  hides      ${depend} not run`] : []),
  ].join('\n');
}

/** The first causes among these findings, as text; empty if there is none. */
export function firstMend(findings: readonly Finding[]): string {
  const causes = causesIn(findings).slice(0, MOST);
  if (causes.length === 0) return '';
  return ['First mend this:', ...causes.map(causeText)].join('\n\n');
}

/** True if the head of the report shows this finding, so that the rest need not repeat it. */
export function isFirstMend(finding: Finding, findings: readonly Finding[]): boolean {
  return causesIn(findings)
    .slice(0, MOST)
    .some((cause) => cause.finding === finding);
}
