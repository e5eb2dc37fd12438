// Figures as people read them.

/** 1234567 as `1,234,567`. */
export function count(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

/** 12345678 as `12.3 M`. */
export function thousands(n: number): string {
  return scaled(n, ['', 'k', 'M', 'G', 'T']);
}

/** Bytes in the largest unit that leaves three digits or fewer before the point: `19.2 MB` is 10⁶. */
export function megabytes(bytes: number): string {
  return scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB']);
}

function scaled(value: number, units: string[]): string {
  let n = value;
  let unit = 0;
  while (Math.abs(n) >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toPrecision(3)} ${units[unit]}`.trim();
}
