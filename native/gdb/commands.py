"""The commands: `heap`, `heap chunks`, `heap chunk`, `heap free`, `heap check`."""

import gdb

from . import library
from .chunks import CONTAINERS, REGION, Broken
from .dumb import DumbReader
from .list import ListReader
from .memory import Memory, Unreadable
from .paged import PagedReader
from .sharded import ShardedReader

READERS = {'dumb': DumbReader, 'list': ListReader, 'paged': PagedReader, 'sharded': ShardedReader}
LINES_AT_ONCE = 1000


def open_heap():
    """The library in the selected program or core, and a reader of its heap."""
    ours = library.current()
    make = READERS.get(ours.variant)
    if make is None:
        raise gdb.GdbError(f'{ours.path} is {ours.version}, which these commands cannot read')
    return ours, make(ours, Memory())


class Command(gdb.Command):
    """A command whose `run(argv)` prints; whatever is wrong with the heap ends in a sentence."""

    usage = ''

    def __init__(self, name, **options):
        super().__init__(name, gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION, **options)
        self._name = name

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        try:
            self.run(gdb.string_to_argv(argument))
        except Broken as broken:
            print_broken(broken)
        except (Unreadable, gdb.MemoryError) as error:
            raise gdb.GdbError(f'{self._name}: {error}') from None

    def arguments(self, argv, most):
        if len(argv) > most:
            raise gdb.GdbError(f'usage: {self._name}{self.usage}')
        return argv


class Heap(Command):
    """What the heap of this program consists of: regions, live, free and fresh bytes.

heap                       the figures (as libmalloc_stats counts them)
heap chunks [FROM [COUNT]] every chunk in address order
heap chunk ADDR            the chunk that holds an address, and its neighbours
heap free                  what is free (of paged: in each size class)
heap check                 verifies every invariant, shows the first that is broken

They read memory only: they work on a live program stopped anywhere, and on a core."""

    def __init__(self):
        super().__init__('heap', prefix=True)

    def run(self, argv):
        if argv:
            raise gdb.GdbError(f'there is no `heap {argv[0]}`: `help heap` lists what there is')
        ours, heap = open_heap()
        stats, broken = heap.stats()
        gdb.write(f'{ours.version}  {ours.path}\n')
        print_rows(('', 'count', 'bytes'), [
            ('regions', stats.regions, stats.mapped),
            ('live', stats.live_blocks, stats.live_bytes),
            ('free', stats.free_blocks, stats.free_bytes),
            ('fresh', '', stats.fresh_bytes),
            ('headers', '', stats.header_bytes),
        ])
        print_shares(stats)
        owners = heap.owners()
        if owners:
            print_rows(*owners)
        print_notes(heap)
        if broken:
            gdb.write(f'  {broken.price}\n')
            print_broken(broken)


class HeapChunks(Command):
    """Every chunk in address order: heap chunks [FROM [COUNT]].

FROM is an address (begin with the chunk that holds it) or the number of a chunk; COUNT is how
many to show. `start` and `bytes` are the whole chunk, `block` and `usable` the caller's part."""

    usage = ' [FROM [COUNT]]'

    def __init__(self):
        super().__init__('heap chunks')

    def run(self, argv):
        self.arguments(argv, 2)
        first = number(argv[0]) if argv else 0
        count = number(argv[1]) if len(argv) > 1 else None
        if first < 0 or (count is not None and count < 0):
            raise gdb.GdbError('FROM and COUNT are not negative')
        _, heap = open_heap()
        shown = print_chunks(heap, first, count)
        if not shown and first:
            raise gdb.GdbError(f'there is no chunk from {argv[0]} on')


class HeapChunk(Command):
    """The chunk that holds an address, also an interior one: heap chunk ADDR.

ADDR is any expression: `heap chunk p`, `heap chunk 0x5555555592a0`, `heap chunk $rdi`."""

    usage = ' ADDR'

    def __init__(self):
        super().__init__('heap chunk')

    def invoke(self, argument, from_tty):
        super().invoke(f'"{escape(argument)}"' if argument.strip() else '', from_tty)

    def run(self, argv):
        if not argv:
            raise gdb.GdbError('heap chunk needs an address: `heap chunk p`')
        ours, heap = open_heap()
        address = number(argv[0])
        try:
            place = heap.place(address)
        except Broken as broken:
            gdb.write(f'where {address:#x} lies cannot be told: the heap is damaged before it\n')
            raise broken
        if place is None:
            raise gdb.GdbError(f'{address:#x} lies outside of the heap of {ours.variant}')
        gdb.write(f'{place.sentence}\n')
        print_labelled(place.rows)
        print_notes(heap)


