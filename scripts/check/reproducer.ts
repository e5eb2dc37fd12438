// A failing sequence as a C program that needs nothing of ours.

import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildFolder } from '../lib/native-files.ts';

const prelude = `#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned char *block[128];
static size_t asked[128], usable;

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
    require(p != NULL);
    require((uintptr_t)p % alignment == 0);
    block[i] = p;
    asked[i] = n;
    usable = malloc_usable_size(p);
    require(usable >= n);
    for (size_t j = 0; j < usable; j++)
        p[j] = (unsigned char)(i + j * 7 + 1);
}

static void drop(int line, int i) {
    if (block[i])
        written(line, i, malloc_usable_size(block[i]));
    free(block[i]);
    block[i] = NULL;
}

static void zeroed(int line, int i, unsigned char *p, size_t n) {
    require(p != NULL);
    for (size_t j = 0; j < n; j++)
        require(p[j] == 0);
    write_all(line, i, p, n, 1);
}

static void resize(int line, int i, size_t n) {
    size_t old = block[i] ? asked[i] : 0;
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

/** One line of random.c's list as C. `occupied` are the slots with a block, before and after. */
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

/** The program, without the swaps: with one thread they only rename blocks. */
function reproducer(sequence: readonly string[]): string {
  const occupied = new Set<number>();
  const lines = renamed(sequence).map((call) => statement(call, occupied));
  const drops = [...occupied].map((slot) => `drop(__LINE__, ${slot});`);
  const body = [...lines, ...drops].filter((line) => line !== '').map((line) => `    ${line}`);
  return `/* Made by libmalloc check: the shortest sequence of calls that was found to fail.
 * Compile with -g -fno-builtin, run with LD_PRELOAD. */
${prelude}
int main(void) {
${body.join('\n')}
    return 0;
}
`;
}

/** Swaps with the shelf carried out here: blocks keep one name from their birth to their end. */
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

/** Writes the program and the list of calls into build/check, and says where they are. */
export function writeReproducer(name: string, sequence: readonly string[]) {
  const folder = buildFolder('check');
  mkdirSync(folder, { recursive: true });
  const source = join(folder, `random-${name}.c`);
  const list = join(folder, `random-${name}.calls`);
  writeFileSync(source, reproducer(sequence));
  writeFileSync(list, `${sequence.join('\n')}\n`);
  return { source, list };
}
