// Ends what we started if we are killed, so that even SIGKILL, or a lost terminal, leaves nothing
// running: a shell that reads from a pipe which we hold, and whose end it sees.

import { type ChildProcess, spawn } from 'node:child_process';

/** Lines `+ PID` and `- PID`; at the end of the input, all groups that are still there are killed. */
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

/** In a session of its own, so that no key of the terminal reaches it. */
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
