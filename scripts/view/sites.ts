// Where calls came from, in words: `make_list (list.c:12)`, or less where less is known.

import { basename } from 'node:path';
import { describePlaces, type Place } from './symbols.ts';

/** Further call sites count as unknown, because nobody reads more names than this. */
const MOST = 4096;

interface Mapping {
  start: number;
  end: number;
  offset: number;
  file: string;
}

export class Sites {
  readonly #numbers = new Map<number, number>([[0, 0]]);

  /** A small number for a return address; 0 for those unknown. */
  number(site: number): number {
    const known = this.#numbers.get(site);
    if (known !== undefined) return known;
    if (this.#numbers.size >= MOST) return 0;
    const next = this.#numbers.size;
    this.#numbers.set(site, next);
    return next;
  }

  /** The name of each, from /proc/PID/maps; the number itself where no mapping holds it. */
  names(maps: readonly string[]): string[] {
    const mappings = maps.flatMap((text) => text.split('\n').flatMap(parseMapping));
    const places = [...this.#numbers.keys()].map((site) => placeOf(site, mappings));
    const described = describePlaces(places.filter((place) => place !== undefined));
    const hex = (n: number) => `0x${n.toString(16)}`;
    return [...this.#numbers.keys()].map((site, i) => {
      const place = places[i];
      if (site === 0) return '';
      if (place === undefined) return hex(site);
      return described.get(place) ?? `${basename(place.file)}+${hex(place.offset)}`;
    });
  }
}

function placeOf(site: number, mappings: readonly Mapping[]): Place | undefined {
  const found = mappings.findLast(({ start, end }) => start <= site && site < end);
  if (found === undefined) return undefined;
  const { file, start, offset } = found;
  const first = mappings.findLast((each) => each.file === file && each.offset === 0);
  return { site, file, offset: site - start + offset, loaded: site - (first?.start ?? start) };
}

function parseMapping(line: string): Mapping[] {
  const match = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ +(\/.*)$/.exec(line);
  if (!match) return [];
  const [start = 0, end = 0, offset = 0] = match.slice(1, 4).map((hex) => Number.parseInt(hex, 16));
  return [{ start, end, offset, file: match[4] ?? '' }];
}
