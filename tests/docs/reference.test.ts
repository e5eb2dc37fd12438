// docs/reference.md agrees with the TypeScript tables, and these with the C code.

import { expect, test } from 'vitest';
import { generate, readMeasured } from '../../scripts/docs/index.ts';
import { exitStatusOf } from '../../scripts/docs/reference.ts';
import { options } from '../../scripts/malloc/options.ts';
import { debugKeys, variables } from '../../scripts/malloc/variables.ts';
import { filesBelow, read } from '../lib/files.ts';

const keysIn = (file: string, pattern: RegExp): string[] =>
  [...read(file).matchAll(pattern)].map((match) => match[1] ?? '').sort();

test('the reference is current: `make docs DRAW=1` changes nothing in it', () => {
  const text = read('docs/reference.md');
  expect(generate(text, readMeasured())).toBe(text);
});

test('every variable that the libraries read is described, and no other', () => {
  const sources = filesBelow('native', /\.[ch]$/).map(read);
  const found = sources.flatMap((text) => [
    ...text.matchAll(/secure_getenv\("(LIBMALLOC_\w+)"\)/g),
  ]);
  const names = new Set(found.map((match) => match[1]));
  expect([...names].sort()).toEqual(Object.keys(variables).sort());
});

test('every key of LIBMALLOC_OPTIONS and LIBMALLOC_DEBUG is described, and no other', () => {
  const option = /memcmp\(key, "(\w+)"/g;
  expect(keysIn('native/base/options.h', option)).toEqual(Object.keys(options).sort());
  const debug = /option_is\(option, "(\w+)"/g;
  expect(keysIn('native/guard/guard.h', debug)).toEqual(Object.keys(debugKeys).sort());
});

test('the exit status is found anywhere in a help text', () => {
  expect(exitStatusOf('Usage\n\nExit status: 0; 1 if a\nmalloc failed.\nMore of it.')).toBe(
    '0; 1 if a malloc failed.',
  );
  expect(exitStatusOf('Usage\n')).toBeUndefined();
});
