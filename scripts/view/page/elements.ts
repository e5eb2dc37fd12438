// Formats numbers for readers, and makes elements.

import { count } from '../../lib/units.ts';

export { bytes, count, thousands } from '../../lib/units.ts';

export const hex = (address: number): string => `0x${address.toString(16)}`;

export function duration(nanoseconds: number): string {
  if (nanoseconds < 1e3) return `${Math.round(nanoseconds)} ns`;
  if (nanoseconds < 999.5e3) return `${(nanoseconds / 1e3).toPrecision(3)} µs`;
  if (nanoseconds < 999.5e6) return `${(nanoseconds / 1e6).toPrecision(3)} ms`;
  if (nanoseconds < 600e9) return `${(nanoseconds / 1e9).toPrecision(3)} s`;
  const seconds = Math.round(nanoseconds / 1e9);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** `1 block`, `12 blocks`. */
export const plural = (n: number, what: string): string =>
  `${count(n)} ${what}${n === 1 ? '' : 's'}`;

export const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Makes an element with attributes and content; strings never become markup. */
export function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Record<string, string> = {},
  ...content: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...content);
  return made;
}
