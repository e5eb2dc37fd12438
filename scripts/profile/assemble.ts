// From sums by return addresses to a profile by functions and lines.

import { type Frame, GENERATED } from '../symbols/frame.ts';
import { symbolize } from '../symbols/symbolize.ts';
import { nameVariables } from '../symbols/variables-at.ts';
import type { Amount, Profile, ProfileProcess, ProfileSite } from '../trace/profile.ts';
import type { Trace, TraceProcess } from '../trace/trace.ts';
import { type RawProcess, type RawSite, readRaw } from './raw.ts';

/** Frames of all processes, each once. */
class Frames {
  readonly list: Frame[] = [];
  readonly #numbers = new Map<string, number>();

  number(frame: Frame): number {
    const { named, module, file, line, inlined } = frame;
    // Code that was made at run time has no lasting addresses.
    const made = module === GENERATED;
    const name = made ? GENERATED : frame.function;
    const key = JSON.stringify([name, module, file, line, inlined]);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.list.length);
    return this.list.push({ ...frame, function: name, named: named || made }) - 1;
  }
}

/** A tree of functions: callers first, each stack once. */
class Tree {
  readonly nodes: ProfileProcess['nodes'] = [];
  readonly #numbers = new Map<string, number>();

  node(frame: number, parent: number): number {
    const key = `${parent} ${frame}`;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.nodes.push({ frame, parent });
    this.#numbers.set(key, number);
    return number;
  }
}

/** What a trace of the profiler says, with names. */
export async function assemble(
  trace: Trace,
  malloc: Profile['malloc'],
  command?: string[],
): Promise<Profile> {
  const frames = new Frames();
  const remarks = new Set<string>();
  const processes: ProfileProcess[] = [];
  let every = 0;
  let without = 0;
  for (const process of trace.processes) {
    const raw = readRaw(trace, process);
    if (raw === undefined) {
      without++;
      continue;
    }
    every = raw.every;
    processes.push(await assembleProcess(trace, raw, frames, remarks));
    if (raw.missed > 0) remarks.add(`process ${process.pid} lost ${raw.missed} samples`);
  }
  if (without > 0)
    remarks.add(`${without} ${without === 1 ? 'process' : 'processes'} had no sample`);
  for (const sentence of trace.damage) remarks.add(sentence);
  return {
    schema: 'libmalloc/profile/1',
    malloc,
    command: command ?? trace.processes[0]?.command ?? [],
    started: trace.started,
    every,
    frames: frames.list,
    processes,
    remarks: [...remarks],
  };
}

async function assembleProcess(
  trace: Trace,
  raw: RawProcess,
  frames: Frames,
  remarks: Set<string>,
): Promise<ProfileProcess> {
  const { process } = raw;
  const tree = new Tree();
  const nodes = await expand(trace, process, raw.sites, tree, frames, remarks);
  const { sites, indexes } = mergeSites(raw.sites, nodes);
  await addRoots(trace, raw, sites, indexes);
  const seconds = (time: number): number => Math.max(0, (time - process.start) / 1e9);
  return {
    number: process.number,
    pid: process.pid,
    parentPid: process.parentPid,
    parent: process.parent,
    executable: process.executable,
    command: process.command,
    start: process.start / 1e9,
    seconds: seconds(raw.last),
    peakAt: seconds(raw.peakAt),
    allocated: raw.allocated,
    shortLived: raw.shortLived,
    peak: raw.peak,
    live: sum(sites.map(({ live }) => live)),
    nodes: tree.nodes,
    sites,
    snapshots: raw.moments.map(({ time, bySignal, sites: there }) => ({
      seconds: seconds(time),
      why: bySignal ? 'signal' : 'time',
      live: sum(there),
      sites: gathered(there, indexes),
    })),
  };
}

function rootOf(roots: NonNullable<ProfileSite['roots']>, root: string): Amount {
  const known = roots.find((each) => each.root === root);
  if (known !== undefined) return known;
  const fresh = { root, bytes: 0, blocks: 0 };
  roots.push(fresh);
  return fresh;
}

