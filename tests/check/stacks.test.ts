/** Where a program hangs, read from GDB's backtraces. */
import { expect, test } from 'vitest';
import { place, threadsIn } from '../../scripts/check/stacks.ts';

const printed = `[New LWP 12]
warning: Error disabling address space randomization

Thread 2 (Thread 0x7f00 (LWP 12) "case"):
#0  0x00007f42 in futex_wait (private=0, expected=2) at ../sysdeps/nptl/futex-internal.h:146
#1  __GI___lll_lock_wait (futex=futex@entry=0x7f43, private=0) at ./nptl/lowlevellock.c:49
#2  0x00007f43 in lock_acquire (l=0x7f43) at native/base/lock.h:33
#3  0x00007f44 in free () from /tmp/mine.so
#4  0x00005642 in work (arg=0x1) at tests/programs/threads-private.c:60
#5  0x00007f42 in start_thread (arg=<optimized out>) at ./nptl/pthread_create.c:442

Thread 1 (Thread 0x7f01 (LWP 11) "case"):
#0  0x00007f42 in __futex_abstimed_wait_common64 (private=128) at ./nptl/futex-internal.c:57
#1  0x00007f42 in __pthread_clockjoin_ex (threadid=1) at ./nptl/pthread_join_common.c:105
#2  0x00005642 in main () at tests/programs/threads-private.c:80
`;

test('each thread gets its frames, the innermost first', () => {
  const threads = threadsIn(printed);
  expect(threads.map(({ length }) => length)).toEqual([6, 3]);
  expect(threads[0]?.slice(2, 4)).toEqual([
    { name: 'lock_acquire', at: 'lock.h:33' },
    { name: 'free' },
  ]);
});

test('the place is the malloc function, the frame inside it, and its caller', () => {
  const [inside, outside] = threadsIn(printed).map(place);
  expect(inside).toBe(
    'free (in futex_wait, futex-internal.h:146), called by work, threads-private.c:60',
  );
  expect(outside).toBeUndefined();
});

test('frames without a `Thread` line belong to one thread', () => {
  const frames = '#0  0x01 in spin () from /tmp/mine.so\n#1  0x02 in malloc () from /tmp/mine.so\n';
  expect(threadsIn(frames).map(place)).toEqual(['malloc (in spin)']);
});
