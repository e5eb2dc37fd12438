import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { execaSync } from 'execa';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { resolveMalloc } from '../scripts/lib/mallocs.ts';
import { type Env, type Launched, launch } from '../scripts/lib/preload.ts';
import { disproof } from '../scripts/lib/report.ts';
import { need, skip } from './lib/need.ts';
import { randomFrom } from './lib/random.ts';
import { everyVariant } from './lib/variants.ts';

/** One real program, or a few in a pipe, whose output must not depend on the malloc. */
interface Case {
  /** Entries of tests/programs.json; the first names the program that the proof must show. */
  needs: string[];
  /** A shell command; `n` is how much work there is: 1 for list and dumb, 100 for the others. */
  command: (n: number) => string;
  env?: Env;
  /** Why a variant cannot have it, by its nature. */
  cannot?: Record<string, string>;
  /** Makes its input, in our folder. */
  prepare?: () => void;
  /** What dumb needs in order to run it. */
  dumb?: Env;
}

const block = 'a request is larger than a block, and there is only one size';
const memory = 'it wants more than 2 GiB in all when nothing that is freed comes back';

const cases: Record<string, Case> = {
  'ls of a tree': {
    needs: ['ls'],
    command: () => 'ls -lR /usr/include/linux',
    dumb: { LIBMALLOC_BLOCK: '524288' },
  },
  'grep over a large tree': {
    needs: ['grep'],
    command: (n) => `grep -R "" ${n > 1 ? '/usr/include' : '/usr/include/linux'} | sha256sum`,
    dumb: { LIBMALLOC_BLOCK: '131072' },
  },
  find: {
    needs: ['find'],
    command: () => "find /usr/include -name '*.h' -size +4k -printf '%p %s\\n'",
  },
  'sort of a large file in parallel': {
    needs: ['sort'],
    command: () => 'sort --parallel=4 -S 4M words | tail -n 100000',
    cannot: { dumb: block },
  },
  'tar and untar': {
    needs: ['tar'],
    command: () =>
      "tar cf - -C /usr/include linux | tar xf - && find linux -type f -printf '%p %s\\n' | sort && rm -r linux",
  },
  'gzip and gunzip': {
    needs: ['gzip'],
    command: () => 'gzip -9n < words > w.gz && gzip -dc w.gz | cmp - words && wc -c < w.gz',
  },
  awk: {
    needs: ['awk'],
    command: (n) =>
      `head -n ${n * 1000} words | awk '{ seen[$1]++ } END { for (w in seen) if (seen[w] > 1) print w, seen[w] }' | sort`,
  },
  perl: {
    needs: ['perl'],
    command: (n) =>
      `head -n ${n * 1000} words | perl -ne '$h{$1}{$2}++ while /(..)(\\w+)/g; END { print "$_ ", scalar(keys %{$h{$_}}), "\\n" for sort keys %h }'`,
  },
  'python3 without its own allocator': {
    needs: ['python3'],
    command: (n) =>
      `/usr/bin/python3 -c 'import json; print(len(json.dumps({str(i): [i] * 3 for i in range(${n * 300})})))'`,
    env: { PYTHONMALLOC: 'malloc' },
    cannot: { dumb: block },
  },
  'git log': {
    needs: ['git'],
    command: (n) => `git -C repository log --stat --patch -n ${n * 3}`,
    prepare: makeRepository,
    dumb: { LIBMALLOC_BLOCK: '524288' },
  },
  'gcc compiles, the result runs': {
    needs: ['gcc'],
    command: () => 'gcc -O2 -g fib.c -o fib-$$ && ./fib-$$ && rm fib-$$',
    cannot: { dumb: block },
  },
  node: {
    needs: [],
    command: (n) =>
      `'${process.execPath}' -e 'const m = new Map(); for (let i = 0; i < ${n} * 1000; i++) m.set("k" + i, Buffer.alloc(i % 5000)); console.log(m.size)'`,
    cannot: {
      dumb: memory,
      list: 'node keeps so many blocks alive that a walk past all of them takes 40 s before its first line',
    },
  },
  sqlite3: {
    needs: ['sqlite3'],
    command: (n) =>
      `sqlite3 :memory: "create table t(a integer primary key, b text); with recursive c(i) as (select 1 union all select i + 1 from c where i < ${n * 500}) insert into t select i, hex(i * i) from c; create index b on t(b); select count(*), sum(length(b)), max(b) from t;"`,
  },
};

