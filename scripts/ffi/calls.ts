/** How a C prototype becomes a checked, typed function, sync and async. */
import koffi from 'koffi';
import { Failure } from '../lib/errors.ts';
import type { Library, NativeFunction } from './library.ts';

declare const brand: unique symbol;
/** An address in this process that is not NULL; NULL is `null`. A plain bigint does not pass for one. */
export type Pointer = bigint & { readonly [brand]: 'Pointer' };
/** A number of bytes or of objects: an integer from 0 to 2^64 - 1. */
export type Size = number | bigint;

/** Makes a Pointer of an address, for arithmetic: `pointer(block + 8n)`. Nothing checks what is there. */
export function pointer(address: bigint): Pointer {
  if (address <= 0n || address >= 1n << 64n) throw new RangeError(`${address} is no address`);
  return address as Pointer;
}

/** One function of a library: its prototype, and what lies between C's view of it and ours. */
export interface Binding {
  c: string;
  /** Our arguments to C's; the default passes them on. */
  before?: (...args: never[]) => unknown[];
  /** C's result, and C's arguments after the call (out parameters), to our result. */
  after?: (result: never, args: never) => unknown;
}

/** What the calls of one opened library share. */
export interface CallState {
  name: string;
  file: string;
  /** errno as the last call left it. */
  errno: number;
  closed: boolean;
}

export interface Call {
  (...args: unknown[]): unknown;
  async(...args: unknown[]): Promise<unknown>;
}

/** Defines a C type once: koffi keeps names as long as the process lives, longer than a module. */
export function once(name: string, define: (name: string) => unknown): void {
  try {
    koffi.type(name);
  } catch {
    define(name);
  }
}

/** The symbol that a prototype declares. */
export function symbolOf(prototype: string): string {
  const symbol = /(\w+)\(/.exec(prototype)?.[1];
  if (!symbol) throw new TypeError(`no function in the prototype '${prototype}'`);
  return symbol;
}

/** Binds one function; where the library lacks it, each call is a Failure that names function and file. */
export function bindCall(library: Library, state: CallState, binding: Binding): Call {
  const symbol = symbolOf(binding.c);
  if (!library.provides(symbol)) return lacking(state, symbol);
  const native = library.bind(binding.c);
  const checks = argumentTypes(native).map(checkOf);
  const before = binding.before as ((...args: unknown[]) => unknown[]) | undefined;
  const after = (binding.after ?? plainResult(native)) as (r: unknown, a: unknown[]) => unknown;

  const prepare = (args: unknown[]): unknown[] => {
    if (state.closed)
      throw new Failure(`${state.name} is closed`, { hint: 'open it again with openMalloc' });
    const forC = before ? before(...args) : args;
    for (const [i, check] of checks.entries()) check(forC[i], symbol);
    return forC;
  };
  const call = (...args: unknown[]): unknown => {
    const forC = prepare(args);
    const result = native(...forC);
    state.errno = koffi.errno();
    return after(result, forC);
  };
  call.async = async (...args: unknown[]): Promise<unknown> => {
    const forC = prepare(args);
    const result = await onPool(native, forC, state);
    return after(result, forC);
  };
  return call;
}

function lacking(state: CallState, symbol: string): Call {
  const fail = (): never => {
    throw new Failure(`${state.file} has no ${symbol}`, { hint: 'ask has(…) before calling it' });
  };
  return Object.assign(fail, { async: async () => fail() });
}

interface CType {
  name: string;
  primitive: string;
}

/** koffi's declarations leave the wrapper around each type out. */
function argumentTypes(native: NativeFunction): CType[] {
  return (native.info.arguments as unknown as { type: CType }[]).map(({ type }) => type);
}

type Check = (value: unknown, symbol: string) => void;

/**
 * Without these checks koffi would silently cut 1.5 to 1, wrap -1 around, and take an array for a
 * pointer.
 */
function checkOf(type: CType): Check {
  if (type.primitive === 'UInt64') return checkSize;
  if (type.name === 'void *') return checkPointer;
  return () => {};
}

function checkSize(value: unknown, symbol: string): void {
  if (
    typeof value === 'bigint'
      ? value >= 0n && value < 1n << 64n
      : Number.isSafeInteger(value) && (value as number) >= 0
  )
    return;
  throw new RangeError(
    `${symbol}: ${String(value)} is no size; sizes are integers from 0 to 2^64 - 1`,
  );
}

function checkPointer(value: unknown, symbol: string): void {
  if (value === null || typeof value === 'bigint') return;
  throw new TypeError(`${symbol}: ${String(value)} is no pointer; pointers are bigint or null`);
}

/** 64-bit results come as number or bigint, by value; ours are numbers (exact up to 2^53). */
function plainResult(native: NativeFunction): (result: unknown) => unknown {
  return native.info.result.primitive === 'UInt64' ? Number : (result) => result;
}

/**
 * koffi throws when more than 256 calls are queued, and maps memory anew (100 µs a call instead of
 * 20) when there are more than it keeps stacks for. So calls beyond those wait for their turn in
 * here: up to 32 run at once, or 8 where the program used koffi before and its settings are fixed.
 */
function stacksKept(): number {
  try {
    koffi.config({ resident_async_pools: 32 });
  } catch {
    // a library is loaded already
  }
  return koffi.config().resident_async_pools ?? 1;
}
const QUEUED_AT_MOST = stacksKept();
const gate = { queued: 0, waiting: [] as (() => void)[] };

function onPool(native: NativeFunction, args: unknown[], state: CallState): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const done = (error: unknown, result: unknown): void => {
      state.errno = koffi.errno();
      leaveGate();
      if (error) reject(error);
      else resolve(result);
    };
    const start = (): void => {
      gate.queued++;
      try {
        native.async(...args, done);
      } catch (error) {
        leaveGate();
        reject(error);
      }
    };
    if (gate.queued < QUEUED_AT_MOST) start();
    else gate.waiting.push(start);
  });
}

function leaveGate(): void {
  gate.queued--;
  gate.waiting.shift()?.();
}