class HeapFree(Command):
    """What is free: block by block, or for a heap with size classes by class."""

    def __init__(self):
        super().__init__('heap free')

    def run(self, argv):
        self.arguments(argv, 0)
        _, heap = open_heap()
        heading, rows, last = heap.free()
        if heading and rows:
            print_rows(heading, rows)
        gdb.write(f'{last}\n')
        print_notes(heap)


class HeapCheck(Command):
    """Verifies every invariant of the heap; names the first that is broken and shows it."""

    def __init__(self):
        super().__init__('heap check')

    def run(self, argv):
        self.arguments(argv, 0)
        _, heap = open_heap()
        print_notes(heap)
        gdb.write(f'ok: {heap.check()}\n')


# ── arguments ────────────────────────────────────────────────────────────────


def escape(text):
    return text.strip().replace('\\', '\\\\').replace('"', '\\"')


def number(text):
    """The value of an expression: an address, or a count."""
    try:
        value = gdb.parse_and_eval(text)
        if value.type.strip_typedefs().code == gdb.TYPE_CODE_ARRAY:
            value = value.address
        result = int(value)
    except gdb.error as error:
        raise gdb.GdbError(f'{text} is no address or number: {error}') from None
    is_address = value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR
    return result & 2 ** 64 - 1 if is_address else result


# ── printing: addresses in hex, sizes in decimal ─────────────────────────────


def print_rows(heading, rows):
    """Columns: text to the left, numbers to the right."""
    table = [[str(cell) for cell in row] for row in (heading, *rows)]
    widths = [max(map(len, column)) for column in zip(*table)]
    right = [all(isinstance(row[i], int) or row[i] == '' for row in rows)
             for i in range(len(heading))]
    form = ''.join(f'  %{"" if to_right else "-"}{width}s'
                   for width, to_right in zip(widths, right))
    for i in range(0, len(table), LINES_AT_ONCE):
        lines = [(form % tuple(row)).rstrip() for row in table[i:i + LINES_AT_ONCE]]
        gdb.write('\n'.join(lines) + '\n')


def print_shares(stats):
    if stats.mapped:
        gdb.write(f'  {stats.in_use:.1f} % of the mapped bytes are live\n')
    if stats.unused:
        gdb.write(f'  fragmentation {stats.fragmentation:.1f} %: of {stats.unused} unused bytes '
                  f'the largest piece has {stats.largest}\n')


def print_labelled(rows):
    width = max((len(label) for label, _ in rows), default=0)
    for label, text in rows:
        gdb.write(f'  {label.ljust(width)}  {text}\n')


def print_notes(heap):
    for note in heap.notes():
        gdb.write(f'  note: {note}\n')


def print_broken(broken):
    gdb.write(f'broken: {broken}\n')
    print_labelled(broken.rows)


HEADING = '      #  start                      bytes  state   block                     usable'
CHUNK = '%7d  0x%016x  %12d  %-6s'
BLOCK = '  0x%016x  %12d'


def print_chunks(heap, first, count):
    """The chunks from `first` (a number, or an address when it is one of the heap) on, and the
    containers that they lie in; returns how many. Broken where the heap is."""
    lines = [HEADING]
    containers, index, shown, lowest = {}, 0, 0, None
    try:
        for chunk in heap.walk():
            if chunk.kind in CONTAINERS:
                lowest = chunk.start if lowest is None else lowest
                containers[chunk.kind] = chunk
                continue
            skip = chunk.end <= first if first >= lowest else index < first
            if shown == count:
                break
            if not skip:
                lines += map(container_line, containers.values())
                containers.clear()
                lines.append(chunk_line(index, chunk))
                shown += 1
                if len(lines) >= LINES_AT_ONCE:
                    gdb.write('\n'.join(lines) + '\n')
                    lines = []
            index += 1
    finally:
        if shown:
            gdb.write('\n'.join(lines) + '\n' * bool(lines))
        else:
            gdb.write('' if first else 'the heap is empty\n')
    return shown


def container_line(chunk):
    what = f'{chunk.extent} bytes'
    if chunk.kind != REGION:
        what += f', blocks of {chunk.size_class}' if chunk.size_class else ', one large block'
    indent = '' if chunk.kind == REGION else '  '
    return f'{indent}{chunk.kind} {chunk.start:#x} .. {chunk.end:#x}  {what}'


def chunk_line(index, chunk):
    line = CHUNK % (index, chunk.start, chunk.extent, chunk.kind)
    return line + BLOCK % (chunk.user, chunk.usable) if chunk.user else line.rstrip()


for command in (Heap, HeapChunks, HeapChunk, HeapFree, HeapCheck):
    command()
