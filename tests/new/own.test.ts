// Follows docs/own.md to its end: each step's case fails before the step and passes after it.

import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { planNew } from '../../scripts/new/index.ts';
import { cli, play } from '../lib/cli.ts';
import { testFolder } from '../lib/folder.ts';
import { need } from '../lib/need.ts';

const guide = readFileSync(join(root, 'docs', 'own.md'), 'utf8');

interface Step {
  title: string;
  /** The code that the step changes. */
  code: string;
  /** The command that the reader types. */
  commands: string[];
  /** The case that proves it. */
  proof: string;
}

const fenced = (text: string, language: string): string =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))]
    .map(([, inside = '']) => inside)
    .join('\n');

const steps: Step[] = guide
  .split(/^## (?=\d)/m)
  .slice(1)
  .map((text) => {
    const commands = fenced(text.split(/^## /m)[0] ?? '', 'sh')
      .split('\n')
      .filter(Boolean);
    const proof = commands.flatMap((line) => /--group (\S+\/\S+)/.exec(line)?.[1] ?? []);
    return {
      title: text.split('\n')[0] ?? '',
      code: fenced(text, 'c'),
      commands,
      proof: proof[0] ?? '',
    };
  });

/** Top-level functions and structs, with the comments above them. */
interface Item {
  name: string;
  text: string;
}

const item =
  /^(?:\/\*(?:[^*]|\*(?!\/))*\*\/\n)?static (?:struct \{[\s\S]*?^\}|[^;={]*?\b(\w+)\([\s\S]*?\) \{(?:.*\}$|[\s\S]*?^\}$))[^\n]*\n/gm;

const items = (source: string): Item[] =>
  [...source.matchAll(item)].map(([text, name = 'heap']) => ({ name, text }));

/** The source with the guide's changes: existing names are replaced, new ones are inserted before them. */
function changed(source: string, code: string): string {
  let text = source;
  let fresh = '';
  for (const { name, text: wanted } of items(code)) {
    const old = items(text).find((each) => each.name === name);
    if (old === undefined) {
      fresh += `${wanted}\n`;
      continue;
    }
    text = text.replace(old.text, () => fresh + wanted);
    fresh = '';
  }
  expect(fresh, 'nothing of the guide is lost').toBe('');
  return text;
}

/** The factor for each timeout: a case that hangs before the step need not hang for a minute. */
const IMPATIENT = 0.1;

const folder = testFolder();
let file: string;
beforeAll(async () => {
  symlinkSync(join(root, 'native'), join(folder, 'native'));
  const made = await play([...cli, 'new', 'mine'], { cwd: folder });
  expect(made.stdout, made.stderr).toContain(
    'ran    ls -l / on it: every call of malloc came from',
  );
  expect(made.stdout).toMatch(
    /Three steps from here[\s\S]*structure\/handover[\s\S]*structure\/merge/,
  );
  file = join(folder, 'mine', 'mine.c');
});

/** Whether `check` finds the case kept; for a malloc that is not ours, some failures are only noted. */
async function passes({ proof, commands }: Step, patience = 1): Promise<boolean> {
  const reduced = commands.some((line) => line.includes(' --reduced '));
  const json = join(folder, 'check.json');
  const words = ['check', ...(reduced ? ['--reduced'] : []), '--group', proof, '--json', json];
  const how = ['--patience', String(patience), 'mine/libmalloc-mine.so'];
  const { stdout, stderr } = await play([...cli, ...words, ...how], { cwd: folder });
  expect(stdout, stderr).toContain('libmalloc-mine: ');
  const [{ cases }] = JSON.parse(readFileSync(json, 'utf8')).mallocs;
  return cases.every(({ state }: { state: string }) => state === 'passed');
}

describe('the guide', () => {
  test('has four steps, each with code, a case and a picture', () => {
    expect(steps.map(({ title }) => title)).toEqual([
      '1. free',
      '2. Merge and split',
      '3. Threads',
      '4. fork',
    ]);
    for (const { code, proof, commands } of steps) {
      expect(items(code).length).toBeGreaterThan(1);
      expect(proof).toMatch(/\//);
      expect(commands.join('\n')).toMatch(/libmalloc (view|layout) /);
    }
  });

  test.each(steps)('$title: $proof', async (step) => {
    const { code, commands } = step;
    for (const word of ['xz'])
      if (commands.some((line) => line.includes(`-- ${word} `))) need(word);
    expect(await passes(step, IMPATIENT), 'before').toBe(false);
    writeFileSync(file, changed(readFileSync(file, 'utf8'), code));
    const made = await play(['make', '-C', 'mine'], { cwd: folder });
    expect(made.status, made.stderr).toBe(0);
    expect(made.stderr).not.toContain('warning');
    for (const each of steps.slice(0, steps.indexOf(step) + 1))
      expect(await passes(each), each.proof).toBe(true);
    const ls = await play([...cli, 'run', '-m', 'mine/libmalloc-mine.so', '--', 'ls', '-l', '/'], {
      cwd: folder,
    });
    expect(ls.status, ls.stderr).toBe(0);
    for (const line of commands.filter((each) => !each.includes(' check '))) {
      const typed = line
        .replace('npx libmalloc', cli.join(' '))
        .replace('-m mine', '-m mine/libmalloc-mine.so');
      const shown = await play(['sh', '-c', typed], { cwd: folder });
      expect(shown.status, `${line}\n${shown.stderr}`).toBe(0);
    }
  });
});

describe('libmalloc new', () => {
  test('takes no name twice, and none that means something else', () => {
    for (const name of ['list', 'glibc', 'jemalloc', 'probe', 'trace'])
      expect(() => planNew(name, folder)).toThrow(`${name} is taken`);
    for (const name of ['a b', '../x', '1st', 'x.so', ''])
      expect(() => planNew(name, folder)).toThrow('no name for a malloc');
    expect(() => planNew('mine', folder)).toThrow('mine.c is there already');
  });

  test('in a checkout becomes a variant on a rung that is free, below the default', () => {
    const plan = planNew('mine', root);
    expect(plan.source).toBe(join(root, 'native', 'mine.c'));
    expect([plan.rung, plan.spec, plan.makefile]).toEqual([3.5, 'mine', undefined]);
    expect(plan.build.join(' ')).toMatch(
      /^\S+ -O2 .* -o build\/release\/libmalloc-mine.so native\/mine.c$/,
    );
  });
});
