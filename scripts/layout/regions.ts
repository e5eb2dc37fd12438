// The regions of our malloc in a live process. The heap commands of GDB read them from the heap's
// records, for each variant and however the process was started, so we run GDB. It stops the process for
// a moment.

import { basename, join } from 'node:path';
import { execa } from 'execa';
import { root } from '../lib/paths.ts';
import { bytes } from '../lib/units.ts';
import { which } from '../malloc/programs.ts';

/** A contiguous stretch of memory that a malloc got from the system; sizes in bytes. */
export interface HeapRegion {
  start: number;
  /** Exclusive. */
  end: number;
  spans: number;
  /** Blocks handed out, and the usable bytes in them. */
  blocks: number;
  live: number;
  free: number;
  fresh: number;
  headers: number;
}

/** The findings; `reason` says why they are empty or incomplete. */
export interface Regions {
  regions: HeapRegion[];
  /** [start, end) of the malloc's records outside of its regions and its library. */
  records: [number, number][];
  reason?: string;
}

interface Answer {
  variant: string;
  broken: string | null;
  regions: HeapRegion[];
  records: [number, number][];
}

const TIMEOUT_MS = 20_000;

/** The regions of one of our mallocs, `library`, in process `pid`. */
export async function readRegions(pid: number, library: string): Promise<Regions> {
  const gdb = which('gdb');
  if (gdb === undefined) return none('gdb, which reads the heap, is missing: apt-get install gdb');
  const { stdout, stderr } = await execa(gdb, gdbWords(pid, library), {
    reject: false,
    timeout: TIMEOUT_MS,
    stdin: 'ignore',
    env: { LD_PRELOAD: undefined },
  });
  const line = stdout.split('\n').find((each) => each.startsWith('{"variant"'));
  if (line === undefined) return none(refusal(`${stdout}\n${stderr}`));
  const { regions, records, broken } = JSON.parse(line) as Answer;
  return { regions, records, ...(broken !== null && { reason: `the heap is damaged: ${broken}` }) };
}

const none = (reason: string): Regions => ({ regions: [], records: [], reason });

/** Symbols of our library only: those of a large program would take GDB seconds. */
function gdbWords(pid: number, library: string): string[] {
  // By base name, because the process may have loaded it by a path relative to its own folder.
  const name = basename(library).replace(/[.+*?[\]()^$|{}\\]/g, '\\$&');
  const commands = [
    'set auto-solib-add off',
    'set debuginfod enabled off',
    `source ${join(root, 'gdbinit')}`,
    `attach ${pid}`,
    `sharedlibrary ${name}`,
    'python import libmalloc.layout; libmalloc.layout.regions()',
    'detach',
  ];
  return ['-nx', '-q', '-batch', ...commands.flatMap((command) => ['-ex', command])];
}

function refusal(said: string): string {
  if (/ptrace: Operation not permitted|Could not attach/.test(said))
    return 'gdb may not attach to the process: try as root, or set kernel.yama.ptrace_scope to 0';
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const why = lines.findLast((line) => !line.startsWith('Error while executing Python code'));
  return `its records could not be read: ${why ?? 'gdb said nothing'}`;
}

/** The content of a region, in words. */
export function describeRegion({ spans, live, blocks, free, fresh }: HeapRegion): string {
  const parts = [`${blocks} live ${blocks === 1 ? 'block' : 'blocks'} of ${bytes(live)}`];
  if (spans > 0) parts.unshift(`${spans} ${spans === 1 ? 'span' : 'spans'}`);
  if (free > 0) parts.push(`${bytes(free)} free`);
  if (fresh > 0) parts.push(`${bytes(fresh)} never used`);
  return parts.join(', ');
}
