// The findings of one malloc as text.

import { color } from '../lib/color.ts';
import { table } from '../lib/table.ts';
import { type Finding, isFatal, type Subject } from './case.ts';
import { firstMend, isFirstMend } from './causes.ts';
import { byGroup } from './conduct.ts';

const count = (findings: readonly Finding[], state: Finding['verdict']['state']): number =>
  findings.filter(({ verdict }) => verdict.state === state).length;

/** Skipped cases, counted by reason: `3 × dumb knows no sizes`. */
function reasons(findings: readonly Finding[]): string[] {
  const counts = new Map<string, number>();
  for (const { verdict } of findings)
    if (verdict.state === 'skipped' && verdict.cause === undefined)
      counts.set(verdict.because ?? '', (counts.get(verdict.because ?? '') ?? 0) + 1);
  return [...counts].map(([reason, n]) => `${n} × ${reason}`);
}

function groupTable(findings: readonly Finding[]): string {
  const rows = [...byGroup(findings)].map(([group, all]) => {
    const seconds = all.reduce((sum, { verdict }) => sum + verdict.seconds, 0);
    const fatal = all.filter(isFatal).length;
    const others = count(all, 'failed') - fatal;
    return [
      group,
      count(all, 'passed'),
      fatal > 0 ? color.red(String(fatal)) : 0,
      others,
      count(all, 'noted'),
      count(all, 'skipped'),
      `${seconds.toFixed(1)} s`,
    ];
  });
  const head = ['group', 'passed', 'failed', 'should', 'noted', 'skipped', 'time'];
  return table(head, rows, ['left', 'right', 'right', 'right', 'right', 'right', 'right']);
}

/** The sentence without addresses and numbers, which differ from case to case. */
const gist = ({ level, verdict }: Finding): string =>
  `${level} ${(verdict.because ?? '').replaceAll(/0x[0-9a-f]+|\d+/g, '#')}`;

/** Groups failures whose sentences differ in addresses and numbers only. */
function alike(failed: readonly Finding[]): Finding[][] {
  const groups = new Map<string, Finding[]>();
  for (const finding of failed) {
    const known = groups.get(gist(finding));
    if (known === undefined) groups.set(gist(finding), [finding]);
    else known.push(finding);
  }
  return [...groups.values()];
}

function failureText([{ case: each, level, verdict }, ...others]: [Finding, ...Finding[]]): string {
  const { failure } = verdict;
  const title = `${each.group}/${each.name} (${level}): ${verdict.because}`;
  const lines = [color.bold(level === 'should' ? color.yellow(title) : color.red(title))];
  if (others.length > 0) {
    const names = others.map(({ case: { group, name } }) => `${group}/${name}`);
    lines.push(`  also       ${names.join(', ')}`);
  }
  lines.push(`  expected   ${each.promise}`);
  if (failure?.seed !== undefined) lines.push(`  seed       ${failure.seed}`);
  if (failure?.sequence !== undefined)
    lines.push(`  calls      ${failure.sequence.slice(0, 40).join('; ')}`);
  if (failure !== undefined)
    lines.push(
      `  program    ${failure.source}`,
      `  again      ${failure.reproduce}`,
      `  look       ${failure.debug}`,
      ...(failure.note === undefined ? [] : [`  note       ${failure.note}`]),
    );
  return lines.join('\n');
}

/** The table of misuses and their outcomes: `double free   at once`. */
function notes(findings: readonly Finding[]): string {
  const rows = findings
    .filter(({ case: { group }, verdict }) => group === 'misuse' && verdict.state !== 'skipped')
    .map(({ case: each, verdict }) => [each.promise.replace(/:.*/, ''), verdict.because ?? '']);
  return rows.length === 0 ? '' : table(['misuse', 'detected'], rows);
}

/** The last line of the report: the verdict. */
function lastLine({ subject: { malloc }, findings, unfinished }: Result): string {
  const fatal = findings.filter(isFatal).length;
  const should = count(findings, 'failed') - fatal;
  const absent = findings
    .filter(
      ({ verdict }) => verdict.state === 'skipped' && / is missing: /.test(verdict.because ?? ''),
    )
    .map(({ verdict }) => verdict.because?.split(' ')[0]);
  const parts = [
    `${malloc.name}: ${fatal > 0 ? color.red(`failed ${fatal}`) : unfinished ? 'unfinished' : color.green('passed')}`,
    `${count(findings, 'passed')} of ${findings.length} cases passed`,
    ...(should > 0 ? [`${should} failed that should pass`] : []),
    ...(count(findings, 'skipped') > 0 ? [`${count(findings, 'skipped')} skipped`] : []),
    ...(absent.length > 0 ? [`${absent.length} programs absent: ${absent.join(', ')}`] : []),
  ];
  return parts.join(', ');
}

/** What was skipped and why, which functions are absent, and whether sizes were reduced. */
function remarks({ slow, lacks }: Subject, findings: readonly Finding[]): string[] {
  const absent = [...(lacks ?? [])].filter(([, { because }]) => /^it has no /.test(because));
  return [
    ...reasons(findings).map((reason) => `skipped: ${reason}`),
    ...(absent.length > 0
      ? [`absent, so cases that need them were skipped: ${absent.map(([name]) => name).join(', ')}`]
      : []),
    ...(slow ? ['its calls cost more the more blocks are live: cases used smaller sizes'] : []),
  ];
}

/** The findings about one malloc. */
export interface Result {
  subject: Subject;
  findings: readonly Finding[];
  /** A signal ended us before all cases had run. */
  unfinished?: boolean;
}

/** The whole report on one malloc. */
export function describe(result: Result): string {
  const { subject, findings } = result;
  const failed = findings.filter(
    (finding) => finding.verdict.state === 'failed' && !isFirstMend(finding, findings),
  );
  const sections = [
    firstMend(findings),
    groupTable(findings),
    notes(findings),
    ...alike(failed).map((group) => failureText(group as [Finding, ...Finding[]])),
    remarks(subject, findings).join('\n'),
    lastLine(result),
  ];
  return `${sections.filter((text) => text !== '').join('\n\n')}\n`;
}
