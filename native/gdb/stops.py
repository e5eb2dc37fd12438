"""Where to stop: when the library detects a misuse or has no memory (`--on`), and when something
happens to one block (`heap watch`). Python decides at each stop, so the program need not be built
for it, nor its library changed."""

import re

import gdb

from . import library
from .chunks import LIVE
from .command import Command, chunks_of, number, open_heap

EVENTS = ('double-free', 'corruption', 'oom')
FREED_TWICE = re.compile(r'double free|use after free')
TAKES_BLOCK = ('free', 'realloc', 'reallocarray', 'free_sized', 'free_aligned_sized')
ARGUMENTS = ('rdi', 'rsi', 'rdx', 'rcx', 'r8', 'r9')  # of a call, on x86-64


# ── what the library detects ─────────────────────────────────────────────────


def on(event):
    """Stops where the library detects the event; waits for the library to be loaded."""
    if event == 'oom':
        Refusal()
        return
    seen = set()

    def look(*_):
        for objfile in gdb.objfiles():
            symbol = library.version_symbol(objfile) and objfile.lookup_static_symbol('die')
            if symbol and int(symbol.value().address) not in seen:
                seen.add(int(symbol.value().address))
                Detection(int(symbol.value().address), event)

    look()
    gdb.events.new_objfile.connect(look)


class Detection(gdb.Breakpoint):
    """At the first instruction of die(), where its arguments still are in their registers."""

    def __init__(self, address, event):
        super().__init__(f'*{address:#x}')
        self._event = event

    def stop(self):
        sentence = last_words()
        if bool(FREED_TWICE.search(sentence)) != (self._event == 'double-free'):
            return False
        gdb.write(f'detected by libmalloc: {sentence}\n')
        return True


def last_words():
    """What die(call, format, …) is about to say."""
    frame = gdb.newest_frame()
    arguments = [int(frame.read_register(name)) & 2 ** 64 - 1 for name in ARGUMENTS]
    stack = int(frame.read_register('rsp')) & 2 ** 64 - 1
    memory = gdb.selected_inferior()
    call, form = string(arguments[0]), string(arguments[1])
    values = iter(arguments[2:])

    def value():
        nonlocal stack
        found = next(values, None)
        if found is None:
            stack += 8
            found = int.from_bytes(bytes(memory.read_memory(stack, 8)), 'little')
        return found

    def spelled(match):
        if match[2] == '%':
            return '%'
        each = value()
        if match[2] == 's':
            return string(each)
        if match[2] in 'px':
            return f'{each:#x}'
        return str(each if match[1] else each & 2 ** 32 - 1)

    return f'{call}(): ' + re.sub(r'%(z|l|ll)?([a-z%])', spelled, form)


def string(address):
    return gdb.Value(address).cast(gdb.lookup_type('char').pointer()).string(errors='replace')


class Refusal(gdb.Breakpoint):
    """Where a request finds no memory. Nearly always NULL is what the program gets; sharded may
    still find memory of another kind."""

    def __init__(self):
        super().__init__('os_refuse')

    def stop(self):
        gdb.write(f'detected by libmalloc: no memory for {asked_for()}: ENOMEM\n')
        return True


def asked_for():
    """How much the program asked for, and of whom: as the outermost of our frames tells."""
    frame, path, told = gdb.newest_frame(), None, 'a request'
    path = gdb.current_progspace().solib_name(frame.pc())
    while frame is not None and gdb.current_progspace().solib_name(frame.pc()) == path:
        try:
            told = f'{int(frame.read_var("size"))} bytes ({frame.name()})'
        except (gdb.error, ValueError):
            pass  # optimized out here, or not a thing of this frame
        frame = frame.older()
    return told


# ── one block ────────────────────────────────────────────────────────────────


class Taken(gdb.Breakpoint):
    """At a function that is given the block back."""

    def __init__(self, variant, function, block, size):
        super().__init__(source=f'{variant}.c', function=function)
        self._function, self._block, self._size = function, block, size

    def stop(self):
        try:
            given = int(gdb.newest_frame().read_var('p')) & 2 ** 64 - 1
        except (gdb.error, ValueError):
            given = int(gdb.newest_frame().read_register(ARGUMENTS[0])) & 2 ** 64 - 1
        if given != self._block:
            return False
        gdb.write(f'heap watch: {self._function} of the block {self._block:#x} '
                  f'({self._size} bytes)\n')
        return True


class HeaderWritten(gdb.Breakpoint):
    """At a write to the header of the block by anybody but its malloc."""

    def __init__(self, header, length, block, path):
        super().__init__(f'*(unsigned long (*)[{length // 8}]) {header:#x}',
                         gdb.BP_WATCHPOINT, gdb.WP_WRITE)
        self._header, self._block, self._path = header, block, path

    def stop(self):
        frame = gdb.newest_frame()
        if gdb.current_progspace().solib_name(frame.pc()) == self._path:
            return False
        gdb.write(f'heap watch: the header {self._header:#x} of the block {self._block:#x} was '
                  f'written to by {frame.name() or "unknown code"}\n')
        return True


class HeapWatch(Command):
    """Follows one live block: heap watch ADDR.

Stops when it is freed or reallocated, and where the malloc keeps a header in front of each block
(list) when anybody else writes to that. `info breakpoints` lists what it set, `delete` ends it.

Writes are seen by the processor's debug registers. Some virtual machines have none that work, and
say nothing: `set can-use-hw-watchpoints 0` before makes GDB look after every instruction."""

    usage = ' ADDR'

    def __init__(self):
        super().__init__('heap watch')

    def invoke(self, argument, from_tty):
        self.one_expression(argument, from_tty)

    def run(self, argv):
        if not argv:
            raise gdb.GdbError('heap watch needs an address: `heap watch p`')
        address = number(argv[0]) & 2 ** 64 - 1
        ours, heap = open_heap()
        if library.is_core():
            raise gdb.GdbError('a core does not go on, so there is nothing to wait for')
        if ours.variant == 'dumb':
            raise gdb.GdbError('dumb remembers no blocks, so none can be followed')
        chunks, broken = chunks_of(heap, (LIVE,))
        chunk = next((each for each in chunks if each.start <= address < each.end), None)
        if chunk is None:
            raise broken or gdb.GdbError(f'{address:#x} lies in no live block: `heap chunk` says '
                                         'where it lies')
        for function in TAKES_BLOCK:
            Taken(ours.variant, function, chunk.user, chunk.usable)
        header = heap.header(chunk)
        if header:
            HeaderWritten(*header, chunk.user, ours.path)
        gdb.write(f'follows the live block {chunk.user:#x} ({chunk.usable} bytes): its free, its '
                  'reallocation' + (', and writes to its header\n' if header else
                                    f'; {ours.variant} has no header beside it\n'))


HeapWatch()
