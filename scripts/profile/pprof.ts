// A profile as `go tool pprof`, Pyroscope, Parca and others read it.

import { gzipSync } from 'node:zlib';
import {
  Label,
  Line,
  Location,
  Mapping,
  Function as PprofFunction,
  Profile as PprofProfile,
  Sample,
  StringTable,
  ValueType,
} from 'pprof-format';
import type { Frame } from '../symbols/frame.ts';
import type { Profile } from '../trace/profile.ts';
import { amountOf, type Measure, programOf, stacksOf } from './measures.ts';

/** The names that Go's own heap profiles have, where there is one. The last is shown first. */
const columns: readonly [string, Measure][] = [
  ['alloc', 'all'],
  ['short', 'short'],
  ['peak', 'peak'],
  ['inuse', 'live'],
];

/** Functions and their lines by number, each once. */
class Locations {
  readonly locations: Location[] = [];
  readonly functions: PprofFunction[] = [];
  readonly mappings: Mapping[] = [];
  readonly #strings: StringTable;
  readonly #known = new Map<string, number>();

  constructor(strings: StringTable) {
    this.#strings = strings;
  }

  /** An address and the functions there, the innermost first: all but the last are inlined. */
  location(frames: readonly Frame[]): number {
    return this.#number(`l${JSON.stringify(frames)}`, () => {
      const last = frames.at(-1) as Frame;
      const id = this.locations.length + 1;
      const line = frames.map(
        (frame) => new Line({ functionId: this.#function(frame), line: frame.line ?? 0 }),
      );
      const mappingId = this.#mapping(last.module);
      return this.locations.push(new Location({ id, mappingId, address: last.offset, line }));
    });
  }

  #number(key: string, make: () => number): number {
    const number = this.#known.get(key) ?? make();
    this.#known.set(key, number);
    return number;
  }

  #function({ function: name, file }: Frame): number {
    return this.#number(`f${JSON.stringify([name, file])}`, () => {
      const id = this.functions.length + 1;
      const index = this.#strings.dedup(name);
      const filename = this.#strings.dedup(file ?? '');
      return this.functions.push(
        new PprofFunction({ id, name: index, systemName: index, filename }),
      );
    });
  }

  /** Readers look no names up where a mapping says that it has them already. */
  #mapping(module: string): number {
    return this.#number(`m${module}`, () => {
      const id = this.mappings.length + 1;
      const filename = this.#strings.dedup(module);
      const has = { hasFunctions: true, hasFilenames: true, hasLineNumbers: true };
      return this.mappings.push(new Mapping({ id, filename, ...has, hasInlineFrames: true }));
    });
  }
}

/** Frames of one address: up to and with the first that was not inlined. */
function addressesOf(frames: readonly Frame[]): Frame[][] {
  const groups: Frame[][] = [];
  let open: Frame[] = [];
  for (const frame of frames) {
    open.push(frame);
    if (frame.inlined) continue;
    groups.push(open);
    open = [];
  }
  return open.length > 0 ? [...groups, open] : groups;
}

/** The gzipped protocol buffer. */
export function toPprof(profile: Profile): Uint8Array {
  const strings = new StringTable();
  const locations = new Locations(strings);
  const type = (name: string, unit: string): ValueType =>
    new ValueType({ type: strings.dedup(name), unit: strings.dedup(unit) });
  const several = profile.processes.length > 1;
  const sample = stacksOf(profile).map(({ process, site, frames }) => {
    const value = columns.flatMap(([, measure]) => {
      const { bytes, blocks } = amountOf(site, measure);
      return [Math.round(blocks), Math.round(bytes)];
    });
    const key = strings.dedup('process');
    const str = strings.dedup(`${programOf(process)} ${process.pid}`);
    const label = several ? [new Label({ key, str })] : [];
    const locationId = addressesOf(frames).map((group) => locations.location(group));
    return new Sample({ locationId, value, label });
  });
  const seconds = Math.max(0, ...profile.processes.map((each) => each.start + each.seconds));
  const whole = new PprofProfile({
    sampleType: columns.flatMap(([name]) => [
      type(`${name}_objects`, 'count'),
      type(`${name}_space`, 'bytes'),
    ]),
    sample,
    mapping: locations.mappings,
    location: locations.locations,
    function: locations.functions,
    stringTable: strings,
    timeNanos: BigInt(Math.round(profile.started)) * 1_000_000n,
    durationNanos: Math.round(seconds * 1e9),
    periodType: type('space', 'bytes'),
    period: profile.every || 1,
    defaultSampleType: strings.dedup('inuse_space'),
    comment: [strings.dedup(`libmalloc profile: ${profile.command.join(' ')}`)],
  });
  return gzipSync(whole.encode());
}
