"""Reads the heap of list.c: answers the commands from its ring of chunks."""

from collections import Counter
from functools import cached_property
from operator import sub

import gdb

from .chunks import (FREE, FROZEN, LIVE, REGION, Broken, Chunk, Place, Reader, Stats, count,
                     owner, owners_note, up_to)
from .list_ring import FIELDS, Arena, Odd, Ring
from .memory import Layout, Unreadable


class ListReader(Reader):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self.heap = library.symbol('heap')
        layout = Layout(self.heap['arena'].type.target())
        first = int(self.heap['first'].address)
        arenas, wrong = self._arenas(layout, int(self.heap['arena']))
        if not any(arena.start for arena in arenas) and wrong:
            arenas, _ = self._arenas(layout, first)
            wrong.price = 'the first arena is shown instead, which a fork may have frozen'
        if not arenas:
            raise wrong
        # The arena in use. If it is new and still empty, the old one, which holds the blocks.
        self.number = next((i for i, arena in enumerate(arenas) if arena.start), 0)
        self.arena = arenas.pop(self.number)
        self.others = arenas
        self.ring = Ring(memory, layout.target('sentinel'), self.arena, wrong)

    def _arenas(self, layout, address):
        """(the arena in use, then frozen ones; the Broken because of which they are incomplete or None)."""
        found, seen, own = [], set(), int(self.library.symbol('first_sentinel').address)
        if not address:
            return found, Broken('`heap.arena` is NULL')
        while address and address not in seen:
            seen.add(address)
            try:
                sentinel, start, end, older = self.memory.record(
                    layout, address, 'sentinel', 'start', 'end', 'older')
            except Unreadable as error:
                return found, Broken(f'the arena at {address:#x} is not there: {error}')
            if address == int(self.heap['first'].address) and sentinel != own:
                return [*found, Arena(address, own, start, end)], Broken(
                    f'the sentinel of the first arena is said to be {sentinel:#x}, not {own:#x}', (),
                    'the blocks are counted, from its sentinel on')
            found.append(Arena(address, sentinel, start, end))
            address = older
        return found, None

    def lowest(self):
        return self.ring.start

    def walk(self, start=0):
        # Needs a pass of its own, because containers come before their content. If `start` is given,
        # the arena is one container.
        regions = {} if start else self.ring.regions()
        problems, header = [], self.ring.header_size
        if start and self.ring.start < self.ring.end:
            yield Chunk(REGION, self.ring.start, self.ring.end - self.ring.start)
        for at, size, free, _ in self.ring.chunks(problems, start):
            if at in regions:
                yield Chunk(REGION, at, regions[at] - at)
            if at + header + size > start:
                yield Chunk(FREE if free else LIVE, at, header + size, at + header, size)
        if problems:
            raise problems[0]

    @cached_property
    def columns(self):
        try:
            return self.ring.sweep()
        except Odd:
            return self.walked()

    @cached_property
    def _counted(self):
        """(size → live chunks, size → free ones, [(start, end)] of the regions, why that is incomplete or None)."""
        try:
            return *self.ring.tally(), None
        except Odd:
            found = self.columns
        sizes = [Counter(map(sub, found.ends[kind], found.starts[kind])) for kind in (LIVE, FREE)]
        return *sizes, found.regions, found.broken

    def stats(self):
        """As counted from the walk, without an object for each chunk."""
        live, free, regions, broken = self._counted
        stats = Stats()
        stats.regions, stats.mapped = len(regions), sum(end - start for start, end in regions)
        stats.live_blocks, stats.live_bytes = total(live)
        stats.free_blocks, stats.free_bytes = total(free)
        stats.header_bytes = self.overhead() + self.ring.header_size * (stats.live_blocks + stats.free_blocks)
        stats.largest = max(free, default=0)
        return stats, broken

    def sizes(self):
        found = {}
        for i, sizes in enumerate(self._counted[:2]):
            for size, n in sizes.items():
                row = found.setdefault(up_to(size), [0, 0, 0, 0])
                row[2 * i] += n
                row[2 * i + 1] += n * size
        return found, self._counted[3]

    def overhead(self):
        return self.heap.type.sizeof + self.ring.header_size

    def header(self, chunk):
        return chunk.start, self.ring.header_size

    def fields(self, chunk):
        return [(chunk.start + self.ring.layout.offset(name), name) for name in FIELDS]

    def records(self):
        size = self.heap['arena'].type.target().sizeof
        return [(arena.address, arena.address + size) for arena in (self.arena, *self.others)]

    def place(self, address):
        for other in self.others:
            if other.start <= address < other.end:
                return Place(f'{address:#x} lies in another arena: only one is in use, and frees '
                             'of blocks in a frozen one are ignored',
                             [('arena', f'{other.start:#x} .. {other.end:#x}')])
        if not self.ring.start <= address < self.ring.end:
            return None
        found = self.ring.skim(address)
        return self._between(address, *found) if found else self._walk_to(address)

    def _between(self, address, before, at, following):
        size, free = self.memory.record(self.ring.layout, at, 'size', 'free')
        if address >= at + self.ring.header_size + size:
            return self._hole(address, at, following)
        return self._chunk_place(address, at, size, free, before, following)

    def _walk_to(self, address):
        """The Place, every invariant verified on the way; Broken at the first that does not hold."""
        before = self.ring.sentinel
        for at, size, free, following in self.ring.headers():
            if address < at:
                return self._hole(address, before, at)
            if address < at + self.ring.header_size + size:
                return self._chunk_place(address, at, size, free, before, following)
            before = at
        return self._hole(address, before, self.ring.sentinel)

    def _hole(self, address, before, following):
        return Place(f'{address:#x} lies between the chunks: somebody else moved the break there', [
            ('previous', self.ring.describe(before)), ('next', self.ring.describe(following))])

    def _chunk_place(self, address, at, size, free, before, following):
        block, end = at + self.ring.header_size, at + self.ring.header_size + size
        state = FREE if free else LIVE
        if address < block:
            where = f'{address - at} bytes into the header of the {state} block {block:#x}'
        elif address == block:
            where = f'the start of a {state} block'
        else:
            where = f'{address - block} bytes into the {state} block {block:#x}'
        return Place(f'{address:#x} is {where}', [
            ('block', f'{block:#x} .. {end:#x}  {size} bytes'),
            ('chunk', f'{at:#x} .. {end:#x}  {end - at} bytes with its header'),
            ('state', state),
            ('class', 'none: list has no size classes'),
            ('previous', self.ring.describe(before)),
            ('next', self.ring.describe(following)),
        ])

    def free(self):
        free, broken = self._counted[1], self._counted[3]
        rows = [(size, n, n * size) for size, n in sorted(free.items())]
        blocks, size = total(free)
        return (('bytes', 'blocks', 'in all'), rows,
                f'{count(blocks, "free block")}, {size} bytes; the largest has {max(free, default=0)}', broken)

    def check(self):
        if self.ring.wrong:
            raise self.ring.wrong
        chunks, before, before_end, before_free = 0, None, None, False
        for at, size, free, _ in self.ring.headers():
            if free and before_free and before_end == at:
                raise Broken(f'chunks {before:#x} and {at:#x} are free, neighbours, and not merged',
                             [*self.ring.show(before), *self.ring.show(at)])
            chunks, before, before_free = chunks + 1, at, free
            before_end = at + self.ring.header_size + size
        return (f'{count(chunks, "chunk")}: links, order, sizes and states are sound, and no two '
                'free neighbours are left unmerged')

    def notes(self):
        pointer = self.heap['arena'].type
        lock = gdb.Value(self.arena.address).cast(pointer)['lock']
        frozen = [f'this heap was {FROZEN}'] if self.number else []
        return owners_note([owner(lock)]) + frozen + [
            f'another arena: {other.start:#x} .. {other.end:#x}'
            for other in self.others if other.start]


def total(sizes):
    """(how many chunks there are in a Counter of sizes, their bytes)."""
    return sum(sizes.values()), sum(size * n for size, n in sizes.items())
