import { accessSync, constants } from 'node:fs';
import { dirname } from 'node:path';
import { Failure } from '../lib/errors.ts';
import { didYouMean } from '../lib/similar.ts';
import { checkVariables } from '../lib/utf8.ts';
import { brokenOptions, type Key } from './options.ts';

/** A variable that the libraries read: its value, what it is for, and why a value is broken (or undefined). */
interface Variable {
  value: string;
  meaning: string;
  broken: (value: string) => string | undefined;
}

const largestBlock = (1n << 62n) - 1n; // native/dumb.c accepts up to PTRDIFF_MAX / 2

function brokenBlock(value: string): string | undefined {
  if (/^\d+$/.test(value) && BigInt(value) > 0n && BigInt(value) <= largestBlock) return undefined;
  return 'give a number of bytes above 0, in decimal digits only: LIBMALLOC_BLOCK=1024';
}

/** Why a file cannot be written with this beginning of its name. */
function brokenReport(value: string): string | undefined {
  if (value === '' || value.endsWith('/')) return 'give the beginning of a file name: /tmp/report';
  try {
    accessSync(dirname(value), constants.W_OK | constants.X_OK);
    return undefined;
  } catch {
    return `the folder ${dirname(value)} does not exist or cannot be written to: mkdir it`;
  }
}

/** The keys of LIBMALLOC_DEBUG and the largest value of each (native/guard/guard.h). */
export const debugKeys: Readonly<Record<string, Key & { most: bigint }>> = {
  quarantine: {
    value: 'BYTES',
    meaning: 'how many bytes of freed blocks wait before they are used again; 0 for none',
    otherwise: '16777216',
    most: (1n << 63n) - 1n,
  },
  fill: {
    value: '0|1',
    meaning: 'fresh and freed blocks are filled with a pattern',
    otherwise: '1',
    most: 1n,
  },
  stack: {
    value: 'N',
    meaning: 'how many calls are remembered of who allocated and freed a block; at most 8',
    otherwise: '8',
    most: 8n,
  },
  leaks: {
    value: '0|1',
    meaning: 'report at exit which blocks nothing points to any more',
    otherwise: '0',
    most: 1n,
  },
  lines: {
    value: '0|1',
    meaning:
      'a report has source lines, which llvm-symbolizer or addr2line finds; `libmalloc run` adds them ' +
      'itself',
    otherwise: '1',
    most: 1n,
  },
  match: {
    value: '0|1',
    meaning:
      'a block of new must be deleted, one of malloc freed, with the size and alignment it has',
    otherwise: '1',
    most: 1n,
  },
};

function brokenDebug(value: string): string | undefined {
  for (const option of value.split(',')) {
    const [, key = option, number] = /^([^=]*)=(\d+)$/.exec(option) ?? [];
    const most = Object.hasOwn(debugKeys, key) ? debugKeys[key]?.most : undefined;
    if (most === undefined || number === undefined || BigInt(number) > most)
      return (
        `not '${option}': give quarantine=BYTES, stack=0 to 8, and fill, leaks, lines or match=0 or 1, ` +
        'with commas between: LIBMALLOC_DEBUG=leaks=1,stack=4'
      );
  }
  return undefined;
}

function brokenTrace(value: string): string | undefined {
  if (!/^((sites,|stacks,|snapshots(=\d+)?,)*|count,)\//.test(value))
    return 'give [sites,][stacks,][snapshots[=CALLS],]/PATH or count,/PATH, from the root';
  const path = value.slice(value.indexOf('/'));
  if (Buffer.byteLength(path) >= 1024) return 'the path is too long';
  return brokenReport(path);
}

function brokenProfile(value: string): string | undefined {
  const words =
    /^(every=[1-9]\d{0,12},|all,|roots,|seconds=[1-9]\d{0,6},|signal=(HUP|USR1|USR2|URG|WINCH|IO|PWR),)*\//;
  if (!words.test(value))
    return (
      'give [every=BYTES,|all,][roots,][seconds=S,][signal=SIGNAL,]/PATH, from the root; SIGNAL is one of ' +
      'HUP, USR1, USR2, URG, WINCH, IO, PWR'
    );
  const path = value.slice(value.indexOf('/'));
  if (Buffer.byteLength(path) >= 1024) return 'the path is too long';
  return brokenReport(path);
}

/**
 * Every LIBMALLOC_* variable there is. The libraries ignore a broken value; the command refuses it.
 */
export const variables: Readonly<Record<string, Variable>> = {
  LIBMALLOC_BLOCK: {
    value: 'BYTES',
    meaning: 'dumb: bytes of every block (65536)',
    broken: brokenBlock,
  },
  LIBMALLOC_OVERRUN: {
    value: '0|1',
    meaning: 'dumb: 1 hands out a block even when it is too small',
    broken: (value) => (/^[01]$/.test(value) ? undefined : 'give 0 or 1'),
  },
  LIBMALLOC_DEBUG: {
    value: 'KEY=VALUE,…',
    meaning: 'debug builds: what the guard does',
    broken: brokenDebug,
  },
  LIBMALLOC_OPTIONS: {
    value: 'KEY=VALUE,…',
    meaning: 'our mallocs: decay, huge pages, limit, statistics',
    broken: brokenOptions,
  },
  LIBMALLOC_REPORT: {
    value: 'PREFIX',
    meaning: 'each process leaves a record in PREFIX.PID',
    broken: brokenReport,
  },
  LIBMALLOC_TRACE: {
    value: '[sites,][stacks,][snapshots[=CALLS],]/FILE',
    meaning: 'trace library: record all calls in this file',
    broken: brokenTrace,
  },
  LIBMALLOC_PROFILE: {
    value: '[every=BYTES,|all,][roots,][seconds=S,][signal=SIGNAL,]/FILE',
    meaning: 'profiler: sample allocations, and write who makes them to this file',
    broken: brokenProfile,
  },
  LIBMALLOC_LAYOUT: {
    value: 'PID',
    meaning: 'set by `layout`: a process with this parent stops at its end',
    broken: (value) => (/^\d+$/.test(value) ? undefined : 'unset it: `layout` sets it itself'),
  },
};

/**
 * What is wrong with one variable of an environment, and how to fix it; undefined when nothing is.
 */
export function variableFault(
  name: string,
  value: string,
): { message: string; hint: string } | undefined {
  const variable = variables[name];
  if (variable === undefined) {
    const known = Object.keys(variables);
    const meant = didYouMean(name, known);
    return {
      message: `unknown variable ${name}`,
      hint: `${meant}known: ${known.join(', ')}; or unset ${name}`,
    };
  }
  const hint = variable.broken(value);
  return hint === undefined ? undefined : { message: `broken value ${name}='${value}'`, hint };
}

/** Throws Failure (125) for the first LIBMALLOC_* variable with an unknown name or a broken value. */
export function checkEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  if (env === process.env) checkVariables();
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('LIBMALLOC_') || value === undefined) continue;
    const fault = variableFault(name, value);
    if (fault !== undefined) throw new Failure(fault.message, { hint: fault.hint });
  }
}
