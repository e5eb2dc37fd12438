// What lies where in a process, from /proc/PID/maps.

export interface Mapping {
  start: number;
  end: number;
  /** In the file. */
  offset: number;
  executable: boolean;
  /** Of the file; 0 where there is none. */
  inode: number;
  /** A path, a name of the kernel's such as `[heap]`, or nothing. */
  file: string;
  /** The file had no name any more. */
  deleted: boolean;
}

const pattern = /^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) \S+ (\d+) *(.*)$/;

/** The mappings of one moment or of several; a later one comes behind. */
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

/** The last mapping that holds the address; code is preferred, since calls return to code. */
export function mappingAt(mappings: readonly Mapping[], address: number): Mapping | undefined {
  const holds = ({ start, end }: Mapping): boolean => start <= address && address < end;
  return (
    mappings.findLast((each) => each.executable && holds(each)) ??
    mappings.findLast((each) => holds(each))
  );
}
