// A profile, or the difference of two, as text for the terminal.

import { table } from '../lib/table.ts';
import { bytes, count } from '../lib/units.ts';
import type { Amount, Profile, ProfileProcess } from '../trace/profile.ts';
import type { Change } from './compare.ts';
import { type Measure, measures, programOf } from './measures.ts';
import { type Place, placesOf } from './places.ts';

/** Callers that are shown of a place; more would not fit into a line. */
const CALLERS = 3;

/** A duration with two or three figures. */
function duration(seconds: number): string {
  if (seconds >= 100) return `${Math.round(seconds)} s`;
  if (seconds >= 1) return `${seconds.toPrecision(3)} s`;
  if (seconds >= 1e-3) return `${(seconds * 1e3).toPrecision(3)} ms`;
  return `${(seconds * 1e6).toPrecision(3)} µs`;
}

const inBlocks = ({ bytes: n, blocks }: Amount): string =>
  `${bytes(n)} in ${count(blocks)} ${Math.round(blocks) === 1 ? 'block' : 'blocks'}`;

const percent = (part: number, whole: number): string =>
  whole > 0 ? `${((part / whole) * 100).toFixed(part < whole / 10 ? 1 : 0)} %` : '-';

function stackLine({ where, callers }: Pick<Place, 'where' | 'callers'>): string {
  const shown = callers.slice(0, CALLERS);
  const more = callers.length > CALLERS ? ['…'] : [];
  return [where, ...shown, ...more].join(' ← ');
}

const note = (remark: string): string => `Note: ${remark}.`;

/** The whole: totals, then the places with the most bytes of each of `asked`. */
export function describeProfile(profile: Profile, asked: readonly Measure[], top: number): string {
  const { processes, every } = profile;
  const samples = processes.flatMap(({ sites }) => sites).reduce((n, site) => n + site.samples, 0);
  const how =
    every === 0
      ? 'every allocation was looked at'
      : `estimated from ${count(samples)} ${samples === 1 ? 'sample' : 'samples'}, one in ${bytes(every)}`;
  const parts = [
    `${profile.malloc.name}, ${profile.command.join(' ')}: ${how}`,
    processTable(processes, top),
    ...asked.map((measure) => section(profile, measure, top)),
    ...momentLines(processes),
    ...profile.remarks.map(note),
  ];
  return `${parts.filter((part) => part !== '').join('\n\n')}\n`;
}

function processTable(processes: readonly ProfileProcess[], top: number): string {
  const ordered = [...processes].sort((a, b) => b.allocated.bytes - a.allocated.bytes);
  const rows = ordered
    .slice(0, top)
    .map((each) => [
      `${programOf(each)} ${each.pid}`,
      duration(each.seconds),
      inBlocks(each.allocated),
      percent(each.shortLived.bytes, each.allocated.bytes),
      inBlocks(each.peak),
      `at ${duration(each.peakAt)}`,
      inBlocks(each.live),
    ]);
  if (ordered.length > top) rows.push([`and ${ordered.length - top} more`]);
  return table(
    ['process', 'time', 'allocated', 'short-lived', 'peak', '', 'live at the end'],
    rows,
    ['left', 'right', 'right', 'right', 'right', 'right', 'right'],
  );
}

/** `list_head (prog)`, or `lost` where nothing points to a block any more; the rest in short. */
function holderOf({ holders }: Place): string {
  const [first, ...others] = holders;
  if (first === undefined) return '?';
  return `${first.root ?? 'lost'}${others.length > 0 ? `, ${others.length} more` : ''}`;
}

function lostLine(places: readonly Place[]): string {
  const lost = places.flatMap(({ holders }) => holders.filter(({ root }) => root === undefined));
  const sum = lost.reduce(
    (all, { bytes: n, blocks }) => ({ bytes: all.bytes + n, blocks: all.blocks + blocks }),
    { bytes: 0, blocks: 0 },
  );
  return sum.blocks > 0 ? `\nlost, because nothing points to it any more: ${inBlocks(sum)}` : '';
}

function section(profile: Profile, measure: Measure, top: number): string {
  const places = placesOf(profile, measure);
  const whole = places.reduce((sum, place) => sum + place.bytes, 0);
  if (places.length === 0) return `${measures[measure]}: nothing`;
  const held = measure === 'live' && places.some(({ holders }) => holders.length > 0);
  const rows = places
    .slice(0, top)
    .map((place) => [
      bytes(place.bytes),
      percent(place.bytes, whole),
      count(place.blocks),
      duration(place.meanAge),
      ...(held ? [holderOf(place)] : []),
      stackLine(place),
    ]);
  const rest = places.length - top;
  const more = rest > 0 ? `\n… and ${rest} more (--top ${places.length})` : '';
  const holder = held ? ['held by'] : [];
  const head = ['bytes', 'share', 'blocks', 'mean age', ...holder, 'where ← by whom'];
  const lines = table(head, rows, ['right', 'right', 'right', 'right', 'left']);
  return `${measures[measure]}\n${lines}${more}${held ? lostLine(places) : ''}`;
}

function momentLines(processes: readonly ProfileProcess[]): string[] {
  const rows = processes.flatMap((process) =>
    process.snapshots.map(({ seconds, why, live }) => [
      `${programOf(process)} ${process.pid}`,
      duration(seconds),
      why,
      inBlocks(live),
    ]),
  );
  if (rows.length === 0) return [];
  return [
    `snapshots\n${table(['process', 'at', 'by', 'live'], rows, ['left', 'right', 'left', 'right'])}`,
  ];
}

const signed = (n: number, text: (n: number) => string): string =>
  `${n < 0 ? '-' : '+'}${text(Math.abs(n))}`;

/** Places that changed most, up or down. */
export function describeChanges(
  changes: readonly Change[],
  remarks: readonly string[],
  measure: Measure,
  top: number,
): string {
  const notes = remarks.map((remark) => `\n${note(remark)}`).join('');
  const sum = changes.reduce((all, { bytes: n }) => all + n, 0);
  const title = `${measures[measure]}: ${signed(sum, bytes)} in all`;
  if (changes.length === 0) return `${measures[measure]}: no difference\n${notes && `${notes}\n`}`;
  const rows = changes
    .slice(0, top)
    .map((change) => [
      signed(change.bytes, bytes),
      signed(change.blocks, count),
      bytes(change.before),
      bytes(change.after),
      stackLine(change),
    ]);
  const rest = changes.length - top;
  const more = rest > 0 ? `\n… and ${rest} more (--top ${changes.length})` : '';
  const head = ['bytes', 'blocks', 'before', 'after', 'where ← by whom'];
  const lines = table(head, rows, ['right', 'right', 'right', 'right', 'left']);
  return `${title}\n${lines}${more}\n${notes && `${notes}\n`}`;
}
