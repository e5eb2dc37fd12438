import { Failure } from '../lib/errors.ts';
import { type Malloc, peers, resolveMalloc, variants } from '../malloc/mallocs.ts';

export interface Selection {
  mallocs: Malloc[];
  /** Those that would have been measured, and why they are not. */
  notRun: { malloc: string; reason: string }[];
}

/** Rungs that real work is too much for: one never reuses a block, the other asks every one. */
const beginners = ['dumb', 'list'];
const tooSlow = 'made to be read, not for this much work; -m measures it all the same';

/**
 * The mallocs to measure. Asked for by name, an absent one is a Failure; by default it is every
 * variant, glibc and every peer, and an absent one is reported as not run; so are the first two
 * rungs where `hard` work waits. glibc is always there: outputs are compared with its.
 */
export function selectMallocs(
  specs: readonly string[],
  { hard = false }: { hard?: boolean } = {},
): Selection {
  if (specs.length > 0) {
    const mallocs = specs.map((spec) => resolveMalloc(spec));
    return { mallocs: distinct(withGlibc(mallocs)), notRun: [] };
  }
  const names = [...variants(), 'glibc', ...peers.map(({ name }) => name)];
  const selection: Selection = { mallocs: [], notRun: [] };
  for (const name of names) {
    if (hard && beginners.includes(name)) {
      selection.notRun.push({ malloc: name, reason: tooSlow });
      continue;
    }
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

/** Two of one name could not be told apart in any table. */
function distinct(mallocs: Malloc[]): Malloc[] {
  const twice = mallocs.find(({ name }, i) => mallocs.findIndex((each) => each.name === name) < i);
  if (twice !== undefined) {
    throw new Failure(`two mallocs are called ${twice.name}`, {
      hint: `give one another name: -m other=${twice.file ?? 'FILE.so'}`,
    });
  }
  return mallocs;
}
