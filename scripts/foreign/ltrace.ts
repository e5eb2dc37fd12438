// Reads the output of ltrace: `LIBRARY->malloc(100) = 0x55…` with -e, `malloc@libc.so.6(100) = 0x55…`
// with -x; -f and other options put more before it. A call that another thread interrupted is written
// in two parts: `malloc(100 <unfinished ...>`, and later `<... malloc resumed> ) = 0x55…`. Source: the
// manual of ltrace.

import { Op } from '../trace/format.ts';
import type { TraceEvent } from '../trace/trace.ts';
import { Calls } from './recorded-calls.ts';
import { linesOf } from './text-lines.ts';

const names =
  'malloc|calloc|realloc|reallocarray|free|posix_memalign|aligned_alloc|memalign|valloc|pvalloc|cfree';
const called = new RegExp(`(?:^|[\\s>@\\]])(${names})(?:@[^(\\s]+)?\\(([^)]*)(.*)$`);
const system = /(?:^|\s)SYS_\w+\(.*\) = /;
/** ltrace 0.7.3 sometimes shows what is in a register instead of an argument: no block is that large. */
const IMPOSSIBLE = 2 ** 47;
/** It also takes calls inside of libc for others: `realloc(0x7f…d9, 4) = 0x3` was a strlen. */
const isAddress = (value: number): boolean =>
  value === 0 || (value >= 4096 && value < IMPOSSIBLE && value % 8 === 0);
const resumed = new RegExp(`<\\.\\.\\. (${names}) resumed> (.*)$`);

/** With -S the system calls of the dynamic linker come first. */
export const looksLikeLtrace = (start: string): boolean =>
  start
    .split('\n', 40)
    .some((text) => (called.test(text) && /\) *= |unfinished/.test(text)) || system.test(text));

/** The value of `0x55…` or `100`; 0 for nil, NULL and anything else. */
const number = (text = ''): number => {
  const value = Number(text.trim());
  return Number.isFinite(value) ? value : 0;
};

const resultOf = (text: string): number | undefined => {
  const found = /= (\S+)/.exec(text)?.[1];
  return found === undefined ? undefined : number(found);
};

/** The parts of a recording that cannot be played. */
export interface LtraceSkipped {
  /** Lines about the malloc family that cannot be parsed or true, or calls that never ended. */
  lines: number;
  /** posix_memalign: ltrace does not say which block it gave. */
  hidden: number;
}

export function* eventsOfLtrace(file: string, skipped: LtraceSkipped): Generator<TraceEvent, void> {
  const calls = new Calls();
  /** Calls that have begun, by thread: name and arguments. */
  const begun = new Map<string, { name: string; args: string[] }[]>();
  skipped.lines = skipped.hidden = 0;
  for (const text of linesOf(file)) {
    const pid = /^\s*(?:\[pid )?(\d+)\]?\s/.exec(text)?.[1] ?? '';
    const [, ended, tail = ''] = resumed.exec(text) ?? [];
    const [, name, list = '', after = ''] = ended ? [] : (called.exec(text) ?? []);
    if (name !== undefined && list.includes('<unfinished')) {
      const call = { name, args: list.replace(/<unfinished.*/, '').split(',') };
      begun.set(pid, [...(begun.get(pid) ?? []), call]);
      continue;
    }
    const call = ended ? begun.get(pid)?.pop() : name && { name, args: list.split(',') };
    if (!call) continue;
    const result = resultOf(ended ? tail : after);
    if (result === undefined || !isPossible(call, result)) skipped.lines++;
    else if (call.name === 'posix_memalign') skipped.hidden++;
    else yield* eventsOf(calls, call, result, calls.threadOf(pid));
  }
  for (const left of begun.values()) skipped.lines += left.length;
}

type Call = { name: string; args: string[] };

/** ltrace may show more arguments than the function has. */
const numbersOf = ({ args }: Call) => args.map(number) as [number, number, number];

const takesBlock = ['free', 'cfree', 'realloc', 'reallocarray'];

function isPossible(call: Call, result: number): boolean {
  const taken = takesBlock.includes(call.name) ? numbersOf(call)[0] : 0;
  return sizeOf(call) < IMPOSSIBLE && isAddress(taken) && isAddress(result);
}

function sizeOf(call: Call): number {
  const [a, b, c] = numbersOf(call);
  if (call.name === 'free' || call.name === 'cfree') return 0;
  if (call.name === 'calloc') return a * b;
  if (call.name === 'reallocarray') return b * c;
  if (call.name === 'posix_memalign') return c;
  return ['realloc', 'memalign', 'aligned_alloc'].includes(call.name) ? b : a;
}

function* eventsOf(calls: Calls, call: Call, result: number, thread: number) {
  const [name, size, [a]] = [call.name, sizeOf(call), numbersOf(call)];
  if (name === 'free' || name === 'cfree') yield calls.freed(a, thread);
  else if (name === 'realloc' || name === 'reallocarray')
    yield* calls.resized(a, result, size, thread);
  else if (name === 'memalign' || name === 'aligned_alloc')
    yield calls.made(Op.memalign, result, size, thread, a);
  else
    yield calls.made(Op[name as 'calloc' | 'malloc' | 'valloc' | 'pvalloc'], result, size, thread);
}
