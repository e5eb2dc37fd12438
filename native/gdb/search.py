"""`heap find`, `heap refs`, `heap leaks`: what live blocks contain, and what points to them."""

from bisect import bisect_right
from collections import deque

import gdb

from .chunks import count
from .command import Command, number, open_heap
from .memory import ALL, STRETCH, WORD, Unreadable, as_words
from .objects import Types
from .printing import MANY, print_broken, print_groups, print_many, print_notes
from .roots import Roots, pieces

PREVIEW = 16  # bytes of a block to show


class Blocks:
    """The live blocks of a heap, searchable by address; `broken`: why they are incomplete, or None."""

    def __init__(self, ours, heap):
        self.ours, self.heap, self.memory = ours, heap, heap.memory
        self._types = Types(heap.memory)
        self._views = {}  # pieces of STRETCH bytes, because a read for each block would take long
        self.starts, self.ends, self.regions, self.broken = heap.live()

    def index(self, address):
        """The number of the block that contains the address, or None."""
        i = bisect_right(self.starts, address) - 1
        return i if i >= 0 and address < self.ends[i] else None

    def words(self, i):
        """(address, memoryview of 64-bit words) of the pieces of a block."""
        start, end = self.starts[i], self.ends[i]
        region, number = self._region(start), start // STRETCH
        if (region, number) not in self._views:
            self._views[region, number] = self._view(region, number)
        base, words = self._views[region, number]
        if words is None or end > base + len(words) * WORD:
            return pieces(self.memory, start, end)
        return [(start, words[start - base >> 3:end - base >> 3])]

    def _region(self, address):
        """The number of the region that begins at the address or before it; -1 without one."""
        return bisect_right(self.regions, (address, ALL)) - 1

    def _view(self, region, number):
        """(where it begins, the words of a region in the number-th piece of STRETCH bytes or None if that
        cannot be read)."""
        start, end = self.regions[region] if region >= 0 else (0, 0)
        start, end = max(start, number * STRETCH), min(end, (number + 1) * STRETCH)
        try:
            return start, as_words(self.memory.once(start, end - start)) if start < end else None
        except Unreadable:
            return start, None

    def stretch(self, address):
        """The memory from an address in a region on: as much as one read returns, or b''."""
        i = self._region(address)
        try:
            return self.memory.stretch(address, self.regions[i][1]) if i >= 0 else b''
        except Unreadable:
            return b''

    def all_words(self):
        """(address, memoryview of 64-bit words) of pieces that contain all blocks, and the memory between
        them."""
        for start, end in self.regions:
            while start < end:
                data = self.stretch(start)
                if data:
                    yield start, as_words(data)
                    start += len(data)
                else:  # continue with the next block
                    i = bisect_right(self.starts, start)
                    start = self.starts[i] if i < len(self.starts) else end

    def bounds(self):
        return (self.starts[0], self.ends[-1]) if self.starts else (0, 0)

    def what(self, i):
        """The C++ type of a block and who allocated it, as far as known; used to group blocks."""
        start = self.starts[i]
        return self._types.of(start, self.ends[i] - start), self.heap.site(start)

    def roots(self):
        return Roots(self.memory, self.regions + self.heap.records() + self.ours.data())

    def preview(self, i):
        """The first bytes as words, and as text."""
        try:
            data = self.memory.read(self.starts[i], min(PREVIEW, self.ends[i] - self.starts[i]))
        except Unreadable:
            return ''
        words = ' '.join(data[i:i + 8][::-1].hex() for i in range(0, len(data), 8))
        return words + '  ' + ''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in data)


def open_blocks():
    """The blocks of the heap; kept with its reader, until the program continues."""
    ours, heap = open_heap()
    if 'blocks' not in vars(heap):
        heap.blocks = Blocks(ours, heap)
    return heap.blocks


def finish(blocks):
    print_notes(blocks.heap)
    if blocks.broken:
        gdb.write(f'  {blocks.broken.price}\n')
        print_broken(blocks.broken)


