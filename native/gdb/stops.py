"""Stops when the library detects a misuse or has no memory (`--on`), and when something happens to
one block (`heap watch`). Python decides at each stop, so neither the program nor the library needs
changes for it."""

import errno
import os
import re
import subprocess

import gdb

from . import library
from .chunks import Broken
from .command import Command, block_at, number, open_heap, read_heap
from .memory import Unreadable
from .printing import print_labelled

EVENTS = ('double-free', 'corruption', 'oom')
FREED_TWICE = re.compile(r'double free|use after free')
TAKES_BLOCK = ('free', 'realloc', 'reallocarray', 'free_sized', 'free_aligned_sized')
GIVES_BLOCK = ('malloc', 'calloc', 'realloc', 'reallocarray', 'memalign', 'aligned_alloc',
               'posix_memalign', 'valloc', 'pvalloc')
INSIDE = re.compile(r'(__libc_|__GI___libc_|_int_)?(c?free|malloc|calloc|realloc|memalign)')
ARGUMENTS = ('rdi', 'rsi', 'rdx', 'rcx', 'r8', 'r9')  # of a call, on x86-64


# ── what the library detects ─────────────────────────────────────────────────


def on(event):
    """Sets a breakpoint where the library detects the event, as soon as the library is loaded."""
    seen = set()

    def look(*_):
        for objfile in gdb.objfiles():
            symbol = library.version_symbol(objfile) and objfile.lookup_static_symbol('die_detected')
            address = int(symbol.value().address) if symbol else None
            if address and address not in seen:
                seen.add(address)
                Refusal() if event == 'oom' else Detection(address, event, objfile)

    look()
    gdb.events.new_objfile.connect(look)


class Detection(gdb.Breakpoint):
    """Stops at die_detected(line, length), which every detection calls."""

    def __init__(self, address, event, objfile):
        super().__init__(f'*{address:#x}')
        self._event, self._objfile = event, objfile

    def stop(self):
        sentence = last_words()
        if bool(FREED_TWICE.search(sentence)) != (self._event == 'double-free'):
            return False
        gdb.write(f'detected by libmalloc: {sentence}\n')
        print_labelled(stacks(self._objfile, sentence))
        return True


def last_words():
    """The sentence that die_detected is about to print."""
    frame = gdb.newest_frame()
    names = {register.name for register in frame.architecture().registers()}
    argument = next(name for name in (ARGUMENTS[0], 'x0') if name in names)
    return string(int(frame.read_register(argument)) & 2 ** 64 - 1).strip().removeprefix(
        'libmalloc: ')


def stacks(objfile, sentence):
    """Who allocated and who freed the first block that a sentence names, if the guard of a debug build
    recorded it: rows of (label, function)."""
    try:
        _, heap = read_heap(library.of(objfile))
        found = (heap.callers(int(at, 16)) for at in re.findall(r'0x[0-9a-f]+', sentence))
        return next(filter(None, found), [])
    except (Broken, Unreadable, gdb.error, gdb.GdbError):
        return []


def string(address):
    return gdb.Value(address).cast(gdb.lookup_type('char').pointer()).string(errors='replace')


class Refusal(gdb.Breakpoint):
    """Runs where the malloc failed to get memory. It may still find some elsewhere, so we check the
    result where the program's call returns."""

    def __init__(self):
        super().__init__('os_refuse')

    def stop(self):
        call, told = asked_for()
        if call.older() is not None and gives_back(call):
            Return.of(call, f'no memory for {told}: ENOMEM')
        return False


class Return(gdb.Breakpoint):
    """Stops after the program's call of a public function, if that found no memory. It is no FinishBreakpoint,
    because in GDB 16 one never stops if the function was reached by a jump from another."""

    waiting = {}  # by caller, so that a second refusal within one call sets no second breakpoint

    @classmethod
    def of(cls, call, sentence):
        caller = call.older()
        key = gdb.selected_thread().ptid, int(caller.read_register('sp')), caller.pc()
        cls.waiting = {at: each for at, each in cls.waiting.items() if each.is_valid()}
        if key not in cls.waiting:
            for other in [each for each in cls.waiting.values() if not each.enabled]:
                del cls.waiting[other.key]
                other.delete()
            cls.waiting[key] = cls(call, key, sentence)
        elif not cls.waiting[key].enabled:
            cls.waiting[key].begin(call, sentence)

    def __init__(self, call, key, sentence):
        super().__init__(f'*{key[2]:#x}', internal=True)
        self.key = key
        self.begin(call, sentence)

    def begin(self, call, sentence):
        self._sentence, self.enabled = sentence, True
        # The only function that returns an error instead of a block.
        self._bits, self._means = ((32, errno.ENOMEM) if call.name() == 'posix_memalign' else
                                   (64, 0))

    def stop(self):
        frame = gdb.newest_frame()
        if self.key != (gdb.selected_thread().ptid, int(frame.read_register('sp')), frame.pc()):
            return False
        self.enabled = False
        if int(frame.read_register('rax')) & (1 << self._bits) - 1 != self._means:
            return False
        gdb.write(f'detected by libmalloc: {self._sentence}\n')
        return True


