// Colours: those of the style sheet for states, and a scale for sizes and ages.

export type Rgb = readonly [number, number, number];

/** The colours of maps and time lines, in the scheme that the reader prefers. */
export interface Palette {
  paper: Rgb;
  ink: Rgb;
  pale: Rgb;
  line: Rgb;
  never: Rgb;
  freed: Rgb;
  live: Rgb;
  header: Rgb;
  cached: Rgb;
  remote: Rgb;
  resident: Rgb;
  chosen: Rgb;
  dark: boolean;
}

const names = [
  'paper',
  'ink',
  'pale',
  'line',
  'never',
  'freed',
  'live',
  'header',
  'cached',
  'remote',
  'resident',
  'chosen',
] as const;

export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colors = names.map((name) => [name, parse(style.getPropertyValue(`--${name}`))] as const);
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  return { ...(Object.fromEntries(colors) as Record<(typeof names)[number], Rgb>), dark };
}

function parse(hex: string): Rgb {
  const value = Number.parseInt(hex.trim().slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

export const css = ([r, g, b]: Rgb): string => `rgb(${r} ${g} ${b})`;

/** Colours that people with red-green colour blindness can distinguish; after eight they repeat. */
export const apart: readonly Rgb[] = [
  [66, 105, 208],
  [239, 177, 24],
  [255, 114, 92],
  [108, 197, 176],
  [60, 169, 81],
  [255, 138, 183],
  [164, 99, 242],
  [151, 187, 245],
];
export const distinct = (n: number): Rgb => apart[n % apart.length] as Rgb;

/** From young or small (0) to old or large (1): five colours of viridis. */
const scale: Rgb[] = [
  [68, 1, 84],
  [59, 82, 139],
  [33, 145, 140],
  [94, 201, 98],
  [253, 231, 37],
];
export function graded(share: number): Rgb {
  const at = Math.min(1, Math.max(0, share)) * (scale.length - 1);
  const from = Math.min(scale.length - 2, Math.floor(at));
  return mix(scale[from] as Rgb, scale[from + 1] as Rgb, at - from);
}

function mix(a: Rgb, b: Rgb, share: number): Rgb {
  const one = (i: 0 | 1 | 2): number => Math.round(a[i] + (b[i] - a[i]) * share);
  return [one(0), one(1), one(2)];
}
