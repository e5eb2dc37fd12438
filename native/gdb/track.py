"""The table that `--track` keeps (native/tools/track.c), as it lies in memory: which blocks of any malloc are
live, and who allocated them.

A malloc with a reader keeps it; `TrackedSites` adds the stacks. `tracked.py` reads the heap of all others.
"""

from array import array
from collections import defaultdict
from functools import cached_property
from itertools import compress
from operator import add
from typing import NamedTuple

import gdb

from . import library
from .chunks import Broken, Place, count
from .memory import ALL, STRETCH, WORD, Layout, Unreadable, as_words
from .symbols import Code

ALIGNMENT = 16  # all blocks within one begin the search at the same slot
MOST_SLOTS, MOST_RANGES, MOST_NODES = 1 << 30, 1 << 24, 1 << 24
PROBES = 1024  # slots that are looked at for one block: far more than there ever are between two empty ones
HASH, SHIFT = 0x9e3779b97f4a7c15, 20  # slot_first in profile/blocks.h
DEEPEST, NAMED = 256, 3  # frames of a stack; of those, how many a row has room for
OUTERMOST = ('', '_start', '__libc_start_main', '__libc_start_call_main', 'start_thread', 'clone3', '__clone3')
NODE_ADDRESS = (1 << 56) - 1
LARGEST = 1 << 57  # no address is larger
SIZE_BITS = 33  # of a block's size; its place in a MiB has the other 20 of the 53 that a float is exact in


class Tracked(NamedTuple):
    """A block of the table."""

    start: int
    size: int
    stack: int
    thread: int

    @property
    def end(self):
        return self.start + max(self.size, 1)


def table(memory):
    """The Table of this program, or None where nothing is tracked."""
    objfile = tracker()
    return Table(library.Tool(objfile), memory) if objfile and not library.rebuilt([objfile]) else None


def tracker():
    """The file of the library that keeps it, if the program has that."""
    return next((objfile for objfile in gdb.objfiles()
                 if objfile.owner is None and library.tool(objfile.filename) == 'track'), None)


