// /proc/PID/smaps: what the kernel says about a process's memory, mapping by mapping.

/** One mapping. Addresses are numbers: 57 bits of address space do not occur in user programs. */
export interface Mapping {
  start: number;
  /** Exclusive. */
  end: number;
  /** Permissions in the kernel's notation: `r-xp`. */
  permissions: string;
  /** Its offset in the file. */
  offset: number;
  /** A path, `[heap]`, `[anon:NAME]`; empty for anonymous memory. */
  name: string;
  /** Bytes in memory now, and bytes swapped out. */
  resident: number;
  swapped: number;
}

const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) ([0-9a-f]+) \S+ \d+ *(.*)$/;
const field = /^(Rss|Swap): +(\d+) kB$/;

/** Every mapping of an smaps file, in address order, as the kernel lists them. */
export function parseMaps(text: string): Mapping[] {
  const mappings: Mapping[] = [];
  for (const line of text.split('\n')) {
    const [, start, end, permissions, offset, name] = head.exec(line) ?? [];
    if (start !== undefined && end !== undefined) {
      mappings.push({
        start: Number.parseInt(start, 16),
        end: Number.parseInt(end, 16),
        permissions: permissions ?? '',
        offset: Number.parseInt(offset ?? '0', 16),
        name: name ?? '',
        resident: 0,
        swapped: 0,
      });
      continue;
    }
    const [, what, kilobytes] = field.exec(line) ?? [];
    const last = mappings.at(-1);
    if (last === undefined || what === undefined) continue;
    last[what === 'Rss' ? 'resident' : 'swapped'] = Number(kilobytes) * 1024;
  }
  return mappings;
}