/** What holds that which is live, where the process looked for it. */
async function addRoots(
  trace: Trace,
  { process, held }: RawProcess,
  sites: readonly ProfileSite[],
  indexes: ReadonlyMap<number, number>,
): Promise<void> {
  const addresses = [...new Set(held.map(({ root }) => root))].filter((root) => root !== 0);
  const options = { buildIds: trace.buildIds(process) };
  const names = await nameVariables(trace.maps(process), addresses, options);
  const named = new Map(addresses.map((address, i) => [address, names[i] as string]));
  for (const { site: number, root, bytes, blocks } of held) {
    const site = sites[indexes.get(number) ?? -1];
    if (site === undefined) continue;
    site.lost ??= { bytes: 0, blocks: 0 };
    site.roots ??= [];
    const name = named.get(root);
    const to = name === undefined ? site.lost : rootOf(site.roots, name);
    to.bytes += bytes;
    to.blocks += blocks;
  }
  for (const { roots } of sites) roots?.sort((a, b) => b.bytes - a.bytes);
}

const sum = (amounts: readonly Amount[]): Amount => ({
  bytes: amounts.reduce((all, { bytes }) => all + bytes, 0),
  blocks: amounts.reduce((all, { blocks }) => all + blocks, 0),
});

/** For each node of the trace that leads to a site, the node of its innermost function. */
async function expand(
  trace: Trace,
  process: TraceProcess,
  sites: readonly RawSite[],
  tree: Tree,
  frames: Frames,
  remarks: Set<string>,
): Promise<Map<number, number>> {
  const { address, parent } = trace.calls(process);
  const used = new Set<number>();
  for (const { node } of sites)
    for (let at = node; at > 0 && !used.has(at); at = parent[at] as number) used.add(at);
  // A parent's number is smaller than its child's.
  const ordered = [...used].sort((a, b) => a - b);
  const named = await symbolize(
    trace.maps(process),
    ordered.map((node) => address[node] as number),
    { buildIds: trace.buildIds(process), say: (sentence) => remarks.add(sentence) },
  );
  const expanded = new Map([[0, 0]]);
  for (const [i, node] of ordered.entries()) {
    let at = expanded.get(parent[node] as number) ?? 0;
    for (const frame of (named[i] ?? []).reverse()) at = tree.node(frames.number(frame), at);
    expanded.set(node, at);
  }
  return expanded;
}

/** Several addresses may lie in one line: their sites become one. The most live bytes first. */
function mergeSites(raw: readonly RawSite[], nodes: ReadonlyMap<number, number>) {
  const byNode = new Map<number, RawSite[]>();
  for (const each of raw) {
    const node = nodes.get(each.node) ?? 0;
    const group = byNode.get(node) ?? [];
    byNode.set(node, group);
    group.push(each);
  }
  const merged = [...byNode].map(([node, group]) => ({ site: siteOf(node, group), group }));
  merged.sort((a, b) => b.site.live.bytes - a.site.live.bytes || a.site.node - b.site.node);
  const numbers = new Map(raw.map((each, i) => [each, i]));
  const indexes = new Map<number, number>();
  for (const [index, { group }] of merged.entries())
    for (const each of group) indexes.set(numbers.get(each) as number, index);
  return { sites: merged.map(({ site }) => site), indexes };
}

function siteOf(node: number, group: readonly RawSite[]): ProfileSite {
  const allocated = sum(group.map((each) => each.allocated));
  const ages = group.reduce((all, each) => all + each.ages, 0);
  return {
    node,
    samples: group.reduce((all, { samples }) => all + samples, 0),
    allocated,
    shortLived: sum(group.map((each) => each.shortLived)),
    peak: sum(group.map((each) => each.peak)),
    live: sum(group.map((each) => each.live)),
    meanAge: allocated.blocks > 0 ? ages / allocated.blocks / 1e9 : 0,
  };
}

/** Amounts of raw sites as those of merged ones. */
function gathered(there: readonly (Amount & { site: number })[], indexes: Map<number, number>) {
  const found = new Map<number, Amount>();
  for (const { site: number, bytes, blocks } of there) {
    const site = indexes.get(number);
    if (site === undefined) continue;
    found.set(site, sum([found.get(site) ?? { bytes: 0, blocks: 0 }, { bytes, blocks }]));
  }
  return [...found].map(([site, amount]) => ({ site, ...amount }));
}