class HeapFind(Command):
    """The live blocks that contain a value: heap find VALUE.

VALUE is any expression; its bytes are searched for: `heap find "text"`, `heap find p`, `heap find
(short)7`, `heap find *node`. Shows each place, and the block that contains it; more than twenty are
grouped by the blocks' size and type, unless the command begins with -all."""

    usage = ' [-all] VALUE'

    def __init__(self):
        super().__init__('heap find')

    def invoke(self, argument, from_tty):
        self.one_expression(argument, from_tty)

    def run(self, argv):
        if not argv:
            raise gdb.GdbError('heap find needs a value: `heap find p`, `heap find "text"`')
        everything, text = asked_for_all(argv[0])
        needle, blocks = as_bytes(text), open_blocks()
        rows = []
        for at, i in places(blocks, needle):
            start, end = blocks.starts[i], blocks.ends[i]
            rows.append((f'{at:#x}', f'{at - start} bytes into', f'{start:#x}', end - start))
        if len(rows) > MANY and not everything:
            keys = [(row[3], row[1], *blocks.what(blocks.index(int(row[2], 16)))) for row in rows]
            print_groups(('in blocks of', 'at', 'type', 'allocated by'), rows, keys,
                         [row[3] for row in rows], f'heap find -all {text}')
        elif rows:
            print_many(('at', '', 'block', 'usable'), rows, True, '')
        gdb.write(f'{count(len(rows), "place")} with these {count(len(needle), "byte")}: '
                  f'{needle[:PREVIEW].hex(" ")}{" …" if len(needle) > PREVIEW else ""}\n')
        finish(blocks)


def asked_for_all(text):
    """(whether it begins with -all, the rest)."""
    return (True, text[4:].strip()) if text.startswith('-all ') else (False, text)


def places(blocks, needle):
    """(address, number of the live block) of each place that contains the bytes, in address order.
    Searches whole stretches of memory, because a read for each block would take long."""
    starts, ends, length = blocks.starts, blocks.ends, len(needle)
    base, data, i, at = 0, b'', 0, 0
    while i < len(starts):
        at = max(at, starts[i])
        if at + length > ends[i]:
            i += 1
            continue
        if not base <= at <= base + len(data) - length:
            base, data = at, blocks.stretch(at)
            if len(data) < length:
                data, i = b'', i + 1
                continue
        found = data.find(needle, at - base)
        at = base + (found if found >= 0 else len(data) - length + 1)
        i = max(i, bisect_right(starts, at) - 1)
        if found >= 0 and at + length <= ends[i]:
            yield at, i
            at += 1


def as_bytes(text):
    """The bytes of an expression's value in memory."""
    try:
        value = gdb.parse_and_eval(text)
        type_ = value.type.strip_typedefs()
        if type_.code == gdb.TYPE_CODE_ARRAY and type_.target().sizeof == 1:
            data = bytes(int(value[i]) & 255 for i in range(type_.range()[1] + 1))
            data = data.rstrip(b'\0')
        elif type_.code in (gdb.TYPE_CODE_INT, gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_ENUM,
                            gdb.TYPE_CODE_CHAR, gdb.TYPE_CODE_BOOL):
            data = (int(value) & (1 << 8 * type_.sizeof) - 1).to_bytes(type_.sizeof, 'little')
        elif value.address is not None:
            data = bytes(gdb.selected_inferior().read_memory(int(value.address), type_.sizeof))
        else:
            raise gdb.error('only integers, pointers, strings and variables can be searched for')
    except gdb.error as error:
        raise gdb.GdbError(f'{text} is no value to search for: {error}') from None
    if not data:
        raise gdb.GdbError(f'{text} is empty: there is nothing to search for')
    return data


class HeapRefs(Command):
    """What points to a block: heap refs ADDR.

Looks for pointers to the live block that contains ADDR (to ADDR itself if there is none) in the live
blocks, in globals and all other writable memory, on the stacks and in the registers of all threads.
Anything that looks like a pointer counts as one. More than twenty are grouped by place, unless the
command begins with -all."""

    usage = ' [-all] ADDR'

    def __init__(self):
        super().__init__('heap refs')

    def invoke(self, argument, from_tty):
        self.one_expression(argument, from_tty)

    def run(self, argv):
        if not argv:
            raise gdb.GdbError('heap refs needs an address: `heap refs p`')
        everything, text = asked_for_all(argv[0])
        address, blocks = number(text) & 2 ** 64 - 1, open_blocks()
        i = blocks.index(address)
        start, end = (address, address + 1) if i is None else (blocks.starts[i], blocks.ends[i])
        roots = blocks.roots()
        rows = [(f'register {name}', f'thread {thread}', f'{value:#x}')
                for value, name, thread in roots.registers if start <= value < end]
        for base, words in roots.words():
            rows += [(f'{at:#x}', describe(at, roots), f'{value:#x}')
                     for at, value in hits(base, words, start, end)]
        for base, words in blocks.all_words():
            for at, value in hits(base, words, start, end):
                j = blocks.index(at)
                if j is not None and at + WORD <= blocks.ends[j]:
                    block = blocks.starts[j]
                    rows.append((f'{at:#x}', f'{at - block} bytes into the live block {block:#x}',
                                 f'{value:#x}'))
        what = f'{start:#x}' if i is None else f'the live block {start:#x} ({end - start} bytes)'
        if len(rows) > MANY and not everything:
            keys = [root_of(blocks, row) for row in rows]
            print_groups(('from', 'type', 'allocated by'), rows, keys, [WORD] * len(rows),
                         f'heap refs -all {text}')
        elif rows:
            print_many(('at', 'which is', 'pointer'), rows, True, '')
        gdb.write(f'{count(len(rows), "pointer")} to {what}\n')
        finish(blocks)


