/** The limits of processor time and of sleep, on a machine that is under load. */
import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { watchPatiently } from '../../scripts/process/cpu-limit.ts';

test('time in which we had no processor ourselves does not count as sleep of a program', async () => {
  const child = spawn('sleep', ['100']);
  try {
    let over = false;
    const watching = watchPatiently(child.pid as number, { cpu: 20, idle: 4 }, () => over);
    await sleep(1200); // it has been looked at
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 6000);
    await sleep(700); // and again
    over = true;
    expect(await watching).toBeUndefined();
    const idle = await watchPatiently(child.pid as number, { cpu: 20, idle: 1 }, () => false);
    expect(idle?.because).toBe('idle');
  } finally {
    child.kill();
  }
});
