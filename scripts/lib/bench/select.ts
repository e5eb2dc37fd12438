import type { Failure } from '../errors.ts';
import { type Malloc, peers, resolveMalloc, variants } from '../mallocs.ts';

export interface Selection {
  mallocs: Malloc[];
  /** Those that would have been measured, and why they are not. */
  notRun: { malloc: string; reason: string }[];
}

/**
 * The mallocs to measure. Asked for by name, an absent one is a Failure; by default it is every
 * variant, glibc and every peer, and an absent one is reported as not run. glibc is always there:
 * ratios are to it.
 */
export function selectMallocs(specs: readonly string[]): Selection {
  if (specs.length > 0) {
    const mallocs = specs.map((spec) => resolveMalloc(spec));
    return { mallocs: withGlibc(mallocs), notRun: [] };
  }
  const names = [...variants(), 'glibc', ...peers.map(({ name }) => name)];
  const selection: Selection = { mallocs: [], notRun: [] };
  for (const name of names) {
    try {
      selection.mallocs.push(resolveMalloc(name));
    } catch (error) {
      const { message, hint } = error as Failure;
      selection.notRun.push({ malloc: name, reason: hint ? `${message}: ${hint}` : message });
    }
  }
  return selection;
}

function withGlibc(mallocs: Malloc[]): Malloc[] {
  return mallocs.some(({ kind }) => kind === 'glibc')
    ? mallocs
    : [...mallocs, resolveMalloc('glibc')];
}
