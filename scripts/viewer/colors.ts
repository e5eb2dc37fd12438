// What colour a live block has, by what the reader wants to see.

import type { HeapModel } from '../lib/view/model.ts';
import { distinct, graded, type Palette, type Rgb } from './palette.ts';
import { bytes } from './words.ts';

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
  if (by === 'thread') return distinct(block.thread);
  if (by === 'site') return distinct(block.site);
  return graded((position - block.birth) / Math.max(1, model.facts.events));
}

export const bySize = (size: number): Rgb =>
  graded(Math.log2(Math.max(16, size) / 16) / Math.log2(LARGEST / 16));

/** A legend: colours and what they mean. */
export function legendOf(by: ColorBy, walk: boolean, palette: Palette): [Rgb, string][] {
  const freed: [Rgb, string][] = [
    [palette.freed, walk ? 'free' : 'was used, no live block'],
    [palette.never, 'never used'],
  ];
  const more: [Rgb, string][] = walk
    ? [
        [palette.header, 'headers'],
        [palette.cached, 'cached'],
        [palette.remote, 'freed by another thread'],
      ]
    : [];
  return [...live(by, walk, palette), ...freed, ...more];
}

function live(by: ColorBy, walk: boolean, palette: Palette): [Rgb, string][] {
  switch (by) {
    case 'size':
      return [16, 256, 4096, 65_536, LARGEST].map((size) => [
        bySize(size),
        size === LARGEST ? `${bytes(size)} and more` : bytes(size),
      ]);
    case 'age':
      return [
        [graded(0), 'just born'],
        [graded(1), 'as old as the trace'],
      ];
    case 'thread':
      return [0, 1, 2].map((n) => [distinct(n), walk ? `heap ${n + 1}` : `thread ${n}`]);
    case 'site':
      return [[distinct(1), 'a colour for each call site']];
    default:
      return [[palette.live, 'live']];
  }
}
