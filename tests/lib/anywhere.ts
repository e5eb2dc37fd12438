import { type Mode, stepped } from '../../scripts/check/cases/fork.ts';
import { programCase } from '../../scripts/check/judge.ts';
import { conforms } from './conform.ts';

export interface Sample {
  /** The number of parts among which the instructions are distributed. */
  parts: number;
  /** The parts to test, in parallel, because they mostly wait. */
  of: number[];
}

/** Forks at instructions of every call of the malloc family, and expects all children to live. */
export async function anywhere(variant: string, mode: Mode, sample: Sample): Promise<void> {
  const parts = sample.of.map((part) => programCase('process', stepped(mode, part, sample.parts)));
  await Promise.all(parts.map((each) => conforms(variant, each)));
}