def root_of(blocks, row):
    """(the kind of place that points here; if it is a block, its type, and who allocated it)."""
    if ' live block ' not in row[1]:
        return row[1].split(' + ')[0] if row[0].startswith('0x') else 'registers', '', ''
    i = blocks.index(int(row[0], 16))
    return f'live blocks of {blocks.ends[i] - blocks.starts[i]} bytes', *blocks.what(i)


def hits(base, words, start, end):
    return [(base + i * WORD, value) for i, value in enumerate(words) if start <= value < end]


def describe(at, roots):
    """What is at an address: a variable, a stack, or other memory."""
    symbol = gdb.execute(f'info symbol {at:#x}', to_string=True).split(' in section ')
    if len(symbol) == 2:
        return symbol[0]
    inside = next((each for each in roots.ranges if each[0] <= at < each[1]), (0, 0))
    threads = [thread for pointer, thread in roots.stacks if inside[0] <= pointer < inside[1]]
    return f'on the stack of thread {threads[0]}' if threads else 'other writable memory'


class HeapLeaks(Command):
    """Live blocks that nothing points to: heap leaks [all].

Starts from globals and other writable memory, stacks and registers, and follows every word that
looks like a pointer to a live block, or into it. A block that it never reaches is lost: the program
cannot free it any more. `held by` names another lost block that points to it. A stale value on a
stack may hide a leak. More than twenty are grouped by size, holder, C++ type and, in debug builds,
by who allocated them; `all` lists them one by one."""

    usage = ' [all]'

    def __init__(self):
        super().__init__('heap leaks')

    def complete(self, text, word):
        return [each for each in ('all',) if each.startswith(word or '')]

    def run(self, argv):
        self.arguments(argv, 1)
        if argv and argv != ['all']:
            raise gdb.GdbError(f'usage: heap leaks{self.usage}')
        blocks = open_blocks()
        if blocks.ours.variant == 'dumb':
            raise gdb.GdbError('dumb remembers no blocks, so nothing can be said about lost ones')
        lost = unreached(blocks)
        holders = {}
        for i in lost:
            for j in pointed(blocks, i):
                if j != i:
                    holders.setdefault(j, blocks.starts[i])
        sizes = [blocks.ends[i] - blocks.starts[i] for i in lost]
        known = [blocks.what(i) for i in lost]
        if len(lost) > MANY and not argv:
            keys = [(size, 'another lost block' if i in holders else 'nothing', *what)
                    for i, size, what in zip(lost, sizes, known)]
            print_groups(('of', 'held by', 'type', 'allocated by'), lost, keys, sizes, 'heap leaks all')
        elif lost:
            rows = [(f'{blocks.starts[i]:#x}', size, f'{holders[i]:#x}' if i in holders else '',
                     blocks.preview(i), *what) for i, size, what in zip(lost, sizes, known)]
            print_many(('block', 'bytes', 'held by', 'begins with', 'type', 'allocated by'), rows, True, '')
        gdb.write(f'{count(len(lost), "block")}, {sum(sizes)} bytes, lost: nothing that the program '
                  'still has leads there\n' if lost else
                  f'nothing is lost: {count(len(blocks.starts), "live block")}, all within reach\n')
        finish(blocks)


def unreached(blocks):
    """The numbers of the blocks that are not reachable from any root."""
    low, high = blocks.bounds()
    reached, queue = bytearray(len(blocks.starts)), deque()

    def reach(words):
        for value in words:
            if low <= value < high:
                i = blocks.index(value)
                if i is not None and not reached[i]:
                    reached[i] = 1
                    queue.append(i)

    roots = blocks.roots()
    reach(value for value, _, _ in roots.registers)
    for _, words in roots.words():
        reach(words)
    while queue:
        for _, words in blocks.words(queue.popleft()):
            reach(words)
    return [i for i, seen in enumerate(reached) if not seen]


def pointed(blocks, i):
    """The blocks that block i points to."""
    low, high = blocks.bounds()
    for _, words in blocks.words(i):
        for value in words:
            if low <= value < high:
                j = blocks.index(value)
                if j is not None:
                    yield j


for command in (HeapFind, HeapRefs, HeapLeaks):
    command()
