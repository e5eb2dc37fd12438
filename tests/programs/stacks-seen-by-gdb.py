"""Stops a recorded program at random calls of its malloc and writes down GDB's stack of each.

    gdb -batch -ex 'py STOPS, GAP, SEED, OUT = 10, 2000, 1, "out.json"' -x stacks-seen-by-gdb.py --args PROGRAM

The trace library is stopped where it begins to walk, and again where it has the number of the stack:
each element of OUT is {number, thread, frames: [{pc, name, file}]}, our own frames left out.
"""
import json
import random
import gdb

random.seed(SEED)
for command in (
    'set pagination off', 'set confirm off', 'set breakpoint pending on', 'set print thread-events off',
    'set backtrace past-main on', 'set backtrace past-entry on', 'set backtrace limit 1000',
    'set follow-fork-mode ' + FOLLOW, 'set follow-exec-mode same', 'handle all nostop noprint pass',
    'handle SIGTRAP stop nopass', 'handle SIGINT stop nopass',
):
    gdb.execute(command, to_string=True)


def frames():
    """Return addresses from the inside out; functions that were inlined have none of their own."""
    found, frame = [], gdb.newest_frame()
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            file = gdb.solib_name(frame.pc()) or ''
            if 'libmalloc-' not in file:
                found.append({'pc': frame.pc(), 'name': frame.name() or '', 'file': file})
        frame = frame.older()
    return found


class Number(gdb.FinishBreakpoint):
    """Stops where callers_number returns, in the thread that called it."""

    def stop(self):
        return True


def alive():
    return gdb.selected_inferior().pid != 0 and gdb.selected_thread() is not None


def look(entry):
    seen = {'thread': gdb.selected_thread().ptid[1], 'pid': gdb.selected_inferior().pid,
            'frames': frames()}
    entry.enabled = False
    number = Number(gdb.newest_frame(), internal=True)
    while alive() and number.return_value is None:
        gdb.execute('continue', to_string=True)
    seen['number'] = int(number.return_value)
    entry.enabled = True
    return seen


entry = gdb.Breakpoint('callers_number')
seen = []
entry.ignore_count = random.randrange(GAP)
gdb.execute('run', to_string=True)
while alive() and len(seen) < STOPS:
    seen.append(look(entry))
    entry.ignore_count = random.randrange(GAP)
    gdb.execute('continue', to_string=True)
if alive():
    gdb.execute('kill', to_string=True)
with open(OUT, 'w') as out:
    json.dump(seen, out)
