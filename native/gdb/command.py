"""What all commands share: they find the heap, parse arguments, and fail with one sentence."""

import gc

import gdb

from . import exported, library, track
from .chunks import LIVE, Broken, Reader
from .guard import guarded
from .memory import Memory, Unreadable
from .printing import print_broken
from .track import TrackedSites
from .tracked import TrackedReader

_kept = None  # (the key of the process and library, the library, the reader) of the last command


def _forget(_=None):
    global _kept
    _kept = None


for name in ('cont', 'stop', 'exited', 'memory_changed', 'inferior_call', 'new_objfile',
             'clear_objfiles'):
    getattr(gdb.events, name).connect(_forget)


def open_heap():
    """The malloc in the selected program or core, and a reader of its heap: that of the previous
    command, unless the program has continued since."""
    global _kept
    ours, inferior = library.current(), gdb.selected_inferior()
    looked = inferior.num, inferior.pid, ours.path, gdb.current_progspace().filename
    moves = any(thread.is_running() for thread in inferior.threads())
    if _kept is None or _kept[0] != looked or moves:
        _kept = None
        _, heap = read_heap(ours)
        _kept = looked, ours, heap
    _kept[2].memory.begin()
    return _kept[1:]


def read_heap(ours):
    """As `open_heap`, for a given library."""
    module, memory = library.module_of(ours.variant), Memory()
    make = next((each for each in vars(module).values() if isinstance(each, type)
                 and issubclass(each, Reader) and each.__module__ == module.__name__), None)
    known = track.table(memory)
    heap = guarded(ours, make(ours, memory)) if make else unknown_heap(ours, memory, known)
    return ours, TrackedSites(heap, known) if known and not isinstance(heap, TrackedReader) else heap


def unknown_heap(ours, memory, known):
    """The heap of a malloc without a reader: as it describes itself, or as `--track` knows it."""
    try:
        if exported.offers(ours):
            return exported.ExportedReader(ours, memory)
    except gdb.GdbError:
        if known is None:
            raise
    if known is None and track.tracker():
        library.require_same_build(track.tracker())
    if known is None:
        raise gdb.GdbError(f'the malloc of this program is that of {ours.path}, which these commands cannot '
                           'read: no reader knows it, and it exports no libmalloc_walk. `libmalloc gdb --track` '
                           'keeps a table of its blocks')
    return TrackedReader(ours, memory, known)


def chunks_of(heap, kinds=(LIVE,)):
    """The chunks of some kinds, in address order, and the Broken because of which they are incomplete,
    or None."""
    chunks, broken = [], None
    try:
        chunks.extend(chunk for chunk in heap.walk() if chunk.kind in kinds)
    except Broken as error:
        broken = error
    return chunks, broken


def block_at(heap, address):
    """(the live chunk that contains an address or None, the Broken that may be the reason)."""
    try:
        for chunk in heap.walk(address):
            if chunk.kind == LIVE and chunk.start <= address < chunk.end:
                return chunk, None
            if chunk.user and chunk.start > address:
                break
    except Broken as broken:
        return None, broken
    return None, None


class Command(gdb.Command):
    """A command whose `run(argv)` prints. Damage of the heap ends it with one sentence."""

    usage = ''

    def __init__(self, name, **options):
        # With a completer class GDB would not call the method `complete`.
        completes = {} if hasattr(self, 'complete') else {
            'completer_class': gdb.COMPLETE_EXPRESSION if self.usage else gdb.COMPLETE_NONE}
        super().__init__(name, gdb.COMMAND_DATA, **completes, **options)
        self._name = name

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        gc.disable()  # the collector would traverse millions of numbers again and again
        try:
            self.run(gdb.string_to_argv(argument))
        except Broken as broken:
            print_broken(broken)
        except (Unreadable, gdb.MemoryError) as error:
            raise gdb.GdbError(f'{self._name}: {error}') from None
        finally:
            gc.enable()
            if _kept:
                _kept[2].memory.end()

    def arguments(self, argv, most):
        if len(argv) > most:
            raise gdb.GdbError(f'usage: {self._name}{self.usage}')
        return argv

    def one_expression(self, argument, from_tty):
        """`invoke` for a command whose argument is one expression, blanks and quotes included."""
        Command.invoke(self, f'"{escape(argument)}"' if argument.strip() else '', from_tty)


def escape(text):
    return text.strip().replace('\\', '\\\\').replace('"', '\\"')


def number(text):
    """The value of an expression: an address, or a count."""
    try:
        value = gdb.parse_and_eval(text)
        if value.type.strip_typedefs().code in (gdb.TYPE_CODE_ARRAY, gdb.TYPE_CODE_FUNC):
            value = value.address
        result = int(value)
    except gdb.error as error:
        raise gdb.GdbError(f'{text} is no address or number: {error}') from None
    is_address = value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR
    return result & 2 ** 64 - 1 if is_address else result