def gives_back(call):
    """True if the function returns a value, which may report that there was no memory."""
    function = call.function()
    return function is None or function.type.target().code != gdb.TYPE_CODE_VOID


def asked_for():
    """The outermost of our frames, which the program called, and the requested size. If a public
    function has jumped into an inner one, that one is outermost, and we omit its name, because the
    program does not know it."""
    frame, told = gdb.newest_frame(), 'a request'
    path, call = gdb.current_progspace().solib_name(frame.pc()), frame
    while frame is not None and gdb.current_progspace().solib_name(frame.pc()) == path:
        try:
            told = f'{int(frame.read_var("size"))} bytes'
        except (gdb.error, ValueError):
            pass  # optimized out, or no variable of this frame
        call, frame = frame, frame.older()
    return call, f'{told} ({call.name()})' if call.name() in GIVES_BLOCK else told


# ── one block ────────────────────────────────────────────────────────────────


class Taken(gdb.Breakpoint):
    """Stops at a function that frees or reallocates the block."""

    def __init__(self, ours, function, block, size):
        if isinstance(ours, library.Provider):  # by address, because a name may match other places
            super().__init__(f'*(unsigned long)&__libc_{function}')
        else:
            super().__init__(source=f'{ours.variant}.c', function=function)
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
    """Stops at a write to the header of the block by any code but the malloc."""

    def __init__(self, header, length, block, path):
        super().__init__(f'*(unsigned long (*)[{length // 8}]) {header:#x}',
                         gdb.BP_WATCHPOINT, gdb.WP_WRITE)
        self._header, self._block, self._path = header, block, path

    def stop(self):
        frame = gdb.newest_frame()
        if self._is_malloc(frame):
            return False
        gdb.write(f'heap watch: the header {self._header:#x} of the block {self._block:#x} was '
                  f'written to by {frame.name() or "unknown code"}\n')
        return True


    def _is_malloc(self, frame):
        """True if this frame belongs to the malloc. libc also contains strcpy and the like, so in libc
        the functions further out decide."""
        path, space = self._path, gdb.current_progspace()
        if not re.match(r'libc[-.]', os.path.basename(path)):
            return space.solib_name(frame.pc()) == path
        while frame is not None and space.solib_name(frame.pc()) == path:
            if INSIDE.match(frame.name() or ''):
                return True
            frame = frame.older()
        return False


def choose_watchpoints():
    """Turns hardware watchpoints off for the rest of the session if they do not work here."""
    global _tried
    if _tried or not gdb.parameter('can-use-hw-watchpoints'):
        return
    _tried = True
    if not hardware_fires():
        gdb.execute('set can-use-hw-watchpoints 0')
        gdb.write("  note: this machine's debug registers do not work, so GDB will single-step: the "
                  'program becomes slow\n')


_tried = False


def hardware_fires():
    """Tests it in a separate GDB with another program. True also if that GDB cannot run."""
    script = os.path.join(os.path.dirname(__file__), 'watchpoints.gdb')
    words = [os.readlink('/proc/self/exe'), '-nx', '-q', '-batch', '-x', script, '/bin/true']
    try:
        said = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return True
    return b'Old value' in said.stdout or b'Hardware watchpoint' not in said.stdout


class HeapWatch(Command):
    """Follows one live block: heap watch ADDR.

Stops when it is freed or reallocated and, if the malloc has a header in front of each block (list),
when other code writes to that. `info breakpoints` lists the breakpoints that it set, `delete` removes
them.

It uses the processor's debug registers. On some virtual machines these do not work; it tests this,
and then lets GDB single-step, which is slow."""

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
        chunk, broken = block_at(heap, address)
        if chunk is None:
            raise broken or gdb.GdbError(f'{address:#x} lies in no live block: `heap chunk` says '
                                         'where it lies')
        for function in TAKES_BLOCK[:2] if isinstance(ours, library.Provider) else TAKES_BLOCK:
            Taken(ours, function, chunk.user, chunk.usable)
        header = heap.header(chunk)
        if header:
            choose_watchpoints()
            HeaderWritten(*header, chunk.user, ours.path)
        gdb.write(f'follows the live block {chunk.user:#x} ({chunk.usable} bytes): its free, its '
                  'reallocation' + (', and writes to its header\n' if header else
                                    f'; {ours.variant} has no header beside it\n'))


HeapWatch()
