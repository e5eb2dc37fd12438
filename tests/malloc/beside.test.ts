/** Programs that only the malloc can serve whose own functions they call. */

import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { besideMalloc } from '../../scripts/malloc/beside.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

const folder = testFolder();

/** A library of this source, whatever it may lack. */
function library(name: string, text: string): string {
  const file = join(folder, `${name}.so`);
  const args = ['-shared', '-fPIC', '-x', 'c', '-o', file, '-'];
  execFileSync(need('gcc'), args, { input: text });
  return file;
}

test('the functions of jemalloc that a program calls are named, unless the malloc has them', () => {
  const source = `void *malloc(long), free(void *), *mallocx(long, int), dallocx(void *, int);
    long nallocx(long, int);
    void f(void) { nallocx(1, 0); dallocx(mallocx(1, 0), 0); free(malloc(1)); }`;
  const program = library('program', source);
  expect(besideMalloc(program)).toBe(
    'program.so calls dallocx, mallocx of jemalloc beside malloc, so no other malloc can serve it',
  );
  const half = library('half', 'void *mallocx(long n, int f) { return (void *)(n + f); }');
  expect(besideMalloc(program, half)).toContain('calls dallocx of');
  const whole = library('whole', 'void mallocx(void) {} void dallocx(void) {}');
  expect(besideMalloc(program, whole)).toBeUndefined();
});

test('other programs call none, and neither do scripts and folders', () => {
  const script = join(folder, 'script');
  writeFileSync(script, `#!/bin/sh\n${'\xff'.repeat(100)}\n`);
  for (const file of [process.execPath, '/bin/sh', script, folder, join(folder, 'absent')])
    expect(besideMalloc(file), file).toBeUndefined();
});
