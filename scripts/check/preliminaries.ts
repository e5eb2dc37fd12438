// The preliminary cases run before all others. The report names each thing that they find missing
// once, and the cases that need it are skipped.

import { alive } from './alive.ts';
import { type Case, type Finding, isFatal, type Subject } from './case.ts';
import { speed, waves } from './cases/basics.ts';
import { conduct, type Watch } from './conduct.ts';
import { programCase } from './judge.ts';
import type { Lack, Need } from './needs.ts';
import { lacksOf, standInFor, survey, surveyCase } from './survey.ts';

/** What the preliminary cases found out about a malloc. */
export interface Known {
  subject: Subject;
  findings: Finding[];
  /** No program runs on it, so the other cases would show nothing. */
  dead: boolean;
}

/** Runs the preliminary cases. */
export async function enquire(begun: Subject, watch: Watch, patience: number): Promise<Known> {
  const found = await survey(begun);
  const first = await conduct(begun, [surveyCase(found)], watch, patience);
  if (found.none) return { subject: begun, findings: first, dead: true };
  let subject = equipped(begun, found);
  const findings = [...first, ...(await conduct(subject, [alive], watch, patience))];
  const dead = findings.some(({ case: { name }, ...rest }) => name === 'alive' && isFailed(rest));
  for (const [at, wave] of waves.entries()) {
    const cases = wave.map((each) => programCase('basics', each));
    const answers = await conduct(subject, cases, watch, patience);
    findings.push(...answers);
    subject = informed(subject, answers);
    if (at === 1 && !dead && (await isSlow(subject, patience)))
      subject = { ...subject, slow: true };
  }
  return { subject, findings, dead };
}

/** Measured as soon as the cases that it needs have passed, because it makes later ones shorter. */
const isSlow = async (subject: Subject, patience: number): Promise<boolean> =>
  (await programCase('basics', speed).run(subject, patience)).state === 'failed';

const isFailed = ({ verdict }: Pick<Finding, 'verdict'>): boolean => verdict.state === 'failed';

function equipped(subject: Subject, found: Awaited<ReturnType<typeof survey>>): Subject {
  const standIn = standInFor(found);
  const lacks = lacksOf(found);
  return {
    ...subject,
    ...(lacks.size > 0 && { lacks }),
    ...(standIn !== undefined && { standIn }),
  };
}

/** The subject, with what these preliminary cases found missing. */
function informed(subject: Subject, answers: readonly Finding[]): Subject {
  const lacks = new Map<Need, Lack>(subject.lacks);
  let { alignment } = subject;
  for (const { case: each, verdict } of answers) {
    const word = each.question?.word;
    if (word === undefined || verdict.state !== 'failed') continue;
    lacks.set(word, { because: verdict.because ?? '', cause: nameOf(each) });
    if (word === 'alignment') alignment = alignmentIn(verdict.because);
  }
  return { ...subject, ...(lacks.size > 0 && { lacks }), ...(alignment && { alignment }) };
}

const alignmentIn = (because = ''): number => Number(/aligned to (\d+)/.exec(because)?.[1] ?? 1);

const nameOf = ({ group, name }: Case): string => `${group}/${name}`;

/** A cause: a preliminary case that failed, and how many cases were skipped because of it. */
export interface Cause {
  finding: Finding;
  hides: number;
}

/** The causes among these findings, in the order of their cases; those that fail the run first. */
export function causesIn(findings: readonly Finding[]): Cause[] {
  const hidden = (name: string): number =>
    findings.filter(({ verdict }) => verdict.cause === name).length;
  return findings
    .filter((finding) => finding.case.question !== undefined && isFailed(finding))
    .map((finding) => ({ finding, hides: hidden(nameOf(finding.case)) }))
    .sort((a, b) => Number(isFatal(b.finding)) - Number(isFatal(a.finding)));
}
