// Programs that call functions of one malloc beside malloc itself: no other malloc can serve these.

import { basename } from 'node:path';
import { symbolsOf } from './elf.ts';

/** jemalloc's that return or take a block; nallocx, which only computes a size, does no harm. */
const beside = ['mallocx', 'rallocx', 'xallocx', 'sallocx', 'dallocx', 'sdallocx'];

/** None of a folder, or of a file that we may not read. */
function importsOf(program: string): string[] {
  try {
    return symbolsOf(program, 'imported').map(({ name }) => name);
  } catch {
    return [];
  }
}

/** Why a program cannot run on a library; undefined if it can, as far as its imports tell. */
export function besideMalloc(program: string, library?: string): string | undefined {
  const provided = library === undefined ? [] : symbolsOf(library, 'exported');
  const called = importsOf(program).filter(
    (name) => beside.includes(name) && !provided.some((each) => each.name === name),
  );
  if (called.length === 0) return undefined;
  const names = called.sort().join(', ');
  return `${basename(program)} calls ${names} of jemalloc beside malloc, so no other malloc can serve it`;
}
