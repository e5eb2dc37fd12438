"""The commands that show the heap: `heap`, `heap chunks`, `heap chunk`, `heap free`,
`heap check`, `heap stats`, `heap help`."""

import re

import gdb

from .chunks import CONTAINERS, FREE, LIVE, REGION, REMOTE, Broken, count
from .command import Command, chunks_of, number, open_heap
from .printing import (LINES_AT_ONCE, print_broken, print_labelled, print_notes, print_rows,
                       print_shares)


class Heap(Command):
    """What the heap of this program consists of: regions, live, free and fresh bytes.

heap                       the figures (as libmalloc_stats counts them)
heap chunks [FROM [COUNT]] every chunk in address order
heap chunk ADDR            the chunk that contains an address, and its neighbours
heap free [CLASS]          free memory: in each size class, or block by block
heap bins [CLASS]          the same, by the name that pwndbg and gef use
heap check                 verifies every invariant, shows the first that is broken
heap map [ADDR [BYTES]]    a character for each page, or from ADDR on for each 16 bytes
heap vis [ADDR [COUNT]]    the bytes of chunks, with headers, links and canaries named
heap telescope ADDR        words, and what they point to
heap try-free ADDR         what free would do with a pointer, and why
heap vmmap                 the mappings of the process, and what they contain
heap stats                 the number of blocks of each size
heap find [-all] VALUE     the live blocks that contain a value
heap refs [-all] ADDR      what points to this block: blocks, globals, stacks, registers
heap leaks [all]           live blocks that nothing points to
heap save NAME             saves the list of live blocks
heap diff NAME [all]       what was allocated and freed since then
heap watch ADDR            stops when the block is freed, resized, or its header is written
heap help [COMMAND]        this list, or more about one of them

They only read memory: they work on a live program stopped anywhere, and (all but `heap watch`)
on a core."""

    def __init__(self):
        super().__init__('heap', prefix=True)

    def run(self, argv):
        if argv:
            raise gdb.GdbError(f'there is no `heap {argv[0]}`: `help heap` lists what there is')
        ours, heap = open_heap()
        stats, broken = heap.stats()
        gdb.write(f'{ours.version}  {ours.path}\n')
        rows = [('regions', stats.regions, stats.mapped), ('live', stats.live_blocks, stats.live_bytes)]
        if heap.knows_free:
            rows += [('free', stats.free_blocks, stats.free_bytes), ('fresh', '', stats.fresh_bytes),
                     ('headers', '', stats.header_bytes)]
        print_rows(('', 'count', 'bytes'), rows)
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

FROM is an address (begins with the chunk that contains it, without numbers) or the number of a
chunk; COUNT is how many to show. `start` and `bytes` are the whole chunk, `block` and `usable` the
caller's part."""

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
        try:
            shown = print_chunks(heap, first, count)
        except Broken as broken:
            gdb.write(f'  {broken.price}\n')
            raise broken
        if not shown and first:
            raise gdb.GdbError(f'there is no chunk from {argv[0]} on')


class HeapChunk(Command):
    """The chunk that contains an address, also an interior one: heap chunk ADDR.

ADDR is any expression: `heap chunk p`, `heap chunk 0x5555555592a0`, `heap chunk $rdi`."""

    usage = ' ADDR'

    def __init__(self):
        super().__init__('heap chunk')

    def invoke(self, argument, from_tty):
        self.one_expression(argument, from_tty)

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


LISTS = ('tcache', 'fastbin', 'unsorted', 'small', 'large')


