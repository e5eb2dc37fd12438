// The graph of imports in scripts/, types included.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from '../../scripts/lib/paths.ts';

/** Each TypeScript file of scripts/ and the files that it imports, as paths from scripts/. */
export type Imports = ReadonlyMap<string, readonly string[]>;

// Biome writes every import in one form, and quotes no path elsewhere after `from` or `import(`.
const relativeImport = /(?:\bfrom\s+|\bimport\s+|\bimport\(\s*)'(\.[^']+)'/g;

/** The files that this text imports; `file` says where it stands. */
export function importsOf(file: string, text: string): string[] {
  const found = [...text.matchAll(relativeImport)].map((match) => match[1] ?? '');
  return [...new Set(found.map((path) => join(dirname(file), path)))];
}

/** Reads all of scripts/. */
export function readImports(): Imports {
  const folder = join(root, 'scripts');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return new Map(
    files
      .filter((file) => file.endsWith('.ts'))
      .sort()
      .map((file) => [file, importsOf(file, readFileSync(join(folder, file), 'utf8'))]),
  );
}

/** One cycle as the files along it, the first one again at the end; undefined when there is none. */
export function findCycle(graph: Imports): string[] | undefined {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | undefined => {
    const at = path.indexOf(file);
    if (at >= 0) return [...path.slice(at), file];
    if (done.has(file)) return undefined;
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next);
      if (cycle !== undefined) return cycle;
    }
    path.pop();
    done.add(file);
    return undefined;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}

/** The first folder of a path from scripts/; the file itself when it lies in none. */
export const roomOf = (file: string): string => file.split('/')[0] ?? file;

/** The same graph with a room for each file, without what a room imports from itself. */
export function roomsOf(graph: Imports): Imports {
  const rooms = new Map<string, string[]>();
  for (const [file, targets] of graph) {
    const room = roomOf(file);
    const others = targets.map(roomOf).filter((each) => each !== room);
    rooms.set(room, [...new Set([...(rooms.get(room) ?? []), ...others])].sort());
  }
  return rooms;
}
