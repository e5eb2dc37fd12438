/** Runs GDB for tests: files of commands, and the answer to each. */
import { realpathSync, writeFileSync } from 'node:fs';
import { findProgram, type Program, programs } from '../../scripts/malloc/programs.ts';
import { type CliResult, libmalloc } from './cli.ts';
import { scratch } from './folder.ts';
import { need, skip } from './need.ts';

let files = 0;

/** Set by `make test-long`. */
export const long = process.env.LONG === '1';
/** The halves of a matrix of builds: without LONG the release half alone. */
export const builds: readonly ('release' | 'debug')[] = long ? ['release', 'debug'] : ['release'];

/** A file of GDB commands. */
export function commands(...lines: string[]): string {
  const file = scratch(`commands-${files++}.gdb`);
  writeFileSync(file, `${lines.join('\n')}\n`);
  return file;
}

const attempt = `python
def attempt(command):
    gdb.write('@@' + command + '\\n')
    try:
        gdb.execute(command)
    except gdb.error as error:
        gdb.write(str(error) + '\\n')
end`;

/** A file of GDB commands, which all run even if others fail; `answer` reads the replies. */
export function questions(...lines: string[]): string {
  // `starti` is not wrapped, because a batch looks for it.
  const calls = lines.map((line) =>
    line === 'starti' ? line : `python attempt(${JSON.stringify(line)})`,
  );
  return commands(attempt, ...calls, 'echo @@\\n');
}

/** The output of a command of `questions`, at its n-th occurrence. */
export function answer(transcript: string, command: string, n = 0): string {
  const text = transcript.split(`@@${command}\n`)[n + 1]?.split('@@')[0];
  if (text === undefined) throw new Error(`no answer to '${command}' in:\n${transcript}`);
  return text.trimEnd();
}

/** `libmalloc gdb --batch`: the program's own output is stdout, what GDB says is stderr. */
export function batch(m: string, options: string[], words: string[]): Promise<CliResult> {
  return libmalloc(['gdb', '-q', '-m', m, '--batch', ...options, '--', ...words]);
}

/** Asks at the stop in the fixture's stop_here (tests/programs/gdb-heap.c). */
export function atStop(m: string, lines: string[], words: string[]): Promise<CliResult> {
  return batch(m, ['--break', 'stop_here', '-x', questions(...lines)], words);
}

/** The numbers in the row of `heap` that begins with this word. */
export function row(text: string, word: string): number[] {
  const found = new RegExp(`^ +${word} +(.*)$`, 'm').exec(text)?.[1];
  return found?.trim().split(/ +/).map(Number) ?? [];
}

/** The fixture's output about its own heap, from its malloc's walk. */
export function told(stdout: string) {
  const line = (word: string): string[] =>
    new RegExp(`^${word} (.*)$`, 'm').exec(stdout)?.[1]?.split(' ') ?? [];
  const [regions, mapped, live, liveBytes, free, freeBytes, fresh, headers] =
    line('stats').map(Number);
  return {
    figures: { regions: [regions, mapped], live: [live, liveBytes], free: [free, freeBytes] },
    fresh,
    headers,
    broken: Number(line('broken')[0]),
    blocks: line('blocks').map(Number),
    chunks: [...stdout.matchAll(/^chunk (.*)$/gm)].map(([, text = '']) => toldChunk(text)),
  };
}

const kinds = ['region', 'span', 'header', 'live', 'free', 'fresh', 'cached', 'remote'];

function toldChunk(text: string) {
  const [kind = -1, start, extent, user, usable, sizeClass] = text.split(' ').map(Number);
  const container = kind < 2;
  return { kind: kinds[kind], start, extent, user, usable, ...(container && { sizeClass }) };
}

/** The lines of `heap chunks`, in the format of the fixture. */
export function shownChunks(text: string): ReturnType<typeof toldChunk>[] {
  return text.split('\n').slice(1).map(shownChunk);
}

function shownChunk(line: string): ReturnType<typeof toldChunk> {
  const container = /^ *(region|span) (\w+) \.\. \w+ {2}(\d+) bytes(?:, blocks of (\d+))?/;
  const found = container.exec(line);
  if (found) {
    const [, kind, start, extent, sizeClass = 0] = found;
    const place = { kind, start: Number(start), extent: Number(extent), user: 0, usable: 0 };
    return { ...place, sizeClass: Number(sizeClass) };
  }
  const [, start, extent, kind, user = 0, usable = 0] = line.trim().split(/ +/);
  const [at, bytes, block, size] = [start, extent, user, usable].map(Number);
  return { kind, start: at, extent: bytes, user: block, usable: size };
}

/** Whether mimalloc is there in the version that the heap commands read. */
export function isMimallocRead(): boolean {
  const path = findProgram('mimalloc', programs().mimalloc as Program);
  return path !== undefined && /\.so\.2(\.0)?$/.test(realpathSync(path));
}

/** Ends the running test as skipped unless it is. */
export function needMimalloc(): void {
  need('mimalloc');
  if (!isMimallocRead())
    skip('the heap commands read mimalloc 2.0.9, and another version is installed');
}