class HeapFree(Command):
    """Free memory: block by block, or for a heap with size classes by class: heap free [CLASS].

With CLASS, a number of bytes, lists the free blocks of the class that serves it. For glibc CLASS may
also be tcache, fastbin, unsorted, small or large: the blocks on these lists, in order. `heap bins` is
the same command."""

    usage = ' [CLASS]'

    def __init__(self):
        super().__init__('heap free')

    def run(self, argv):
        self.arguments(argv, 1)
        ours, heap = open_heap()
        if argv and argv[0] in heap.lists:
            print_lists(*heap.listed(argv[0]))
        elif argv and argv[0] in LISTS:  # GDB may know a variable of that name, which is no size
            raise gdb.GdbError(f'{ours.variant} has no list called {argv[0]}: `heap free` shows what there is')
        elif argv:
            self._one_class(ours, heap, number(argv[0]))
        else:
            heading, rows, last, broken = heap.free()
            if heading and rows:
                print_rows(heading, rows)
            gdb.write(f'{last}\n')
            if broken:
                gdb.write(f'  {broken.price}\n')
                print_notes(heap)
                raise broken
        print_notes(heap)

    def _one_class(self, ours, heap, size):
        blocks, broken = chunks_of(heap, (LIVE, FREE, REMOTE))
        sizes = sorted({block.size_class for block in blocks if block.size_class >= max(size, 1)})
        if size < 0 or not sizes:
            raise broken or gdb.GdbError(
                f'{ours.variant} has no class with blocks of {size} bytes: `heap free` shows what '
                'there is')
        free = [block for block in blocks
                if block.size_class == sizes[0] and block.kind in (FREE, REMOTE)]
        if free:
            print_rows(('block', 'bytes', 'state'),
                       [(f'{block.user:#x}', block.usable, block.kind) for block in free])
        gdb.write(f'{count(len(free), "free block")} of {sizes[0]} bytes\n')
        if broken:
            raise broken


def print_lists(rows, broken):
    """Prints free blocks in the order of their lists."""
    if rows:
        print_rows(('list', 'place', 'block', 'bytes'), rows)
    gdb.write(f'{count(len(rows), "free block")}, {sum(row[3] for row in rows)} bytes\n')
    if broken:
        raise broken


class HeapCheck(Command):
    """Verifies every invariant of the heap; names the first that is broken and shows it."""

    def __init__(self):
        super().__init__('heap check')

    def run(self, argv):
        self.arguments(argv, 0)
        _, heap = open_heap()
        print_notes(heap)
        gdb.write(f'ok: {heap.check()}\n')


class HeapStats(Command):
    """The number of live and free blocks of each size class (or power of two)."""

    def __init__(self):
        super().__init__('heap stats')

    def run(self, argv):
        self.arguments(argv, 0)
        _, heap = open_heap()
        sizes, broken = heap.sizes()
        if not sizes and not broken:
            gdb.write('the heap is empty\n')
        most = max((row[1] for row in sizes.values()), default=0)
        if sizes:
            print_rows(('up to', 'live', 'bytes', 'free', 'free bytes', 'of the live bytes'), [
                (size, *row, bar(row[1], most)) for size, row in sorted(sizes.items())])
        print_notes(heap)
        if broken:
            gdb.write(f'  {broken.price}\n')
            raise broken


class HeapHelp(Command):
    """Explains the heap commands on one page, or one of them: heap help [COMMAND]."""

    usage = ' [COMMAND]'
    names = tuple(re.findall(r'^heap ([\w-]+)', Heap.__doc__, re.M))

    def __init__(self):
        super().__init__('heap help')

    def complete(self, text, word):
        return [name for name in self.names if name.startswith(word or '')]

    def run(self, argv):
        self.arguments(argv, 1)
        if argv and argv[0] not in self.names:
            raise gdb.GdbError(f'there is no `heap {argv[0]}`: `heap help` lists what there is')
        if argv:
            gdb.execute(f'help heap {argv[0]}')
        else:
            gdb.write(f'{Heap.__doc__}\n')


BAR = 24


def bar(value, most):
    return '#' * -(-BAR * value // most) if value else ''


# ── a line for each chunk ─────────────────────────────────────────────────────

HEADING = '      #  start                      bytes  state   block                     usable'
CHUNK = '%7s  0x%016x  %12d  %-6s'
BLOCK = '  0x%016x  %12d'


def print_chunks(heap, first, count):
    """Prints the chunks from `first` on (an address if it lies in the heap, else a number) and their
    containers; returns how many. Raises the heap's Broken. From an address on, chunks have no
    numbers, because these would have to be counted from the beginning."""
    lines = [HEADING]
    containers, index, shown, lowest = {}, 0, 0, heap.lowest() if first else None
    by_address = lowest is not None and first >= lowest
    try:
        for chunk in heap.walk(first if by_address else 0):
            if chunk.kind in CONTAINERS:
                containers[chunk.kind] = chunk
                continue
            if shown == count:
                break
            if by_address or index >= first:
                lines += map(container_line, containers.values())
                containers.clear()
                lines.append(chunk_line('·' if by_address else index, chunk))
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


for command in (Heap, HeapChunks, HeapChunk, HeapFree, HeapCheck, HeapStats, HeapHelp):
    command()
gdb.execute('alias heap bins = heap free')
