// Sizes and counts as people read them. Our own, because Intl.NumberFormat has no KiB.

const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/** `512 bytes`, `1.5 KiB`, `42 MiB`: three digits, and never a unit of which there is less than one. */
export function bytes(count: number): string {
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = unit === 0 || value >= 100 ? value.toFixed(0) : trimmed(value.toPrecision(3));
  return `${text} ${unit === 0 && count === 1 ? 'byte' : units[unit]}`;
}

const trimmed = (text: string): string => text.replace(/\.?0+$/, '');

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
