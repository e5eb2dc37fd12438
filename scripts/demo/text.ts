// How the demonstration reads.

import { constants } from 'node:os';
import { basename } from 'node:path';
import { color } from '../lib/color.ts';
import type { Malloc } from '../malloc/mallocs.ts';
import { type Proof, programNames } from '../malloc/proof.ts';
import type { Scene } from './scenes.ts';
import type { Outcome, Verdict } from './verdict.ts';

/** A scene after it was played. */
export interface Played {
  scene: Scene;
  system: Outcome;
  ours: Outcome;
  verdict: Verdict;
  proofs: Proof[];
  /** Why the variant was not in use after all. */
  doubt: string | undefined;
}

/** As expected, or a surprise that makes the demonstration fail. */
export function isSurprise({ scene, verdict, doubt }: Played): boolean {
  if (doubt) return true;
  if (scene.expect === 'same') return verdict !== 'same';
  // An expected failure that does not happen is no surprise: another version of the program may
  // need less memory.
  return scene.expect === 'failure' && verdict === 'hung';
}

export function prompt(scene: Scene): string {
  const assignments = Object.entries(scene.env).map(([name, value]) => `${name}=${value} `);
  return `  ${color.dim('$')} ${color.bold(assignments.join('') + scene.command)}`;
}

/** The outcome and the proof, and, if they explain something, the last line, the message, the reason. */
export function lines(m: Malloc, played: Played): string[] {
  const { scene, system, ours, verdict, proofs, doubt } = played;
  const times = `${seconds(ours)} (system ${seconds(system)})`;
  const text = [
    `    ${mark(played)} ${describe(system, ours, verdict)} ${color.dim(`· ${times}`)}`,
  ];
  const evidence = wrap(doubt ?? proof(m, proofs));
  text.push(...evidence.map((line) => `      ${doubt ? color.red(line) : color.dim(line)}`));
  if (verdict === 'same' && ours.lines <= 3 && ours.lastLine)
    text.push(`      ${color.dim('→')} ${cut(ours.lastLine)}`);
  const complaint = ours.errors.trim().split('\n')[0];
  if (verdict !== 'same' && complaint) text.push(`      ${color.dim('→')} ${cut(complaint)}`);
  const why = scene.why[verdict];
  if (why) text.push(...wrap(why).map((line) => `      ${color.cyan(line)}`));
  return text;
}

function mark(played: Played): string {
  if (isSurprise(played)) return color.red('✗');
  return played.verdict === 'same' ? color.green('✓') : color.yellow('✗');
}

function describe(system: Outcome, ours: Outcome, verdict: Verdict): string {
  const count = (n: number): string => `${n.toLocaleString('en')} ${n === 1 ? 'line' : 'lines'}`;
  if (verdict === 'same')
    return `${color.green('same')}: ${count(ours.lines)}, status ${ours.status}`;
  const partial =
    ours.lines === system.lines
      ? ''
      : `, ${ours.lines.toLocaleString('en')} of ${count(system.lines)}`;
  if (verdict === 'differs')
    return `${color.yellow('differs')}: status ${ours.status}, as if all were well${partial}`;
  if (verdict === 'hung') return `${color.yellow('hung')}: ended after ${seconds(ours)}${partial}`;
  if (verdict === 'crashed') return `${color.yellow('crashed')}: ${signalOf(ours)}${partial}`;
  return `${color.yellow('failed')}: status ${ours.status} instead of ${system.status}${partial}`;
}

/** `libmalloc-list.so in 3 processes: sh, ls, sort` */
function proof(m: Malloc, proofs: Proof[]): string {
  const where = `${proofs.length} ${proofs.length === 1 ? 'process' : 'processes'}`;
  return `${basename(m.file ?? m.name)} in ${where}: ${programNames(proofs)}`;
}

/** The shell in between gives a signal as 128 + its number. */
function signalOf({ signal, status }: Outcome): string {
  const named = Object.entries(constants.signals).find(([, number]) => number === status - 128);
  return signal ?? named?.[0] ?? `status ${status}`;
}

const seconds = (run: Outcome): string => `${run.seconds.toFixed(2)} s`;

function cut(line: string, width = 84): string {
  return line.length > width ? `${line.slice(0, width - 1)}…` : line;
}

/** Breaks a sentence between words. */
export function wrap(sentence: string, width = 84): string[] {
  const lines: string[] = [];
  for (const word of sentence.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
