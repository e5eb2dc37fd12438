/** Which cache lines the calls of two threads touch: every load and store, as valgrind sees them. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Malloc } from '../../scripts/malloc/mallocs.ts';
import { launch } from '../../scripts/malloc/preload.ts';
import { compileProgram } from './compile.ts';
import { need } from './need.ts';

const LINE = 64;

export interface Turns {
  /** Each thread frees its own blocks, or the second one frees what the first one makes. */
  who: 'local' | 'remote';
  /** Bytes of a block. */
  size: number;
  /** Blocks that a thread allocates or frees before the other one's turn. */
  blocks: number;
  turns: number;
}

/**
 * What a call of one thread does, on average, to lines that both threads' calls touch and one of
 * them writes. Lines of blocks that pass between threads count separately, because the program itself transfers
 * them.
 */
export interface Sharing {
  /** Stores to lines that the other thread's calls store to as well. */
  bothStore: number;
  /** Stores to lines that the other thread's calls only read. */
  otherReads: number;
  /** How often a line was fetched from the other core's cache, or the other's copy invalidated. */
  transfers: number;
  /** Stores to lines with a byte of a block that passes between threads. */
  inBlocks: number;
}

/** Addresses that cache-lines.c prints: `struct told`. */
interface Places {
  program: number;
  programEnd: number;
  /** The addresses of the marks: their thread, and whether calls begin there. */
  marks: Map<number, { thread: number; begins: boolean }>;
  blocks: Set<number>;
}

function readPlaces(told: Buffer, size: number): Places {
  const words = Array.from({ length: told.length / 8 }, (_, i) =>
    Number(told.readBigUInt64LE(8 * i)),
  );
  const [program = 0, programEnd = 0, begin0 = 0, begin1 = 0, end0 = 0, end1 = 0] = words;
  const marks = new Map([
    [begin0, { thread: 0, begins: true }],
    [begin1, { thread: 1, begins: true }],
    [end0, { thread: 0, begins: false }],
    [end1, { thread: 1, begins: false }],
  ]);
  const blocks = new Set<number>();
  for (const start of words.slice(6).filter((word) => word !== 0))
    for (let line = Math.floor(start / LINE); line * LINE < start + size; line++) blocks.add(line);
  return { program, programEnd, marks, blocks };
}

interface Access {
  thread: number;
  line: number;
  stores: boolean;
}

/**
 * What the calls between the marks load and store. Lackey writes `I  address,bytes` for an
 * instruction, then ` L`, ` S` or ` M` (both) for each of its accesses; numbers are hexadecimal.
 */
function* readAccesses(trace: Buffer, { program, programEnd, marks }: Places): Generator<Access> {
  let thread: number | undefined;
  let own = false;
  for (let at = 0; at < trace.length; at = lineEnd(trace, at) + 1) {
    const kind = String.fromCharCode(trace[at + 1] as number);
    const address = hexadecimal(trace, at + 3);
    if (kind === ' ') {
      own = address >= program && address < programEnd;
    } else if (own) {
      const mark = kind === 'S' ? marks.get(address) : undefined;
      if (mark) thread = mark.begins ? mark.thread : undefined;
    } else if (thread !== undefined) {
      yield { thread, line: Math.floor(address / LINE), stores: kind !== 'L' };
    }
  }
}

/** The end of the line that begins at `at`. */
function lineEnd(text: Buffer, at: number): number {
  const end = text.indexOf(10, at);
  return end < 0 ? text.length : end;
}

/** The number that stands there, up to the comma. (Number.parseInt would want a string first.) */
function hexadecimal(text: Buffer, at: number): number {
  let number = 0;
  for (let i = at; text[i] !== 44; i++) {
    const digit = text[i] as number;
    number = number * 16 + (digit & 15) + (digit >> 6) * 9;
  }
  return number;
}

/** The state of a line in a protocol such as MESI, with two caches that evict nothing. */
class Line {
  readonly loads = [0, 0];
  readonly stores = [0, 0];
  readonly transfers = [0, 0];
  readonly #has = [false, false];

  touch(thread: number, stores: boolean): void {
    const other = 1 - thread;
    const written = (this.stores[other] as number) > 0;
    if (stores ? this.#has[other] : written && !this.#has[thread]) count(this.transfers, thread);
    count(stores ? this.stores : this.loads, thread);
    this.#has[thread] = true;
    if (stores) this.#has[other] = false;
  }
}

const count = (counts: number[], thread: number): void => {
  counts[thread] = (counts[thread] ?? 0) + 1;
};

function sumUp(lines: Map<number, Line>, blocks: Set<number>, thread: number): Sharing {
  const sum: Sharing = { bothStore: 0, otherReads: 0, transfers: 0, inBlocks: 0 };
  for (const [at, { loads, stores, transfers }] of lines) {
    const [ours = 0, theirs = 0] = [stores[thread], stores[1 - thread]];
    if (blocks.has(at)) {
      sum.inBlocks += ours;
      continue;
    }
    if (theirs > 0) sum.bothStore += ours;
    else if ((loads[1 - thread] ?? 0) > 0) sum.otherReads += ours;
    sum.transfers += transfers[thread] ?? 0;
  }
  return sum;
}

const perCall = (sum: Sharing, calls: number): Sharing => ({
  bothStore: sum.bothStore / calls,
  otherReads: sum.otherReads / calls,
  transfers: sum.transfers / calls,
  inBlocks: sum.inBlocks / calls,
});

/** Runs tests/programs/cache-lines.c under valgrind and this malloc: what a call of each thread shares. */
export async function measureSharing(malloc: Malloc, plan: Turns): Promise<Sharing[]> {
  const program = compileProgram('cache-lines.c', { flags: ['-Wl,-z,now'] });
  const folder = mkdtempSync(join(tmpdir(), 'libmalloc-lines-'));
  try {
    const log = join(folder, 'trace');
    const lackey = [
      '--fair-sched=try',
      '--tool=lackey',
      '--basic-counts=no',
      '--trace-mem=yes',
      `--log-file=${log}`,
    ];
    const words = [plan.who, plan.size, plan.blocks, plan.turns].map(String);
    const argv = [need('valgrind'), '-q', ...lackey, program, ...words];
    const env = { ...process.env, MALLOC_UNDER_TEST: malloc.file ?? '' };
    const { status, stdout, stderr } = await launch(malloc, argv, { timeout: 120, env });
    if (status !== 0) throw new Error(`${argv.join(' ')}: status ${status}\n${stderr}`);
    const places = readPlaces(stdout, plan.size);
    const lines = new Map<number, Line>();
    for (const { thread, line, stores } of readAccesses(readFileSync(log), places)) {
      const seen = lines.get(line) ?? new Line();
      lines.set(line, seen);
      seen.touch(thread, stores);
    }
    const calls = plan.turns * plan.blocks * (plan.who === 'local' ? 2 : 1);
    return [0, 1].map((thread) => perCall(sumUp(lines, places.blocks, thread), calls));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
