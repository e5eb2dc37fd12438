// The mappings of a process, from /proc/PID/maps.

export interface Mapping {
  start: number;
  end: number;
  /** Where the mapping starts in the file. */
  offset: number;
  executable: boolean;
  /** The file's inode; 0 if there is no file. */
  inode: number;
  /** A path, a name that the kernel gives, such as `[heap]`, or ''. */
  file: string;
  /** The file had been deleted. */
  deleted: boolean;
}

const pattern = /^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ (\d+) *(.*)$/;

/** Parses the mappings of one or several moments, in the order given: the latest last. */
export function parseMappings(maps: readonly string[]): Mapping[] {
  return maps.flatMap((text) => text.split('\n').flatMap(parseMapping));
}

function parseMapping(line: string): Mapping[] {
  const match = pattern.exec(line);
  if (!match) return [];
  const [, start = '', end = '', rights = '', offset = '', inode = '', name = ''] = match;
  const file = name.replace(/ \(deleted\)$/, '');
  return [
    {
      start: Number.parseInt(start, 16),
      end: Number.parseInt(end, 16),
      offset: Number.parseInt(offset, 16),
      executable: rights[2] === 'x',
      inode: Number(inode),
      // The kernel writes a line feed in a path as \012.
      file: file.replace(/\\012/g, '\n'),
      deleted: file !== name,
    },
  ];
}

/** The last mapping that contains the address. Prefers code, because calls return to code. */
export function mappingAt(mappings: readonly Mapping[], address: number): Mapping | undefined {
  const holds = ({ start, end }: Mapping): boolean => start <= address && address < end;
  return (
    mappings.findLast((each) => each.executable && holds(each)) ??
    mappings.findLast((each) => holds(each))
  );
}