class Table:
    """What is remembered belongs to a reader: it holds as long as the program stands still."""

    def __init__(self, tool, memory):
        self.tool, self.memory = tool, memory
        blocks, ranges = tool.symbol('blocks'), tool.symbol('ranges')
        layout = Layout(blocks['slots'].type.target())
        self._unpack = layout.unpacker('address', 'size', 'stack', 'thread')
        self._slot, self._at = layout.size, int(blocks['slots'])
        self._size, self.used = int(blocks['size']), int(blocks['used'])
        self._words = {name: layout.offset(name) // WORD for name in ('address', 'size')}
        self._ranges, self._count, self._room = (int(ranges[name]) for name in ('list', 'count', 'room'))
        track = tool.symbol('track')
        self.bytes, self.outside = int(track['bytes']), int(track['outside'])
        self.missed, self.holder = int(track['missed']), holder(track['lock'])
        self._code = Code()

    def require_sound(self):
        """Raises Broken where the table's own variables make no sense."""
        if self._size & (self._size - 1) or self._size > MOST_SLOTS or 2 * self.used > self._size or (
                self._count > min(self._room, MOST_RANGES)):
            raise Broken('the table of --track is overwritten',
                         [('slots', f'{self._size:#x}'), ('used', f'{self.used:#x}'),
                          ('ranges', f'{self._count:#x}')], 'nothing is counted')

    # ── one block ────────────────────────────────────────────────────────────

    def near(self, address):
        """The blocks that begin in the 16 bytes around an address."""
        granule, mask = address // ALIGNMENT, self._size - 1
        found, i = [], (granule * HASH & ALL) >> SHIFT & mask
        for _ in range(min(self._size, PROBES)):
            try:
                data = self.memory.read(self._at + (i & mask) * self._slot, self._slot)
            except Unreadable:
                break
            block = Tracked(*self._unpack(data, 0))
            if not block.start:
                break
            if block.start // ALIGNMENT == granule and block.end < LARGEST:
                found.append(block)
            i += 1
        return sorted(found)

    def find(self, address):
        """The block that begins here, or None."""
        return next((block for block in self.near(address) if block.start == address), None)

    # ── all of them ──────────────────────────────────────────────────────────

    def columns(self, *names):
        """These fields of all blocks, as arrays, piece by piece."""
        self.require_sound()
        step, end = STRETCH * self._slot // WORD, self._at + self._size * self._slot
        for at in range(self._at, end, step):
            try:
                words = as_words(self.memory.once(at, min(step, end - at)))
            except Unreadable:
                raise Broken('the table of --track cannot be read', [('slots', f'{at:#x}')],
                             'nothing is counted') from None
            used = words[self._words['address']::self._slot // WORD].tolist()
            columns = (words[self._words[name]::self._slot // WORD].tolist() for name in names)
            yield [array('Q', compress(column, used)) for column in columns]

    @cached_property
    def by_address(self):
        """(starts, sizes) of all blocks, in address order. Sorts those of each MiB by themselves, place and size in one
        float: that takes a fifth of the time that all numbers together take, and below 2^53 floats are exact."""
        buckets, starts, sizes = defaultdict(list), array('Q'), array('Q')
        inside, most = STRETCH - 1, (1 << SIZE_BITS) - 1
        for some, their_sizes in self.columns('address', 'size'):
            if max(their_sizes, default=0) > most:
                return self._one_by_one()
            for start, size in zip(some, their_sizes):  # runs once for each of millions
                buckets[start // STRETCH].append((start & inside) << SIZE_BITS | size)
        for at in sorted(buckets):
            both = list(map(int, sorted(map(float, buckets.pop(at)))))
            starts.extend([at * STRETCH + (each >> SIZE_BITS) for each in both])
            sizes.extend([each & most for each in both])
        return starts, sizes

    def _one_by_one(self):
        """As `by_address`, if there is a block of gigabytes."""
        pairs = sorted(pair for columns in self.columns('address', 'size') for pair in zip(*columns))
        return array('Q', [start for start, _ in pairs]), array('Q', [size for _, size in pairs])

    def ends(self):
        """Where each of these ends. Broken where one cannot."""
        starts, sizes = self.by_address
        if starts and (max(sizes) >= LARGEST or starts[-1] >= LARGEST):
            raise Broken('the table of --track is overwritten: a block in it lies outside of all memory', [],
                         'nothing is counted')
        return array('Q', map(add, starts, sizes if all(sizes) else [size or 1 for size in sizes]))

    @cached_property
    def ranges(self):
        """(start, end) of what the malloc has mapped, as far as that was seen, in address order."""
        self.require_sound()
        if not self._count:
            return []
        try:
            words = as_words(self.memory.once(self._ranges, self._count * 2 * WORD))
        except Unreadable:
            return []
        return list(zip(words[::2], words[1::2]))

    def records(self):
        """(start, end) of what leads to every block, lost ones too."""
        return [(self._at, self._at + self._size * self._slot),
                (self._ranges, self._ranges + self._room * 2 * WORD), *self.tool.data()]

    # ── stacks ───────────────────────────────────────────────────────────────

    @cached_property
    def _nodes(self):
        """{number: (return address, the number of the caller's node)}."""
        tree = self.tool.symbol('track')['tree']
        at, nodes = int(tree['table']), {}
        if not at:
            return nodes
        try:
            size = as_words(self.memory.read(at, WORD))[0] + 1
            if size & (size - 1) or size > MOST_NODES:
                return nodes  # overwritten
            words = as_words(self.memory.once(at + WORD, size * 2 * WORD))
        except Unreadable:
            return nodes
        for key, place in zip(words[::2], words[1::2]):
            if place >> 32:
                nodes[place >> 32] = key & NODE_ADDRESS, place & 0xffffffff
        return nodes

    def stack(self, number):
        """The return addresses of a stack, the innermost first."""
        found = []
        while number in self._nodes and len(found) < DEEPEST:
            address, number = self._nodes[number]
            found.append(address)
        return found

    @cached_property
    def _said(self):
        return {}

    def site(self, address):
        """By whom the block that begins here was allocated, in a few words, or ''."""
        block = self.find(address) if self._size else None
        if block is None:
            return ''
        if block.stack not in self._said:
            names = [name for name in map(self._code.name, self.stack(block.stack)) if name not in OUTERMOST]
            self._said[block.stack] = ' < '.join(name for name, _ in zip(names, range(NAMED)))
        return self._said[block.stack]

    def callers(self, address):
        """By whom, with lines: rows of (label, text)."""
        block = self.find(address) if self._size else None
        if block is None:
            return []
        lines = [line for frame in self.stack(block.stack) for line in self._code.functions(frame)]
        return [('asked for', f'{count(block.size, "byte")}, by thread {block.thread}'),
                *(('' if i else 'allocated', line) for i, line in enumerate(lines))]

    def notes(self):
        notes = []
        if self.missed:
            notes.append(f'{count(self.missed, "call")} by signal handlers are not in the table of --track')
        if self.holder:
            notes.append(f'thread {self.holder} has stopped while it changed the table of --track: its block may be '
                         'missing')
        return notes


def holder(mutex):
    """The thread (its LWP) that holds it, or 0."""
    return int(mutex['__data']['__owner']) if int(mutex['__data']['__lock']) else 0


class TrackedSites:
    """The reader of a malloc, and who allocated each of its blocks; where it knows that, it keeps its word."""

    def __init__(self, reader, known):
        self._reader, self._known = reader, known

    def __getattr__(self, name):
        return getattr(self._reader, name)

    def site(self, address):
        return self._reader.site(address) or self._known.site(address)

    def callers(self, address):
        return self._reader.callers(address) or self._known.callers(address)

    def place(self, address):
        place = self._reader.place(address)
        if place is None or any(label == 'allocated' for label, _ in place.rows):
            return place
        for chunk in self._reader.walk(address):
            if chunk.user and chunk.end > address:
                return Place(place.sentence, place.rows + self._known.callers(chunk.user))
        return place

    def records(self):
        return self._reader.records() + self._known.records()

    def notes(self):
        return self._reader.notes() + self._known.notes()
