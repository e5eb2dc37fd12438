import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, test, vi } from 'vitest';
import { root } from '../../scripts/lib/paths.ts';
import { defaultVariant } from '../../scripts/malloc/mallocs.ts';
import { isForeground } from '../../scripts/process/forward.ts';
import { cli, libmalloc, play } from '../lib/cli.ts';
import { compileProgram } from '../lib/compile.ts';
import { need } from '../lib/need.ts';

const variant = defaultVariant();
const under = (...words: string[]): string[] => [...cli, 'run', '-m', variant, '--', ...words];

/** A child whose lines can be waited for, in order. */
function start(words: string[]) {
  const [command = '', ...args] = words;
  const child = execa(command, args, { reject: false, detached: true, timeout: 60_000 });
  let printed = '';
  child.stdout.on('data', (data: Buffer) => {
    printed += data.toString();
  });
  const line = (wanted: RegExp): Promise<string> =>
    vi.waitFor(() => {
      const found = wanted.exec(printed);
      expect(found, `${wanted} in ${JSON.stringify(printed)}`).not.toBeNull();
      return found?.[1] ?? '';
    }, 30_000);
  return { child, line };
}

describe('without a terminal', () => {
  test('standard input reaches the program', async () => {
    const input = 'x'.repeat(100_000);
    const { stdout } = await libmalloc(['run', '-q', '--', 'wc', '-c'], { stdin: 'pipe', input });
    expect(stdout.trim()).toBe('100000');
  });

  test('signals sent to libmalloc reach the program, each once', async () => {
    const { child, line } = start(under(compileProgram('tell-signals.c')));
    await line(/^ready/);
    const names = ['INT', 'TERM', 'HUP', 'QUIT', 'USR1', 'WINCH', 'CONT', 'USR2'];
    for (const name of names) {
      process.kill(child.pid as number, `SIG${name}`);
      await line(new RegExp(`^got ${name}$`, 'm'));
    }
    const { exitCode, stdout } = await child;
    expect(exitCode).toBe(7);
    expect(stdout.split('\n').slice(1)).toEqual(names.map((name) => `got ${name}`));
  });

  test('SIGTSTP stops both, SIGCONT lets both go on', async () => {
    // A job of a shell, because the kernel stops no process that no shell could resume.
    const job = under(compileProgram('tell-signals.c'))
      .map((word) => `'${word}'`)
      .join(' ');
    const script = `set -m; ${job} & echo "job $!"; wait -f $!`;
    const { child, line } = start([need('bash'), '-c', script]);
    const ours = Number(await line(/^job (\d+)$/m));
    const theirs = Number(await line(/^ready (\d+)$/m));
    const state = (pid: number) => /\) (\S)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1];
    process.kill(ours, 'SIGTSTP');
    await vi.waitFor(() => expect([state(ours), state(theirs)]).toEqual(['T', 'T']), 10_000);
    process.kill(ours, 'SIGCONT');
    await vi.waitFor(() => expect([state(ours), state(theirs)]).not.toContain('T'), 10_000);
    process.kill(ours, 'SIGUSR2');
    expect((await child).exitCode).toBe(7);
  });

  test('the foreground is read from /proc/PID/stat, whatever the program is called', () => {
    expect(isForeground('12 (a) b (c) S 1 40 40 34816 40 4194304')).toBe(true);
    expect(isForeground('12 (node) S 1 40 40 34816 77 4194304')).toBe(false);
    expect(isForeground('12 (node) S 1 40 40 0 -1 4194304')).toBe(false);
  });
});

type Step = ['expect' | 'send' | 'signal' | 'wait', string];

/** Plays `steps` on a terminal on which `words` run; see terminal.py. */
function terminal(steps: Step[], words: string[]) {
  const driver = join(root, 'tests', 'programs', 'terminal.py');
  const env = { TERM: 'dumb', PS1: 'prompt> ', NO_COLOR: '1' };
  return play([need('python3'), driver, JSON.stringify(steps), ...words], { env });
}

const shell = (): string[] => [need('bash'), '--norc', '--noprofile', '--noediting', '-i'];

describe('on a terminal', () => {
  test('the program has it on all three', async () => {
    const script = 'test -t 0 && test -t 1 && test -t 2 && tty && exit 5';
    const { status, stdout } = await terminal([], under('sh', '-c', script));
    expect(stdout).toContain('/dev/pts/');
    expect(status).toBe(5);
  });

  test('Ctrl-C and Ctrl-\\ reach the program once, and libmalloc waits for it', async () => {
    const keys = [
      ['\x03', 'got INT'],
      ['\x1c', 'got QUIT'],
      ['\x03', 'got INT'],
    ] as const;
    const steps = keys.flatMap(([key, line]): Step[] => [
      ['send', key],
      ['expect', line],
    ]);
    const words = under(compileProgram('tell-signals.c'));
    const { status, stdout } = await terminal(
      [['expect', 'ready'], ...steps, ['signal', 'SIGUSR2']],
      words,
    );
    expect(stdout.match(/got INT/g)).toHaveLength(2);
    expect(stdout.match(/got QUIT/g)).toHaveLength(1);
    expect(stdout).toContain(`libmalloc: ${variant} in 1 process`);
    expect(status).toBe(7);
  });

  test('Ctrl-Z gives the prompt back, fg resumes the program, Ctrl-C ends it', async () => {
    const command = under(compileProgram('tell-signals.c'))
      .map((word) => `'${word}'`)
      .join(' ');
    const { status, stdout } = await terminal(
      [
        ['expect', 'prompt> '],
        ['send', `${command}\n`],
        ['expect', 'ready'],
        ['send', '\x1a'],
        ['expect', 'Stopped'],
        ['expect', 'prompt> '],
        ['send', 'fg\n'],
        ['expect', 'got CONT'],
        ['send', '\x03'],
        ['expect', 'got INT'],
        ['send', '\x1a'],
        ['expect', 'Stopped'],
        ['expect', 'prompt> '],
        ['send', 'kill -USR2 %1; bg\n'],
        ['expect', 'got USR2'],
        ['send', '\n'],
        ['expect', 'Exit 7'],
        ['send', 'exit 3\n'],
      ],
      shell(),
    );
    expect(status, stdout).toBe(3);
  });

  test('an interactive shell has job control inside', async () => {
    const { status, stdout } = await terminal(
      [
        ['expect', 'prompt> '],
        ['send', 'sleep 300\n'],
        ['wait', '1'],
        ['send', '\x03'],
        ['expect', 'prompt> '],
        ['send', 'echo status=$?\n'],
        ['expect', 'status=130'],
        ['expect', 'prompt> '],
        ['send', 'sleep 300\n'],
        ['wait', '1'],
        ['send', '\x1a'],
        ['expect', 'Stopped'],
        ['expect', 'prompt> '],
        // A shell with stopped jobs would ask for confirmation.
        ['send', 'kill -KILL %1; disown %1; exit 5\n'],
      ],
      under(...shell()),
    );
    expect(stdout).not.toMatch(/no job control|cannot set terminal process group/);
    expect(status, stdout).toBe(5);
    expect(stdout).toContain(`libmalloc: ${variant} in `);
  });
});
