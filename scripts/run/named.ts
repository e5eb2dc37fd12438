// The reports of a debug build once more, with functions, lines and inlined calls.

import { basename } from 'node:path';
import type { Finding } from '../malloc/findings.ts';
import type { Proof } from '../malloc/proof.ts';
import { describeFrame, type Frame } from '../symbols/frame.ts';
import { symbolize } from '../symbols/symbolize.ts';

interface NamedFinding {
  pid: number;
  sentence: string;
  stacks: { label: string; frames: Frame[] }[];
}

export interface NamedFindings {
  findings: NamedFinding[];
  /** A sentence for each file whose functions cannot be named. */
  remarks: string[];
}

/** Findings that are shown; a build with leaks=1 may have one in each process. */
const SHOWN = 32;

export async function nameFindings(findings: readonly Finding[]): Promise<NamedFindings> {
  const remarks = new Set<string>();
  const named: NamedFinding[] = [];
  for (const { pid, sentence, stacks, maps, buildIds } of findings) {
    const say = (remark: string): void => void remarks.add(remark);
    const frames = await symbolize(
      [maps],
      stacks.flatMap(({ addresses }) => addresses),
      { buildIds, say },
    );
    named.push({
      pid,
      sentence,
      stacks: stacks.map(({ label, addresses }) => ({
        label,
        frames: frames.splice(0, addresses.length).flat(),
      })),
    });
  }
  return { findings: named, remarks: [...remarks] };
}

/** The lines for standard error; none where nothing has a stack. */
export function findingLines(named: NamedFindings, proofs: readonly Proof[]): string[] {
  const told = named.findings.filter(({ stacks }) => stacks.length > 0);
  const program = (pid: number): string => {
    const executable = proofs.find((proof) => proof.pid === pid)?.executable ?? 'a process';
    return proofs.length > 1 ? ` in ${basename(executable)} (pid ${pid})` : '';
  };
  const lines = told
    .slice(0, SHOWN)
    .flatMap(({ pid, sentence, stacks }) => [
      `libmalloc: with source lines${program(pid)}: ${sentence}`,
      ...stacks.flatMap(stackLines),
    ]);
  if (told.length > SHOWN)
    lines.push(`libmalloc: and ${told.length - SHOWN} more reports: --json has them`);
  return lines.concat(named.remarks.map((remark) => `libmalloc: ${remark}`));
}

function stackLines({ label, frames }: NamedFinding['stacks'][number]): string[] {
  return frames.map((frame, i) => {
    const inlined = frame.inlined ? ', inlined' : '';
    return `    ${(i === 0 ? label : '').padEnd(10)} ${describeFrame(frame)}${inlined}`;
  });
}
