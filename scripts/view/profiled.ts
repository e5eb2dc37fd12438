// Turns a profile of `libmalloc profile` into the data of a page: flame graphs for moments instead of
// calls, and no map, because a profile does not record the addresses of blocks.

import { basename } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { bytes, count } from '../lib/units.ts';
import type { Amount, Profile, ProfileProcess } from '../trace/profile.ts';
import type { HeapColumns, HeapData } from './data.ts';
import { type PackedProcess, packProcess } from './fill.ts';
import type { ShownTrace } from './read.ts';
import { commandOf, nameOf, startersOf } from './starters.ts';

/** A moment for which the profile has live bytes: in all, and by node of the call tree. */
interface Moment {
  name: string;
  seconds: number;
  live: Amount;
  byNode: ReadonlyMap<number, Amount>;
}

/** Shows all processes that allocated, the one that allocated most bytes first. */
export function showProfile(profile: Profile, file: string, wanted?: number): ShownTrace {
  const chosen = profile.processes
    .filter(({ number }) => wanted === undefined || number === wanted)
    .sort((a, b) => b.allocated.bytes - a.allocated.bytes || a.number - b.number);
  if (chosen.length === 0)
    throw new Failure(`${file} has no process ${wanted ?? 'that allocated anything'}`, {
      hint: `it has: ${profile.processes.map(({ number }) => number).join(', ') || 'none'}`,
    });
  const starters = startersOf(profile.processes);
  const heaps = chosen.map((process) => heapOf(profile, process, file));
  const processes: PackedProcess[] = heaps.map((heap) =>
    packProcess(heap, starters.get(heap.facts.process)),
  );
  return { heap: heaps[0] as HeapData, processes };
}

function momentsOf({ sites, snapshots, peak, peakAt, live, seconds }: ProfileProcess): Moment[] {
  const gathered = (amounts: Iterable<readonly [number, Amount]>): Map<number, Amount> =>
    new Map([...amounts].filter(([, amount]) => amount.bytes > 0));
  const moments = snapshots.map((each) => ({
    name: `snapshot by ${each.why} after ${each.seconds.toFixed(1)} s`,
    seconds: each.seconds,
    live: each.live,
    byNode: gathered(each.sites.map((amount) => [sites[amount.site]?.node ?? 0, amount])),
  }));
  moments.push({
    name: `the peak, after ${peakAt.toFixed(1)} s`,
    seconds: peakAt,
    live: peak,
    byNode: gathered(sites.map((site) => [site.node, site.peak])),
  });
  moments.sort((a, b) => a.seconds - b.seconds);
  const byNode = gathered(sites.map((site) => [site.node, site.live]));
  return [...moments, { name: `the end, after ${seconds.toFixed(1)} s`, seconds, live, byNode }];
}

function heapOf(profile: Profile, process: ProfileProcess, file: string): HeapData {
  const { command, executable, nodes, sites } = process;
  const moments = momentsOf(process);
  const samples = sites.reduce((sum, site) => sum + site.samples, 0);
  const how = `Estimated from ${count(samples)} samples, one in ${bytes(profile.every)}.`;
  return {
    facts: {
      malloc: profile.malloc.name,
      command: commandOf({ command, executable }),
      name: nameOf({ command, executable }),
      pid: process.pid,
      process: process.number,
      file: basename(file),
      events: moments.length,
      moments: ['the start', ...moments.map(({ name }) => name)],
      notes: [profile.every === 0 ? 'Every allocation was recorded.' : how],
      allocations: Math.round(process.allocated.blocks),
      releases: Math.round(process.allocated.blocks - process.live.blocks),
      failures: 0,
      strays: 0,
      overlaps: 0,
      wrongFrees: [],
      totalBytes: Math.round(process.allocated.bytes),
      peakBytes: Math.round(process.peak.bytes),
      peakBlocks: Math.round(process.peak.blocks),
      peakAt: 1 + moments.findIndex(({ name }) => name.startsWith('the peak')),
      nanoseconds: Math.round(process.seconds * 1e9),
      every: 1,
      blurred: 0,
      density: { cell: 1, frames: moments.map((_, i) => i + 1) },
      threads: [],
      frames: [
        { name: 'unknown', place: '' },
        ...profile.frames.map(({ function: name, file: source, line, named, module }) => ({
          name,
          place:
            line === undefined
              ? named
                ? basename(module)
                : ''
              : `${basename(source ?? '')}:${line}`,
        })),
      ],
      known: 'stacks',
      damage: [],
      remarks: profile.remarks,
      sizes: [],
      lifetimes: [],
      walks: [],
    },
    columns: columnsOf(process, moments, nodes.length + 1),
  };
}

const none = new Float64Array();

function columnsOf({ nodes, sites }: ProfileProcess, moments: Moment[], size: number): HeapColumns {
  const bySite = (value: (site: ProfileProcess['sites'][number]) => number): Float64Array => {
    const column = new Float64Array(size);
    for (const site of sites)
      column[site.node] = (column[site.node] as number) + Math.round(value(site));
    return column;
  };
  const overTime = (value: (moment: Moment) => number): Float64Array =>
    Float64Array.from([0, ...moments.map((moment) => Math.round(value(moment)))]);
  const alive = [...new Set(moments.flatMap(({ byNode }) => [...byNode.keys()]))].sort(
    (a, b) => a - b,
  );
  const crowded = (unit: keyof Amount): Float64Array =>
    Float64Array.from(
      alive.flatMap((node) =>
        moments.map(({ byNode }) => Math.round(byNode.get(node)?.[unit] ?? 0)),
      ),
    );
  return {
    stops: {
      time: overTime(({ seconds }) => seconds * 1e9),
      bytes: overTime(({ live }) => live.bytes),
      blocks: overTime(({ live }) => live.blocks),
      resident: new Float64Array(moments.length + 1),
      over: new Float64Array(moments.length + 1),
    },
    blocks: { address: none, size: none, birth: none, death: none, thread: none, stack: none },
    stacks: {
      parent: Float64Array.from([0, ...nodes.map(({ parent }) => parent)]),
      frame: Float64Array.from([0, ...nodes.map(({ frame }) => frame + 1)]),
      bytes: bySite(({ allocated }) => allocated.bytes),
      blocks: bySite(({ allocated }) => allocated.blocks),
      peakBytes: bySite(({ peak }) => peak.bytes),
      peakBlocks: bySite(({ peak }) => peak.blocks),
      endBytes: bySite(({ live }) => live.bytes),
      endBlocks: bySite(({ live }) => live.blocks),
      shortBytes: bySite(({ shortLived }) => shortLived.bytes),
      shortBlocks: bySite(({ shortLived }) => shortLived.blocks),
      ended: bySite(({ allocated, live }) => Math.max(0, allocated.blocks - live.blocks)),
      life: bySite(({ meanAge }) => meanAge * 1e9),
    },
    crowd: { stack: Float64Array.from(alive), bytes: crowded('bytes'), blocks: crowded('blocks') },
    pages: { start: none, length: none, first: none },
    density: { start: none, bytes: none },
    chunks: { start: none, extent: none, kind: none, sizeClass: none, owner: none },
  };
}
