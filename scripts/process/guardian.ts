// Ends the programs that we started if we are killed, even by SIGKILL or with our terminal: a shell
// reads from a pipe that we hold open, and kills them when the pipe closes.

import { type ChildProcess, spawn } from 'node:child_process';

/** Reads lines `+ PID` and `- PID`; at the end of its input, it kills all groups that remain. */
const script = `groups=
while read -r sign pid; do
  case $sign in
    +) groups="$groups $pid " ;;
    -) groups="\${groups%% $pid *} \${groups#* $pid }" ;;
  esac
done
for pid in $groups; do kill -s KILL -- "-$pid" 2>/dev/null; done`;

let guardian: ChildProcess | undefined;

/** Starts the guardian; the returned function ends it, with all its work done. */
export function guarded(): () => void {
  const child = start();
  guardian = child;
  return () => {
    guardian = undefined;
    child.stdin?.end();
  };
}

/** If there is a guardian: it kills the group of `pid` if we die before the returned function is called. */
export function guard(pid: number): () => void {
  const pipe = guardian?.stdin;
  pipe?.write(`+ ${pid}\n`);
  return () => pipe?.writable && pipe.write(`- ${pid}\n`);
}

/** It has a session of its own, so that no key of the terminal reaches it. */
function start(): ChildProcess {
  const env = { PATH: process.env.PATH ?? '/usr/bin:/bin' };
  const child = spawn('/bin/sh', ['-c', script], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    env,
  });
  child.on('error', () => {});
  child.stdin?.on('error', () => {});
  child.unref();
  return child;
}
