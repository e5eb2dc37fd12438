// The form of a profile: what `libmalloc profile --json F` writes, and `view` and `--diff` read.

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { Failure } from '../lib/errors.ts';
import type { Frame } from '../symbols/frame.ts';

const SCHEMA = 'libmalloc/profile/1';

/** Bytes and blocks; estimates where not every allocation was looked at, and then no integers. */
export interface Amount {
  bytes: number;
  blocks: number;
}

/** One call stack, and what was allocated there. */
export interface ProfileSite {
  /** The number of its innermost node; 0 where the stack is not known. */
  node: number;
  /** Allocations that were looked at. */
  samples: number;
  allocated: Amount;
  /** Freed by the thread that had allocated them, before it allocated anything else. */
  shortLived: Amount;
  /** Live when the process was at its peak. */
  peak: Amount;
  /** Live at the end of the process. */
  live: Amount;
  /** Of what is live at the end: nothing in the process pointed to it any more. Absent if unknown. */
  lost?: Amount;
  /** What holds the rest, and how much of it: a global, a thread's stack. Absent if unknown. */
  roots?: (Amount & { root: string })[];
  /** Seconds, in the mean of all blocks: until they were freed, or the process ended. */
  meanAge: number;
}

/** The live blocks at a requested moment. */
interface ProfileSnapshot {
  /** Since the process began. */
  seconds: number;
  why: 'time' | 'signal';
  live: Amount;
  /** By index in `sites`; only those with anything live. */
  sites: (Amount & { site: number })[];
}

export interface ProfileProcess {
  /** From 1. */
  number: number;
  pid: number;
  parentPid: number;
  /** The number of the process that it was forked from; 0 for none. */
  parent: number;
  executable: string;
  command: string[];
  /** Seconds from the start of the profile to its beginning. */
  start: number;
  /** From its beginning to the last that is known of it. */
  seconds: number;
  /** Seconds from its beginning to its peak. */
  peakAt: number;
  allocated: Amount;
  shortLived: Amount;
  peak: Amount;
  live: Amount;
  /** The tree of calls: node n is nodes[n - 1]; `frame` is an index, `parent` the caller's node, 0 for none. */
  nodes: { frame: number; parent: number }[];
  /** The most bytes at the end first. */
  sites: ProfileSite[];
  snapshots: ProfileSnapshot[];
}

export interface Profile {
  schema: typeof SCHEMA;
  malloc: { name: string; file: string | null };
  command: string[];
  /** Milliseconds since 1970. */
  started: number;
  /** Bytes between two samples in the mean; 0: every allocation was looked at. */
  every: number;
  /** Of all processes. */
  frames: Frame[];
  processes: ProfileProcess[];
  /** What the reader ought to know: files without names, samples that were lost. */
  remarks: string[];
}

/** Whether a file begins as a profile does, so that it need not be tried as a trace. */
function isProfile(head: string): boolean {
  return /^\s*\{\s*"schema":\s*"libmalloc\/profile\/\d+"/.test(head);
}

/** Whether a file begins as a profile does; false for what cannot be read. */
export function isProfileFile(file: string): boolean {
  try {
    const fd = openSync(file, 'r');
    try {
      const head = Buffer.alloc(64);
      readSync(fd, head);
      return isProfile(head.toString('latin1'));
    } finally {
      closeSync(fd);
    }
  } catch {
    return false;
  }
}

/** Reads a profile; throws Failure for a file that is none. */
export function readProfile(file: string): Profile {
  const hint = 'make one: libmalloc profile --json FILE -- CMD';
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Failure(`cannot read ${file}: ${code}`, { hint, cause });
  }
  if (!isProfile(text)) throw new Failure(`${file} is no profile of libmalloc`, { hint });
  let profile: Profile;
  try {
    profile = JSON.parse(text);
  } catch (cause) {
    throw new Failure(`${file} is damaged: ${(cause as Error).message}`, { hint, cause });
  }
  if (profile.schema !== SCHEMA)
    throw new Failure(`${file} is of the form ${profile.schema}; this libmalloc reads ${SCHEMA}`, {
      hint: 'read it with the libmalloc that wrote it',
    });
  const fault = faultOf(profile);
  if (fault !== undefined) throw new Failure(`${file} is damaged: ${fault}`, { hint });
  return profile;
}

/** Numbers that lead nowhere would make a reader of the tree run in circles. */
function faultOf({ frames, processes }: Profile): string | undefined {
  if (!Array.isArray(frames) || !Array.isArray(processes)) return 'it has no processes';
  for (const { number, nodes, sites } of processes) {
    if (!Array.isArray(nodes) || !Array.isArray(sites)) return `process ${number} has no sites`;
    const bad = nodes.findIndex(({ frame, parent }, i) => !frames[frame] || !(parent <= i));
    if (bad >= 0) return `node ${bad + 1} of process ${number} leads nowhere`;
    if (sites.some(({ node }) => !(node >= 0 && node <= nodes.length)))
      return `a site of process ${number} has no node`;
  }
  return undefined;
}

/** The frames of a stack, innermost first. */
export function framesOf(profile: Profile, process: ProfileProcess, node: number): Frame[] {
  const frames: Frame[] = [];
  for (let at = node; at > 0; ) {
    const { frame, parent } = process.nodes[at - 1] as ProfileProcess['nodes'][number];
    frames.push(profile.frames[frame] as Frame);
    at = parent;
  }
  return frames;
}
