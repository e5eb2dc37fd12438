// The colour of a live block: by state, size, age, thread or call site.

import { describe } from '../calltree.ts';
import type { HeapModel } from '../model.ts';
import { bytes, count, thousands } from './elements.ts';
import { apart, distinct, graded, type Palette, type Rgb } from './palette.ts';

export type ColorBy = 'state' | 'size' | 'age' | 'thread' | 'site';

const LARGEST = 2 ** 20;

/** The colour of block `i` at a position. */
export function colorOf(
  model: HeapModel,
  i: number,
  position: number,
  by: ColorBy,
  palette: Palette,
): Rgb {
  if (by === 'state') return palette.live;
  const block = model.block(i);
  if (by === 'size') return bySize(block.size);
  if (by === 'thread' || by === 'site') return byRank(model, by, block[by], palette);
  return graded((position - block.birth) / Math.max(1, model.facts.events));
}

export const bySize = (size: number): Rgb =>
  graded(Math.log2(Math.max(16, size) / 16) / Math.log2(LARGEST / 16));

/** Threads or call sites, sorted by the bytes of their blocks, the most first. */
interface Ranking {
  order: number[];
  rank: number[];
}
const rankings = new WeakMap<HeapModel, Partial<Record<'thread' | 'site', Ranking>>>();

function rankingOf(model: HeapModel, by: 'thread' | 'site'): Ranking {
  const known = rankings.get(model) ?? {};
  rankings.set(model, known);
  const found = known[by];
  if (found) return found;
  const sums: number[] = [];
  for (let i = 0; i < model.blocks; i++) {
    const block = model.block(i);
    sums[block[by]] = (sums[block[by]] ?? 0) + block.size;
  }
  const order = Object.keys(sums)
    .map(Number)
    .sort((a, b) => (sums[b] ?? 0) - (sums[a] ?? 0));
  const rank: number[] = [];
  for (const [place, which] of order.entries()) rank[which] = place;
  const made = { order, rank };
  known[by] = made;
  return made;
}

/** This many threads or call sites have a colour each; all others share one. */
const OWN = apart.length - 1;

function byRank(model: HeapModel, by: 'thread' | 'site', which: number, palette: Palette): Rgb {
  const rank = rankingOf(model, by).rank[which] ?? OWN;
  return rank < OWN ? distinct(rank) : palette.pale;
}

/** A legend: colours and what they mean. */
export function legendOf(
  model: HeapModel,
  by: ColorBy,
  walk: boolean,
  palette: Palette,
  chosen = false,
): [Rgb, string][] {
  const others: [Rgb, string][] = chosen ? [[palette.resident, 'live, not chosen']] : [];
  const freed: [Rgb, string][] = [
    [palette.freed, walk ? 'free' : 'used before, no live block'],
    [palette.never, 'never used'],
  ];
  const more: [Rgb, string][] = walk
    ? [
        [palette.header, 'headers'],
        [palette.cached, 'cached'],
        [palette.remote, 'freed by another thread'],
      ]
    : [];
  const hole: [Rgb, string][] =
    model.parts.length > 1 ? [[palette.ink, 'a hole in the addresses']] : [];
  return [...live(model, by, walk, palette), ...others, ...freed, ...more, ...hole];
}

function ranked(model: HeapModel, by: 'thread' | 'site', palette: Palette): [Rgb, string][] {
  const { order } = rankingOf(model, by);
  const { threads, frames } = model.facts;
  const siteName = (which: number): string =>
    which > 0 && frames[which] ? describe(frames[which]) : 'unknown call site';
  const name = (which: number): string =>
    by === 'thread' ? `thread ${threads[which] ?? '?'}` : siteName(which);
  const first = order.slice(0, OWN).map((which, i): [Rgb, string] => [distinct(i), name(which)]);
  const others = order.length - OWN;
  return others > 0 ? [...first, [palette.pale, `${count(others)} others`]] : first;
}

function live(model: HeapModel, by: ColorBy, walk: boolean, palette: Palette): [Rgb, string][] {
  switch (by) {
    case 'size':
      return [16, 256, 4096, 65_536, LARGEST].map((size) => [
        bySize(size),
        size === LARGEST ? `${bytes(size)} and more` : bytes(size),
      ]);
    case 'age':
      return [0, 0.25, 0.5, 0.75, 1].map((share) => [
        graded(share),
        share === 0 ? 'just allocated' : `${thousands(share * model.facts.events)} calls ago`,
      ]);
    case 'thread':
      if (!walk) return ranked(model, by, palette);
      return [0, 1, 2].map((n) => [distinct(n), `heap ${n + 1}`]);
    case 'site':
      return walk ? [[palette.live, 'live']] : ranked(model, by, palette);
    default:
      return [[palette.live, 'live']];
  }
}
