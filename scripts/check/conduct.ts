// Runs cases, a few at a time, and reports progress.

import { availableParallelism } from 'node:os';
import { type Case, type Finding, type Group, levelFor, type Subject } from './case.ts';

/** Called when a case begins, and again, with its finding, when it has ended. */
export type Watch = (
  done: number,
  all: number,
  current: string,
  failed: number,
  finding?: Finding,
) => void;

/** After more hangs than this, timeouts are shorter: the malloc hangs, not a busy machine. */
const HANGS = 2;
const IMPATIENT = 0.15;

/**
 * All findings in the order of the cases. A malloc that hangs in one case often hangs in others, so
 * later cases have shorter timeouts. `patience` multiplies all timeouts.
 */
export async function conduct(
  subject: Subject,
  cases: readonly Case[],
  watch: Watch = () => {},
  patience = 1,
): Promise<Finding[]> {
  const findings: Finding[] = [];
  let [next, done, failed, hangs] = [0, 0, 0, 0];
  const worker = async (): Promise<void> => {
    while (next < cases.length) {
      const at = next++;
      const each = cases[at] as Case;
      watch(done, cases.length, `${each.group}/${each.name}`, failed);
      const finding = await judge(subject, each, patience * (hangs > HANGS ? IMPATIENT : 1));
      findings[at] = finding;
      done++;
      if (finding.verdict.state === 'failed') failed++;
      watch(done, cases.length, `${each.group}/${each.name}`, failed, finding);
      if (/^(?:hung|not over after)/.test(finding.verdict.because ?? '')) hangs++;
    }
  };
  const workers = Math.min(2, availableParallelism());
  await Promise.all(Array.from({ length: workers }, worker));
  return findings;
}

async function judge(subject: Subject, each: Case, patience: number): Promise<Finding> {
  const level = levelFor(each, subject);
  if (level !== undefined) return { case: each, level, verdict: await each.run(subject, patience) };
  const because = 'only our variants promise it';
  return { case: each, level: 'promise', verdict: { state: 'skipped', because, seconds: 0 } };
}

/** Findings by group, in the order of the groups' first cases. */
export function byGroup(findings: readonly Finding[]): Map<Group, Finding[]> {
  const all = new Map<Group, Finding[]>();
  for (const finding of findings) {
    const { group } = finding.case;
    all.set(group, [...(all.get(group) ?? []), finding]);
  }
  return all;
}
