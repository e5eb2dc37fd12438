// Sizes as people say them.

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
