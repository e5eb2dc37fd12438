import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { execa, type Options } from 'execa';
import { root } from '../../scripts/lib/paths.ts';

/** The result of a run of the command line. */
export interface CliResult {
  status: number | undefined;
  stdout: string;
  stderr: string;
}

const scripts = join(root, 'scripts');
const built = join(root, 'build', 'js');

/** Throws if the build is older than the last edit, which it then does not test; `make test` builds first. */
function refuseStale(): void {
  const age = (file: string): number => statSync(file).mtimeMs;
  const files = readdirSync(scripts, { recursive: true, encoding: 'utf8' });
  const edited = files
    .filter((file) => file.endsWith('.ts'))
    .find((file) => age(join(scripts, file)) > age(join(built, '.built')));
  if (edited !== undefined) throw new Error(`scripts/${edited} is newer than build/js: run make`);
}
refuseStale();

/** The words that start one of our scripts as `make` built it, as for users. */
export const script = (name: string): [string, ...string[]] => [
  process.execPath,
  join(built, `${name}.js`),
];

/** The words that start our command line, wherever the current folder is. */
export const cli = script('cli');

/** Seconds after which a command counts as hung; a loaded machine may stall for some. */
const PATIENCE = 150;

/** `libmalloc ARGS…`; throws when it, or something that it started, hangs. */
export async function libmalloc(args: string[], options: Options = {}): Promise<CliResult> {
  return play([...cli, ...args], options);
}

/** Any command line, likewise; throws when it has not ended after `seconds`. */
export async function play(
  words: string[],
  options: Options = {},
  seconds = PATIENCE,
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
