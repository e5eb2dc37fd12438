import { createRequire } from 'node:module';
import { join } from 'node:path';
import { execa, type Options } from 'execa';
import { root } from '../../scripts/lib/paths.ts';

/** What a run of the command line came to. */
export interface CliResult {
  status: number | undefined;
  stdout: string;
  stderr: string;
}

/** The words that start our command line from its source, wherever the current folder is. */
export const cli: [string, ...string[]] = [
  process.execPath,
  '--import',
  createRequire(import.meta.url).resolve('tsx'),
  join(root, 'scripts', 'cli.ts'),
];

/** `libmalloc ARGS…`; throws when it, or something that it started, is not over after a minute. */
export async function libmalloc(args: string[], options: Options = {}): Promise<CliResult> {
  return play([...cli, ...args], options);
}

/** Any command line, with the same care; throws when it is not over after `seconds`. */
export async function play(
  words: string[],
  options: Options = {},
  seconds = 60,
): Promise<CliResult> {
  const [file = '', ...args] = words;
  const child = execa(file, args, { reject: false, detached: true, stdin: 'ignore', ...options });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    process.kill(-(child.pid as number), 'SIGKILL');
  }, seconds * 1000);
  const { exitCode, stdout, stderr } = await child;
  clearTimeout(timer);
  if (late)
    throw new Error(`${words.join(' ')}: not over after ${seconds} s\n${stdout}\n${stderr}`);
  return { status: exitCode, stdout: String(stdout), stderr: String(stderr) };
}
