// Where a program is, according to GDB: which malloc function, and which frame inside it.

import { execa } from 'execa';

/** One frame, innermost first. */
interface Frame {
  name: string;
  /** `lock.h:33`; undefined without debug information. */
  at?: string;
}

const PATIENCE_MS = 15_000;
/** The most processes to look at: a process that hangs often waits for another that hangs. */
const MOST = 4;

const family =
  /^(?:malloc|calloc|realloc|free|reallocarray|memalign|posix_memalign|aligned_alloc|p?valloc|malloc_usable_size|malloc_trim)$/;
/** fork counts as a malloc function, because it runs the malloc's atfork handlers. */
const calls = (name: string): boolean => family.test(name) || /^(?:__libc_)?fork$/.test(name);

/** The threads in GDB's backtraces, `thread apply all bt`. */
export function threadsIn(text: string): Frame[][] {
  const threads: Frame[][] = [];
  for (const line of text.split('\n')) {
    if (/^Thread \d+ /.test(line)) threads.push([]);
    const found =
      /^#(\d+) +(?:0x[0-9a-f]+ in )?([^ (]+) ?\(.*?\)?(?: at ([^ ]+:\d+)|$| from )/.exec(line);
    if (found === null) continue;
    if (threads.length === 0 || (found[1] === '0' && threads.at(-1)?.length)) threads.push([]);
    const at = found[3]?.replace(/^.*\//, '');
    threads.at(-1)?.push({ name: found[2] as string, ...(at !== undefined && { at }) });
  }
  return threads.filter(({ length }) => length > 0);
}

const said = ({ name, at }: Frame): string => (at === undefined ? name : `${name}, ${at}`);

/** `free (in lock_acquire, lock.h:33), called by work, threads.c:7`; undefined outside of malloc. */
export function place(frames: readonly Frame[]): string | undefined {
  const call = frames.findIndex(({ name }) => calls(name));
  const frame = frames[call];
  if (frame === undefined) return undefined;
  const inner = frames.slice(0, call).find(({ name }) => name !== '??');
  const caller = frames.slice(call + 1).find(({ name }) => name !== '??');
  return [
    frame.name.replace('__libc_', ''),
    inner === undefined ? (frame.at === undefined ? '' : ` (${frame.at})`) : ` (in ${said(inner)})`,
    caller === undefined ? '' : `, called by ${said(caller)}`,
  ].join('');
}

/** Where one of these processes is inside malloc; undefined if none is, or GDB cannot say. */
export async function whereIs(pids: readonly number[]): Promise<string | undefined> {
  for (const pid of pids.slice(0, MOST)) {
    const args = ['-nx', '-batch', '-p', String(pid), '-ex', 'thread apply all bt 30'];
    const env = { DEBUGINFOD_URLS: '', LC_ALL: 'C' };
    const { stdout } = await execa('gdb', args, { reject: false, timeout: PATIENCE_MS, env });
    const found = threadsIn(String(stdout ?? '')).map(place);
    const first = found.find((text) => text !== undefined);
    if (first !== undefined) return first;
  }
  return undefined;
}
