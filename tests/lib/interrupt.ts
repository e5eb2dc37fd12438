import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as nap } from 'node:timers/promises';

/** What the children of a process are doing: their command lines. */
function children(pid: number): string {
  const of = (path: string) => readFileSync(`/proc/${path}`, 'utf8');
  try {
    const pids = of(`${pid}/task/${pid}/children`).split(' ').filter(Boolean);
    return pids.map((child) => of(`${child}/cmdline`)).join(' ');
  } catch {
    return ''; // one of them has just ended
  }
}

/** Starts a command, sends it SIGINT as soon as a child of it runs `program`, and gives its status. */
export async function interruptWhen(words: string[], program: string): Promise<number | null> {
  const command = spawn(words[0] as string, words.slice(1), { stdio: 'ignore' });
  while (command.exitCode === null && !children(command.pid as number).includes(program))
    await nap(20);
  command.kill('SIGINT');
  const [status] = await once(command, 'exit');
  return status;
}
