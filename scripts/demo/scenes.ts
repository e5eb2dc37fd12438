// The scenes of the demonstration for each variant, with the expected outcomes. Nothing is run here.

import type { Verdict } from './verdict.ts';

/** One command, shown as a reader would type it. */
export interface Scene {
  command: string;
  /** The expected outcome: 'anything' is for the article's library, whose outcome is the point. */
  expect: 'same' | 'failure' | 'anything';
  /** One sentence that explains an outcome, for outcomes that need it. */
  why: Partial<Record<Verdict, string>>;
  env: Record<string, string>;
  /** Seconds after which it counts as hung. */
  timeout: number;
  /** Entries of tests/programs.json without which it cannot be shown. */
  needs: string[];
}

/** Limits under which a variant is shown; undefined where it needs none. */
export interface Limits {
  addressSpace: number;
  cpu: number;
  core: number;
}

const GiB = 2 ** 30;
const DUMB_S = 20;
const PYTHON = '/usr/bin/python3';

/** The C program that gcc compiles, under the variant, in a folder of its own. */
export const exampleFile = 'primes.c';
export const exampleSource = `#include <stdio.h>
#include <stdlib.h>

int main(void) {
    enum { LIMIT = 100000 };
    char *composite = calloc(LIMIT + 1, 1);
    int primes = 0;
    for (long n = 2; n <= LIMIT; n++) {
        if (composite[n])
            continue;
        primes++;
        for (long m = n * n; m <= LIMIT; m += n)
            composite[m] = 1;
    }
    printf("%d primes below %d\\n", primes, LIMIT);
    free(composite);
    return 0;
}
`;

/** dumb never gives memory back, so a limit keeps it from using up the machine. */
export function limitsOf(variant: string): Limits | undefined {
  return variant === 'dumb' ? { addressSpace: 2 * GiB, cpu: DUMB_S, core: 0 } : undefined;
}

/** The scenes of a variant. A variant that is unknown here is expected to run everything. */
export function scenesOf(variant: string): Scene[] {
  if (variant === 'dumb')
    return [...dumb, ...article].map((each) => ({
      ...each,
      timeout: Math.min(each.timeout, DUMB_S),
    }));
  return variant === 'list' ? list : everything;
}

function scene(command: string, rest: Partial<Scene> = {}): Scene {
  return { command, expect: 'same', why: {}, env: {}, timeout: 60, needs: [], ...rest };
}

const pipeline =
  "find /usr/include -name '*.h' | sed 's|.*/||' | sort | uniq -c | sort -rn | head -n 3";
const compile = `gcc -O2 ${exampleFile} -o primes && ./primes`;

function python(program: string, rest: Partial<Scene> = {}): Scene {
  const env = { PYTHONMALLOC: 'malloc' };
  return scene(`${PYTHON} -c "${program}"`, { env, needs: ['python3'], ...rest });
}

const everything: Scene[] = [
  scene('ls -l /usr/bin'),
  scene('grep -R "" /usr/include'),
  scene(pipeline),
  python('print(sum(n * n for n in range(200000)))'),
  scene(compile, { needs: ['gcc'] }),
];

const list: Scene[] = [
  scene('ls -l /usr/bin'),
  scene('grep -R "" /usr/include'),
  scene(pipeline),
  python('print(sum(n * n for n in range(1000)))', {
    why: {
      same: 'Slow, and that is the lesson: python has 8,000 live blocks, and each call walks past most of them.',
    },
  }),
  scene(compile, { needs: ['gcc'] }),
];

const failing: Partial<Scene> = { expect: 'failure' };

const dumb: Scene[] = [
  scene('ls -l /usr'),
  scene("find /usr/include -name '*.h' | sort | tail -n 3"),
  scene('grep -R "" /usr/include/linux', {
    ...failing,
    why: {
      failed: 'Its first buffer is larger than a block, and dumb has only one size: NULL, ENOMEM.',
    },
  }),
  scene('grep -R "" /usr/include/linux', {
    env: { LIBMALLOC_BLOCK: '131072' },
    why: { same: 'With larger blocks it runs, as long as there is new memory for every call.' },
  }),
  scene('grep -R "" /usr/include', {
    env: { LIBMALLOC_BLOCK: '1048576' },
    expect: 'anything',
    why: {
      failed:
        'Nothing that is freed comes back: at 1 MiB a call, 2 GiB are gone after 2,000 calls.',
    },
  }),
  scene("find /usr/include -name '*.h' | sed 's|.*/||'", {
    expect: 'anything',
    why: {
      differs:
        'Worse than an error: when memory runs out, sed takes that for "no match" and copies the lines unchanged.',
    },
  }),
  python('print(sum(n * n for n in range(1000)))', {
    ...failing,
    why: { failed: 'A buffer for its standard streams is larger than a block.' },
  }),
  scene(compile, {
    ...failing,
    needs: ['gcc'],
    why: { failed: 'The compiler proper, cc1, asks for 128 KiB at once: larger than a block.' },
  }),
];

const overrun: Partial<Scene> = {
  env: { LIBMALLOC_BLOCK: '1024', LIBMALLOC_OVERRUN: '1' },
  expect: 'anything',
  timeout: 3,
  why: {
    same: 'It works by luck: no block was larger than 1,024 bytes, or the overwritten data did not matter.',
    differs: 'It wrote past its blocks of 1,024 bytes, over its own data, and did not notice.',
    failed: 'It wrote past its blocks of 1,024 bytes, over its own data, and noticed.',
    crashed: 'It wrote past its blocks of 1,024 bytes, over its own data, and crashed.',
    hung: 'It wrote past its blocks of 1,024 bytes, over its own data, and did not end.',
  },
};

/** A first attempt at malloc, as articles print it: blocks of 1,024 bytes, whatever was asked for. */
const article: Scene[] = [
  scene('ls -l /usr', overrun),
  scene('ls -l /usr/bin', overrun),
  scene('grep -R "" /usr/include/linux', overrun),
];
