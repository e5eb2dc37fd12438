// Where calls came from, in words: `libpython3.11.so.1.0+0x1a2b3c`.

import { basename } from 'node:path';

/** Call sites beyond these are "elsewhere": nobody reads more names than that. */
const MOST = 4096;

interface Place {
  start: number;
  end: number;
  offset: number;
  name: string;
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
    const places = maps.flatMap((text) => text.split('\n').flatMap(parsePlace));
    return [...this.#numbers.keys()].map((site) => {
      if (site === 0) return '';
      const place = places.findLast(({ start, end }) => start <= site && site < end);
      const hex = (n: number) => `0x${n.toString(16)}`;
      return place ? `${place.name}+${hex(site - place.start + place.offset)}` : hex(site);
    });
  }
}

function parsePlace(line: string): Place[] {
  const match = /^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ +(\/.*)$/.exec(line);
  if (!match) return [];
  const [start, end, offset] = match.slice(1, 4).map((hex) => Number.parseInt(hex, 16));
  return [
    { start: start ?? 0, end: end ?? 0, offset: offset ?? 0, name: basename(match[4] ?? '') },
  ];
}