const system = resolveMalloc('glibc');
const GiB = 2 ** 30;
const onSystem = new Map<string, Launched>();
let folder = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'libmalloc-test-'));
  writeFileSync(join(folder, 'words'), words(300_000));
  writeFileSync(join(folder, 'fib.c'), fib);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Lines of one to four words from a small vocabulary: sorting and counting have something to do. */
function words(count: number): string {
  const random = randomFrom(1);
  const word = (): string => (random.below(60_000) ** 2).toString(36);
  return `${Array.from({ length: count }, () => Array.from({ length: 1 + random.below(4) }, word).join(' ')).join('\n')}\n`;
}

const fib = `#include <stdio.h>
#include <stdlib.h>
static long fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
int main(void) { long *p = malloc(sizeof *p); *p = fib(25); printf("%ld\\n", *p); free(p); }
`;

/** 300 commits by git fast-import: a history without a network and without waiting. */
function makeRepository(): void {
  const git = need('git');
  const repository = join(folder, 'repository');
  if (existsSync(repository)) return;
  execaSync(git, ['init', '--quiet', '--bare', repository]);
  const commits = Array.from({ length: 300 }, (_, i) => {
    const text = Array.from(
      { length: 40 },
      (_, line) => `line ${line} of ${line % 7 === i % 7 ? i : 0}\n`,
    ).join('');
    return `commit refs/heads/main\ncommitter A <a@b> ${1_700_000_000 + i} +0000\ndata 5\nstep\nM 644 inline file${i % 9}\ndata ${text.length}\n${text}\n`;
  });
  execaSync(git, ['-C', repository, 'fast-import', '--quiet'], { input: commits.join('') });
  execaSync(git, ['-C', repository, 'symbolic-ref', 'HEAD', 'refs/heads/main']);
}

async function play(
  variant: string | undefined,
  { command, env, dumb }: Case,
  n: number,
): Promise<Launched> {
  return launch(
    variant === undefined ? system : resolveMalloc(variant),
    ['/bin/sh', '-c', command(n)],
    {
      cwd: folder,
      env: {
        ...process.env,
        LC_ALL: 'C.UTF-8',
        GIT_PAGER: 'cat',
        ...env,
        ...(variant === 'dumb' && dumb),
      },
      report: variant !== undefined,
      timeout: 60,
      ...(variant === 'dumb' && { limits: { addressSpace: 2 * GiB, cpu: 20, core: 0 } }),
    },
  );
}

async function expected(each: Case, n: number): Promise<Launched> {
  const command = each.command(n);
  const result = onSystem.get(command) ?? (await play(undefined, each, n));
  onSystem.set(command, result);
  return result;
}

describe.each(everyVariant)('%s runs', (variant) => {
  test.each(Object.entries(cases))('%s', async (_name, each) => {
    const reason = each.cannot?.[variant];
    if (reason) skip(`${variant} cannot, by its nature: ${reason}`);
    const programs = each.needs.map(need);
    if (each.prepare) each.prepare();
    const n = variant === 'dumb' || variant === 'list' ? 1 : 100;
    const system = await expected(each, n);
    const ours = await play(variant, each, n);
    expect({ status: ours.status, stderr: ours.stderr.toString() }).toEqual({
      status: system.status,
      stderr: system.stderr.toString(),
    });
    expect(
      ours.stdout.equals(system.stdout),
      `${ours.stdout.length} bytes of output for ${system.stdout.length}`,
    ).toBe(true);
    expect(system.stdout.length, 'the command does something').toBeGreaterThan(0);
    expect(disproof(resolveMalloc(variant), ours.proofs)).toBeUndefined();
    const main = basename(programs[0] ?? process.execPath);
    const seen = ours.proofs.map(({ executable }) => basename(executable));
    expect(
      seen.some((executable) => executable.includes(main)),
      `${main} among ${seen}`,
    ).toBe(true);
  });
});
