// Reads /proc about one process at one moment; other files interpret it.

import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { type Elf, readElf } from '../malloc/elf.ts';
import { type Mapping, parseMaps } from './maps.ts';

/** A thread and its stack pointer, if the kernel tells it. */
interface Thread {
  id: number;
  stackPointer: number | undefined;
}

/** A process's memory, and what is needed to name its parts. Addresses and sizes in bytes. */
export interface ProcessMemory {
  pid: number;
  /** Absolute path of the program, without the kernel's ` (deleted)`. */
  executable: string;
  program: Elf | undefined;
  mappings: Mapping[];
  /** Where the heap of the program break begins. */
  breakStart: number;
  stackStart: number;
  /** Where arguments begin and the environment ends, at the top of the stack. */
  argumentsStart: number;
  environmentEnd: number;
  /** How far the main stack may grow; Infinity without a limit. */
  stackLimit: number;
  /** The old layout, in which the mapping area grows up: `setarch -L`, or no limit of the stack. */
  legacy: boolean;
  threads: Thread[];
}

const ADDR_COMPAT_LAYOUT = 0x0200000;

/** Throws a Failure when there is no such process, when it has no memory, or may not be looked at. */
export function readProcess(pid: number): ProcessMemory {
  const mappings = parseMaps(read(pid, 'smaps'));
  if (mappings.length === 0) throw noMemory(pid);
  const stackLimit = limitOf(read(pid, 'limits'));
  const numbers = statFields(read(pid, 'stat'));
  const personality = Number.parseInt(readOr(pid, 'personality', '0'), 16);
  return {
    pid,
    executable: executableOf(pid),
    program: elfAt(`/proc/${pid}/exe`),
    mappings,
    breakStart: numbers(47),
    stackStart: numbers(28),
    argumentsStart: numbers(48),
    environmentEnd: numbers(51),
    stackLimit,
    legacy: stackLimit === Number.POSITIVE_INFINITY || (personality & ADDR_COMPAT_LAYOUT) !== 0,
    threads: threadsOf(pid),
  };
}

/** An ELF file as the process sees it; undefined when it is none, or out of reach. */
export function elfAt(file: string): Elf | undefined {
  try {
    return readElf(file);
  } catch {
    return undefined;
  }
}

/** The process's state as one letter: `T` stopped, `Z` ended and not yet collected; '' when gone. */
export function stateOf(pid: number): string {
  const stat = readOr(pid, 'stat', '');
  return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
}

/** Bytes of a part of a mapping that are in memory for sure, and those that are or only look so. */
export interface Present {
  sure: number;
  perhaps: number;
}

/**
 * Which pages are in memory now: a function of (start, end), for any part of an anonymous mapping.
 * Reading the process's memory later, as GDB does, brings more pages in.
 */
export function pagesPresent({
  pid,
  mappings,
}: ProcessMemory): (start: number, end: number) => Present {
  const partly = mappings.filter(
    ({ name, resident, start, end }) => resident > 0 && resident < end - start && !/^\//.test(name),
  );
  const found = partly.map(({ start, end }) => presentPages(pid, start, end));
  const [sure, perhaps] = [found.flatMap((each) => each.sure), found.flatMap((e) => e.perhaps)];
  const within = (pages: readonly number[], start: number, end: number): number =>
    (lowerBound(pages, end) - lowerBound(pages, start)) * PAGE;
  return (start, end) => {
    const whole = mappings.find((each) => each.start <= start && end <= each.end);
    if (whole && whole.resident === whole.end - whole.start)
      return { sure: end - start, perhaps: 0 };
    return { sure: within(sure, start, end), perhaps: within(perhaps, start, end) };
  };
}

const PAGE = 4096;

/**
 * The addresses of the pages in [start, end) that are in memory; none if the kernel does not tell. A page
 * that was only read maps the kernel's page of zeros, which pagemap calls present but no counter counts.
 * Such pages are in `perhaps`, and so are pages that the process shares with another after a fork.
 */
function presentPages(pid: number, start: number, end: number) {
  const [ENTRY, AT_ONCE] = [8, 8192];
  const buffer = Buffer.alloc(ENTRY * AT_ONCE);
  const pages = { sure: [] as number[], perhaps: [] as number[] };
  try {
    const fd = openSync(`/proc/${pid}/pagemap`, 'r');
    for (let page = start / PAGE; page < end / PAGE; page += AT_ONCE) {
      const wanted = Math.min(AT_ONCE, end / PAGE - page) * ENTRY;
      const got = readSync(fd, buffer, 0, wanted, page * ENTRY);
      for (let at = 7; at < got; at += ENTRY) {
        // Of an entry, bit 63: present; 61: of a file, or shared memory; 56: mapped here alone.
        const bits = buffer[at] ?? 0;
        const one = (page + (at - 7) / ENTRY) * PAGE;
        if (bits & 0x80) (bits & 0x21 ? pages.sure : pages.perhaps).push(one);
      }
    }
    closeSync(fd);
  } catch {
    return pages;
  }
  return pages;
}

function lowerBound(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH')
      throw new Failure(`there is no process ${pid}`, { hint: 'ps -e lists those that there are' });
    throw new Failure(`the memory of process ${pid} may not be looked at (${code})`, {
      hint: 'it belongs to another user, or forbids it: try as root',
      cause,
    });
  }
}

function readOr(pid: number, file: string, otherwise: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return otherwise;
  }
}

function noMemory(pid: number): Failure {
  const ended = ['Z', 'X', ''].includes(stateOf(pid));
  const what = ended ? 'has ended' : 'is a thread of the kernel';
  return new Failure(`process ${pid} ${what}: it has no memory of its own`, {
    hint: 'ps -e lists those that there are',
  });
}

/** Fields of /proc/PID/stat by their number in proc(5), from 3 on. */
function statFields(stat: string): (number: number) => number {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (number) => Number(fields[number - 3] ?? 0);
}

function limitOf(limits: string): number {
  const soft = /^Max stack size +(\S+)/m.exec(limits)?.[1];
  return soft === undefined || soft === 'unlimited' ? Number.POSITIVE_INFINITY : Number(soft);
}

function executableOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');
  } catch {
    return basename(readOr(pid, 'comm', '?').trim());
  }
}

/** `NUMBER ARGUMENTS… SP PC` of a thread that waits in the kernel; `running` of one that does not. */
function threadsOf(pid: number): Thread[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map((id) => {
      const words = readOr(pid, `task/${id}/syscall`, '').trim().split(' ');
      const pointer = Number(words.at(-2));
      return { id: Number(id), stackPointer: pointer > 0 ? pointer : undefined };
    });
  } catch {
    return [];
  }
}
