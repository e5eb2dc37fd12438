import { Failure } from '../lib/errors.ts';
import { type Malloc, peers, resolveMalloc, variants } from '../malloc/mallocs.ts';

export interface Selection {
  mallocs: Malloc[];
  /** The mallocs that are left out, and why. */
  notRun: { malloc: string; reason: string }[];
}

/**
 * Rungs that are too slow or too wasteful for real work: dumb never reuses a block, list walks past all
 * of them.
 */
const beginners = ['dumb', 'list'];
const tooSlow = 'made to be read, not for this much work; -m measures it all the same';

/**
 * The mallocs to measure. A malloc that was named but is not installed is a Failure. By default these
 * are every variant, glibc and every peer; peers that are not installed, and with `hard` the first two
 * rungs, are reported as not run. glibc always takes part, because outputs are
 * compared with those under glibc.
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
