// LIBMALLOC_OPTIONS, as native/base/options.h reads it. The library leaves what is broken at its default
// and says nothing; `run`, `doctor` and the other verbs refuse it.

import { accessSync, constants } from 'node:fs';
import { constants as system } from 'node:os';
import { dirname } from 'node:path';

const limitMost = (1n << 63n) - 1n; // PTRDIFF_MAX
const decayMost = (1n << 32n) - 1n;
const pathMost = 1023; // bytes

const signalNames = 'HUP INT QUIT USR1 USR2 ALRM TERM URG WINCH IO PWR'.split(' ');
const signalNumbers: number[] = signalNames.map(
  (name) => (system.signals as Record<string, number>)[`SIG${name}`] ?? 0,
);

const units: Readonly<Record<string, bigint>> = { k: 1n << 10n, m: 1n << 20n, g: 1n << 30n };

/** Bytes of `512m`; undefined when it is no number of bytes. */
export function parseBytes(text: string): bigint | undefined {
  const [, digits, unit = ''] = /^(\d+)([kmg]?)$/i.exec(text) ?? [];
  return digits === undefined ? undefined : BigInt(digits) * (units[unit.toLowerCase()] ?? 1n);
}

function brokenDecay(value: string): string | undefined {
  if (/^\d+$/.test(value) && BigInt(value) <= decayMost) return undefined;
  return 'give milliseconds: decay=1000';
}

function brokenLimit(value: string): string | undefined {
  const bytes = parseBytes(value);
  if (bytes !== undefined && bytes > 0n && bytes <= limitMost) return undefined;
  return 'give bytes above 0, with k, m or g for a larger unit: limit=512m';
}

function brokenStats(value: string): string | undefined {
  if (!value.startsWith('/') || value.endsWith('/'))
    return 'give a file, from the root: stats=/var/log/heap.%p (%p is the process id)';
  if (Buffer.byteLength(value) > pathMost) return 'the path is too long: stats=/var/log/heap.%p';
  const folder = dirname(value);
  if (folder.includes('%p')) return undefined;
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch {
    return `the folder ${folder} does not exist or cannot be written to: mkdir it`;
  }
}

function brokenDump(value: string): string | undefined {
  const name = value.replace(/^SIG/, '');
  if (signalNames.includes(name)) return undefined;
  if (/^\d+$/.test(value) && signalNumbers.includes(Number(value))) return undefined;
  return `give one of ${signalNames.join(', ')}, or its number: dump=USR2`;
}

const options: Readonly<Record<string, (value: string) => string | undefined>> = {
  decay: brokenDecay,
  huge: (value) => (/^0*[01]$/.test(value) ? undefined : 'give huge=0 or huge=1'),
  limit: brokenLimit,
  stats: brokenStats,
  dump: brokenDump,
};

/** Why LIBMALLOC_OPTIONS is not understood, naming the option, and what to give instead. */
export function brokenOptions(value: string): string | undefined {
  for (const option of value.split(',')) {
    const [key = '', ...rest] = option.split('=');
    const broken = Object.hasOwn(options, key) ? options[key] : undefined;
    if (broken === undefined || rest.length === 0)
      return (
        `unknown option '${option}': give decay=MS, huge=0 or 1, limit=BYTES, stats=/FILE, ` +
        'dump=SIGNAL, with commas between'
      );
    const fix = broken(rest.join('='));
    if (fix !== undefined) return `option '${option}': ${fix}`;
  }
  return undefined;
}
