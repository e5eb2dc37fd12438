// What the profiler's library wrote, a process at a time: native/tools/profile.h.

import { CHeader } from '../trace/header.ts';
import type { Amount } from '../trace/profile.ts';
import type { Trace, TraceProcess } from '../trace/trace.ts';

/** A stack and its sums. Ticks have become nanoseconds since the profile began. */
export interface RawSite {
  /** In the tree of calls of the process. */
  node: number;
  samples: number;
  allocated: Amount;
  shortLived: Amount;
  live: Amount;
  peak: Amount;
  /** Nanoseconds, summed over all blocks: freed ones to their end, live ones to the end of the process. */
  ages: number;
}

interface RawMoment {
  time: number;
  bySignal: boolean;
  sites: (Amount & { site: number })[];
}

/** What is live and was looked for at an exit: `root` is the address of what leads there, or 0. */
interface RawHeld extends Amount {
  site: number;
  root: number;
}

export interface RawProcess {
  process: TraceProcess;
  every: number;
  /** Nanoseconds since the profile began. */
  last: number;
  peakAt: number;
  /** Samples that were lost. */
  missed: number;
  allocated: Amount;
  shortLived: Amount;
  live: Amount;
  peak: Amount;
  sites: RawSite[];
  moments: RawMoment[];
  held: RawHeld[];
}

const header = new CHeader('tools/profile.h');
const kind = (name: string): number => header.constant(`PROFILE_${name}`);
const kinds = {
  totals: kind('TOTALS'),
  sites: kind('SITES'),
  moment: kind('MOMENT'),
  held: kind('HELD'),
};
const place = (struct: string) => (field: string) => header.offset(`profile_${struct}`, field);
const [totals, site, live, held] = ['totals', 'site', 'live', 'held'].map(place) as [
  ...[ReturnType<typeof place>, ReturnType<typeof place>],
  ...[ReturnType<typeof place>, ReturnType<typeof place>],
];
const [SITE, LIVE, HELD] = ['site', 'live', 'held'].map((name) =>
  header.size(`profile_${name}`),
) as [number, number, number];
const BY_SIGNAL = header.constant('PROFILE_BY_SIGNAL');

const integer = (bytes: Buffer, at: number): number => Number(bytes.readBigUInt64LE(at));

/** Rounding may have left less than nothing; a damaged number counts as none. */
function amount(bytes: Buffer, at: number): Amount {
  const sane = (n: number): number => (n > 0.005 && n < 2 ** 60 ? Math.round(n * 100) / 100 : 0);
  return { bytes: sane(bytes.readDoubleLE(at)), blocks: sane(bytes.readDoubleLE(at + 8)) };
}

/** The sums of one process; undefined when it wrote none. */
export function readRaw(trace: Trace, process: TraceProcess): RawProcess | undefined {
  const [first] = trace.contents(process, kinds.totals);
  if (first === undefined) return undefined;
  const { bytes } = first.content;
  const last = trace.nanoseconds(integer(bytes, totals('last')));
  const peaks = bytes.readUInt32LE(totals('peaks'));
  return {
    process,
    every: integer(bytes, 0),
    last,
    peakAt: trace.nanoseconds(integer(bytes, totals('peak_at'))),
    missed: integer(bytes, totals('missed')),
    allocated: amount(bytes, totals('allocated')),
    shortLived: amount(bytes, totals('short_lived')),
    live: amount(bytes, totals('live')),
    peak: amount(bytes, totals('peak')),
    sites: [...sitesOf(trace, process, last, peaks)],
    moments: momentsOf(trace, process),
    held: [...entries(trace, process, kinds.held, HELD)].map(({ bytes: from, at }) => ({
      site: integer(from, at),
      root: integer(from, at + held('root')),
      ...amount(from, at + held('live')),
    })),
  };
}

function* entries(trace: Trace, process: TraceProcess, wanted: number, size: number) {
  for (const { head, content } of trace.contents(process, wanted))
    for (let at = 0; at + size <= content.length; at += size)
      yield { head, bytes: content.bytes, at };
}

function* sitesOf(
  trace: Trace,
  process: TraceProcess,
  last: number,
  peaks: number,
): Generator<RawSite> {
  const lengths = trace.calls(process).length;
  const scale = trace.nanoseconds(1);
  for (const { bytes, at } of entries(trace, process, kinds.sites, SITE)) {
    const node = bytes.readUInt32LE(at);
    const alive = integer(bytes, at + site('live_samples')) > 0;
    const now = alive ? amount(bytes, at + site('live')) : { bytes: 0, blocks: 0 };
    const saved = bytes.readUInt32LE(at + site('peak')) === peaks;
    const ages = bytes.readDoubleLE(at + site('ages')) * scale;
    const born = alive ? bytes.readDoubleLE(at + site('born')) * scale : 0;
    const all = ages + now.blocks * last - born;
    yield {
      node: node < lengths ? node : 0,
      samples: integer(bytes, at + site('samples')),
      allocated: amount(bytes, at + site('allocated')),
      shortLived: amount(bytes, at + site('short_lived')),
      live: now,
      peak: saved ? amount(bytes, at + site('at_peak')) : now,
      ages: Number.isFinite(all) && all > 0 ? all : 0,
    };
  }
}

function momentsOf(trace: Trace, process: TraceProcess): RawMoment[] {
  const moments = new Map<number, RawMoment>();
  for (const { head } of trace.contents(process, kinds.moment))
    if (!moments.has(head.stream))
      moments.set(head.stream, {
        time: trace.nanoseconds(head.base),
        bySignal: head.thread === BY_SIGNAL,
        sites: [],
      });
  for (const { head, bytes, at } of entries(trace, process, kinds.moment, LIVE))
    moments
      .get(head.stream)
      ?.sites.push({ site: integer(bytes, at), ...amount(bytes, at + live('live')) });
  return [...moments.values()].sort((a, b) => a.time - b.time);
}
