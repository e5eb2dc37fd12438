import { type Mode, stepped } from '../../scripts/check/cases/fork.ts';
import { programCase } from '../../scripts/check/judge.ts';
import { conforms } from './conform.ts';

export interface Sample {
  /** The instructions are dealt to so many parts… */
  parts: number;
  /** …of which these are tried, side by side: most of the time goes by waiting. */
  of: number[];
}

/** Forks at instructions of every call of the malloc family, and expects all children to live. */
export async function anywhere(variant: string, mode: Mode, sample: Sample): Promise<void> {
  const parts = sample.of.map((part) => programCase('process', stepped(mode, part, sample.parts)));
  await Promise.all(parts.map((each) => conforms(variant, each)));
}
