// LIBMALLOC_OPTIONS, as native/base/options.h reads it. The library uses the default for a broken
// value and says nothing; `run`, `doctor` and the other verbs refuse it.

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

/** A key of a list such as LIBMALLOC_OPTIONS=KEY=VALUE,…, as docs/reference.md describes it. */
export interface Key {
  /** What stands after `=`. */
  value: string;
  meaning: string;
  /** What holds when the key is not given. */
  otherwise: string;
}

interface Option extends Key {
  broken: (value: string) => string | undefined;
}

/** The keys of LIBMALLOC_OPTIONS. */
export const options: Readonly<Record<string, Option>> = {
  decay: {
    value: 'MS',
    meaning: 'sharded: milliseconds after which unused memory goes back to the system',
    otherwise: '1000',
    broken: brokenDecay,
  },
  huge: {
    value: '0|1',
    meaning: 'sharded: huge pages for blocks that grow by realloc',
    otherwise: '1',
    broken: (value) => (/^0*[01]$/.test(value) ? undefined : 'give huge=0 or huge=1'),
  },
  limit: {
    value: 'BYTES',
    meaning:
      'malloc refuses (ENOMEM) what would exceed this much memory; k, m and g stand for 2^10, 2^20 and 2^30',
    otherwise: 'no limit',
    broken: brokenLimit,
  },
  stats: {
    value: '/FILE',
    meaning: 'a summary at exit, appended to this file; %p is the process id',
    otherwise: 'none',
    broken: brokenStats,
  },
  dump: {
    value: 'SIGNAL',
    meaning: `a summary at this signal, to the file of stats or to standard error: ${signalNames.join(', ')}`,
    otherwise: 'none',
    broken: brokenDump,
  },
};

/** Why LIBMALLOC_OPTIONS is not understood, naming the option, and what to give instead. */
export function brokenOptions(value: string): string | undefined {
  for (const option of value.split(',')) {
    const [key = '', ...rest] = option.split('=');
    const broken = Object.hasOwn(options, key) ? options[key]?.broken : undefined;
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
