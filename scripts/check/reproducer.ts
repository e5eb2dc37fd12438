// Writes a failing sequence of calls as a C program that does not depend on our files.

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeFolder } from '../lib/folders.ts';
import { buildFolder } from '../lib/native-files.ts';

/** What random.c, and hence the reproducer, checks for this malloc. */
export interface Strictness {
  usable: boolean;
  errnoKept: boolean;
  alignment: number;
}

const prelude = ({ usable, errnoKept, alignment }: Strictness): string => `#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *block[128];
static size_t asked[128], usable[128];

static size_t usable_size(void *p, size_t n) {
    return ${usable ? '(void)n, malloc_usable_size(p)' : '(void)p, n'};
}

static void broken(int line, const char *what) {
    fprintf(stderr, "line %d: %s\\n", line, what);
    exit(1);
}
#define require(condition) ((condition) ? (void)0 : broken(line, "not so: " #condition))

/* Every byte of a block says which block it is. */
static void written(int line, int i, size_t n) {
    for (size_t j = 0; j < n; j++)
        require(block[i][j] == (unsigned char)(i + j * 7 + 1));
}

static void write_all(int line, int i, unsigned char *p, size_t n, size_t alignment) {
    size_t natural = ${alignment};
    while (natural > 1 && natural > n)
        natural /= 2;
    require(p != NULL || n == 0);
    require((uintptr_t)p % alignment == 0);
    require((uintptr_t)p % natural == 0);
    block[i] = p;
    asked[i] = n;
    usable[i] = usable_size(p, n);
    require(usable[i] >= n);
    for (size_t j = 0; j < usable[i]; j++)
        p[j] = (unsigned char)(i + j * 7 + 1);
}

static void still_there(int line, int i) {
    require(usable_size(block[i], asked[i]) == usable[i]);
    written(line, i, usable[i]);
}

static void drop(int line, int i) {
    if (block[i])
        still_there(line, i);
    errno = 12345;
    free(block[i]);
${errnoKept ? '    require(errno == 12345);\n' : ''}    block[i] = NULL;
}

static void zeroed(int line, int i, unsigned char *p, size_t n) {
    require(p != NULL || n == 0);
    for (size_t j = 0; j < n; j++)
        require(p[j] == 0);
    write_all(line, i, p, n, 1);
}

static void resize(int line, int i, size_t n) {
    size_t old = block[i] ? asked[i] : 0;
    if (block[i])
        still_there(line, i);
    unsigned char *p = realloc(block[i], n);
    require(p != NULL);
    block[i] = p;
    written(line, i, old < n ? old : n);
    write_all(line, i, p, n, 1);
}

static void *posix(size_t alignment, size_t n) {
    void *p = NULL;
    return posix_memalign(&p, alignment, n) ? NULL : p;
}
`;

/** One line of random.c's list as C. `occupied`: the slots that hold a block; updated. */
function statement(call: string, occupied: Set<number>): string {
  const [name = '', ...words] = call.split(' ');
  const [slot = 0, size = 0, alignment = 1] = words.map(Number);
  const drop = occupied.has(slot) ? `drop(__LINE__, ${slot}); ` : '';
  if (name === 'free') {
    occupied.delete(slot);
    return drop.trim();
  }
  occupied.add(slot);
  const here = `__LINE__, ${slot}`;
  if (name === 'realloc') return `resize(${here}, ${size});`;
  if (name === 'malloc') return `${drop}write_all(${here}, malloc(${size}), ${size}, 1);`;
  if (name === 'calloc') return `${drop}zeroed(${here}, calloc(1, ${size}), ${size});`;
  const ask = name === 'memalign' ? 'memalign' : 'posix';
  return `${drop}write_all(${here}, ${ask}(${alignment}, ${size}), ${size}, ${alignment});`;
}

/** The program. It omits the swaps, because in one thread they only rename blocks. */
function reproducer(sequence: readonly string[], strictness: Strictness): string {
  const occupied = new Set<number>();
  const lines = renamed(sequence).map((call) => statement(call, occupied));
  const drops = [...occupied].map((slot) => `drop(__LINE__, ${slot});`);
  const body = [...lines, ...drops].filter((line) => line !== '').map((line) => `    ${line}`);
  return `/* Made by libmalloc check: the shortest sequence of calls that was found to fail.
 * Compile with -g -fno-builtin, run with LD_PRELOAD. */
${prelude(strictness)}
int main(void) {
${body.join('\n')}
    return 0;
}
`;
}

/** The calls with their swaps resolved, so that a block keeps one slot from malloc to free. */
function renamed(sequence: readonly string[]): string[] {
  const places = Array.from({ length: 96 + 32 }, (_, i) => i);
  return sequence.flatMap((call) => {
    const [name = '', slot = '0', ...rest] = call.split(' ');
    const [at, to] = [Number(slot), 96 + Number(rest[0])];
    if (name !== 'swap') return [[name, places[at], ...rest].join(' ')];
    [places[at], places[to]] = [places[to] as number, places[at] as number];
    return [];
  });
}

/** Writes the program and the list of calls into build/check, and returns their paths. */
export function writeReproducer(
  name: string,
  sequence: readonly string[],
  strictness: Strictness,
): { source: string; list: string } {
  const folder = buildFolder('check');
  makeFolder(folder);
  const source = join(folder, `random-${name}.c`);
  const list = join(folder, `random-${name}.calls`);
  writeFileSync(source, reproducer(sequence, strictness));
  writeFileSync(list, `${sequence.join('\n')}\n`);
  return { source, list };
}
