"""Reads the heap of buddy.c: regions of powers of two, and a tag for every 16 bytes of them."""

from collections import Counter
from functools import cached_property
from itertools import compress
from operator import add
from typing import NamedTuple

import gdb

from .buddy_check import LINKS, check
from .buddy_tags import Odd, Tags
from .chunks import (FREE, FROZEN, LIVE, NOT, REGION, Broken, Chunk, Columns, Place, Reader, Stats,
                     count, owner, owners_note, skipped)
from .memory import PIECE, WORD, Layout, Unreadable
from .printers import MOST, Printed, filled, parts, picture

RECORD = ('start', 'order', 'arena', 'next')


class Region(NamedTuple):
    record: int
    start: int
    order: int
    tags: int  # where they lie

    @property
    def end(self):
        return self.start + (1 << self.order)


class Block(NamedTuple):
    region: Region
    start: int
    order: int
    is_free: bool

    @property
    def size(self):
        return 1 << self.order

    @property
    def state(self):
        return FREE if self.is_free else LIVE


class BuddyReader(Reader):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self.heap = library.symbol('heap')
        self.least, self.chunk, self.free_bit, self.orders = (
            int(library.symbol(name)) for name in ('LEAST', 'CHUNK', 'FREE', 'ORDERS'))
        self.arena_layout = Layout(self.heap['arena'].type.target())
        self.region_layout = self.arena_layout.target('regions')
        self.links = Layout(self.arena_layout.field('free').target().target())
        self.taken = int(library.symbol('limit_taken'))
        arenas = list(self._arenas(int(self.heap['arena'])))
        if not arenas:
            raise Broken('`heap.arena` is NULL')
        # The arena in use. If it is new and still empty, the old one, which holds the blocks.
        self.number = next((i for i, arena in enumerate(arenas) if self._field(arena, 'regions')), 0)
        self.arena = arenas.pop(self.number)
        self.others = arenas
        self.known = Tags(memory, self.least, self.chunk, self.free_bit)
        self.away, self.skips = self.free_bit | self.chunk, {}  # without memory; damage → its end

    def _arenas(self, arena):
        """The arena in use, then those that were frozen."""
        seen = set()
        while arena and arena not in seen:
            seen.add(arena)
            yield arena
            arena = self._field(arena, 'older')

    def _field(self, arena, name):
        try:
            return self.memory.record(self.arena_layout, arena, name)[0]
        except Unreadable as error:
            raise Broken(f'the arena at {arena:#x} is not there: {error}') from None

    # ── regions, and the blocks that the tags name ───────────────────────────

    def regions(self, problems, arena=None):
        """The regions in address order; adds what is wrong with one to `problems`. If the start or the
        order of one is damaged, the other determines it, because the record lies behind the blocks."""
        at, end = self._field(arena or self.arena, 'regions'), 0
        while at:
            try:
                start, order, following = self.memory.record(
                    self.region_layout, at, 'start', 'order', 'next')
            except Unreadable as error:
                self._note(problems, f'the record of a region at {at:#x} is not there: {error}')
                return
            problem = (
                f'its order is {order}' if not self.chunk <= order < self.orders else
                f'it starts at {start:#x}, which is no multiple of its size' if start % (1 << order)
                else f'it starts at {start:#x}, before the one before it ends' if start < end else
                f'its record should lie at {start + (1 << order):#x}' if at != start + (1 << order)
                else None)
            if problem:
                order = self._order(at, start, order)
                self._note(problems, f'region {at:#x}: {problem}', self.show(at),
                           None if order else 'it and the regions behind it are not counted')
                if not order or at - (1 << order) < end:
                    return
            region = Region(at, at - (1 << order), order, at + self.region_layout.offset('tag'))
            yield region
            end, at = region.end, following

    def _note(self, problems, sentence, rows=(), price=None):
        problems.append(Broken(sentence, rows, price or (
            'the regions behind it are not counted' if not rows else 'all blocks are counted')))

    def _order(self, record, start, order):
        """The order of a region if either this start or this order is right, or 0."""
        length = max(record - start, 0)
        for each in (length.bit_length() - 1, order):
            if self.chunk <= each < self.orders and record % (1 << each) == 0 and (
                    record >= 1 << each and (each == order or length == 1 << each)):
                return each
        return 0

    def show(self, record):
        values = self.memory.record(self.region_layout, record, *RECORD)
        return [(f'{record + self.region_layout.offset(name):#x} {name}', f'{value:#x}')
                for name, value in zip(RECORD, values)]

    def where(self, region, address):
        """Where the tag of an address lies."""
        return region.tags + (address - region.start >> self.least)

    def tag(self, region, address):
        try:
            return self.memory.read(self.where(region, address), 1)[0]
        except Unreadable as error:
            raise Broken(f'a tag is missing: {error}') from None

    def _fits(self, region, start, tag):
        """Can a block with this tag begin here?"""
        order = tag & ~self.free_bit
        return self.least <= order <= region.order and start % (1 << order) == 0

    def _misfit(self, region, start, tag):
        return Broken(f'block {start:#x}: its tag is {tag:#x}, and no block of that order can begin '
                      'there' if tag else f'block {start:#x}: its tag is 0, but the block before it '
                      'ends there', [(f'{self.where(region, start):#x} tag', f'{tag:#04x}')])

    def _tags(self, region, address):
        """The tags from an address on, as many as one read returns."""
        at = self.where(region, address)
        end = region.tags + (1 << region.order - self.least)
        return self.memory.stretch(at, min(end, at + PIECE))

    def tagged(self, problems, start=0):
        """(region, address, tag) of every block that ends after `start`, in address order, including
        those without memory; continues after damage, which it adds to `problems`."""
        for region in self.regions(problems):
            if region.end > start:
                yield from self._blocks(region, problems, self._from(region, start))

    def _from(self, region, start):
        if start > region.start:
            try:
                return self._around(region, start).start
            except Broken:
                pass  # the walk from the first block on will report it
        return region.start

    def _blocks(self, region, problems, at):
        least, end, most, mask = self.least, region.end, region.order, ~self.free_bit
        tags, index = b'', 0
        while at < end:
            if index >= len(tags):
                try:
                    tags, index = self._tags(region, at), 0
                except Unreadable as error:
                    problems.append(Broken(f'the tags of a region are missing: {error}', (),
                                           skipped(at, end)))
                    return
            tag = tags[index]
            order = tag & mask
            if least <= order <= most and not at & (1 << order) - 1:
                yield region, at, tag
                at += 1 << order
                index += 1 << order - least
            else:
                problems.append(self._misfit(region, at, tag))
                bad, at = at, self._resume(region, at)
                problems[-1].price = skipped(bad, at)
                self.skips[bad] = at
                tags = b''

    def _resume(self, region, bad):
        """Where the first block behind this one begins: inside blocks all tags are 0."""
        at = bad + (1 << self.least)
        while at < region.end:
            try:
                tags = self._tags(region, at)
            except Unreadable:
                break
            rest = tags.lstrip(b'\0')
            at += len(tags) - len(rest) << self.least
            if rest:
                if self._fits(region, at, rest[0]):
                    return at
                at += 1 << self.least
        return region.end

    def _around(self, region, address):
        """The block that holds the address: where some of its low bits are 0."""
        for order in range(self.least, region.order + 1):
            start = address & -(1 << order)
            tag = self.tag(region, start)
            if tag & ~self.free_bit >= order:
                if not self._fits(region, start, tag):
                    raise self._misfit(region, start, tag)
                return Block(region, start, tag & ~self.free_bit, bool(tag & self.free_bit))
        raise Broken(f'no tag names a block around {address:#x}')

    def _find(self, address):
        """(the block that holds the address, is it in another arena?), or None."""
        problems = []
        for arena in (self.arena, *self.others):
            for region in self.regions(problems, arena):
                if region.start <= address < region.end:
                    return self._around(region, address), arena != self.arena
        if problems:
            raise problems[0]
        return None

    # ── what the commands ask ────────────────────────────────────────────────

    @cached_property
    def _counted(self):
        """(how often each tag is there, start → end of each stretch of memory, problems)."""
        try:
            problems = []
            return *self._swept(problems), problems
        except Odd:
            pass
        problems, stretches, start, end = [], {}, None, None
        counts, away, mask = Counter(), self.away, ~self.free_bit
        for _, at, tag in self.tagged(problems):
            if tag < away:
                if at != end and (end is None or self.skips.get(end) != at):
                    start = at
                stretches[start] = end = at + (1 << (tag & mask))
                counts[tag] += 1
        return counts, stretches, problems

    def _swept(self, problems):
        """As `_counted`, in bulk."""
        counts, stretches, start, end = Counter(), {}, None, None
        for region in self.regions(problems):
            for at, large, tags in self.known.sweep(region):
                if large >= self.away:
                    continue
                if at != end:
                    start = at
                stretches[start] = end = at + (1 << ((large & ~self.free_bit) or self.chunk))
                for tag in (large,) if large else self.known.tags():
                    counts[tag] += tags.count(tag)
        return +counts, stretches

    def walk(self, start=0):
        # Needs a pass of its own, because containers come before their content. If `start` is given,
        # each region is one container.
        problems, within = [], None
        stretches = {} if start else self._counted[1]
        for region, at, tag in self.tagged(problems, start):
            if tag >= self.away:
                continue
            if at in stretches:
                yield Chunk(REGION, at, stretches[at] - at)
            elif start and region != within:
                within = region
                yield Chunk(REGION, region.start, 1 << region.order)
            yield self._block_chunk(at, tag)
        if problems:
            raise problems[0]

    def lowest(self):
        return next((region.start for region in self.regions([])), None)

    @cached_property
    def columns(self):
        found, problems = Columns(), []
        try:
            self._add_all(found, problems)
        except Odd:
            return self.walked()
        found.regions = list(self._counted[1].items())
        return found.ended(problems)

    def _add_all(self, columns, problems):
        sizes = [1 << (tag & ~self.free_bit) for tag in range(2 * self.free_bit)]
        for region in self.regions(problems):
            for at, large, tags in self.known.sweep(region):
                if large:
                    if large < self.away:
                        columns.add(self._block_chunk(at, large))
                    continue
                starts, tags = self.known.blocks(at, tags)
                ends = list(map(add, starts, map(sizes.__getitem__, tags)))
                free = tags.translate(self._free_tags)
                for kind, chosen in ((FREE, free), (LIVE, free.translate(NOT))):
                    columns.starts[kind].extend(compress(starts, chosen))
                    columns.ends[kind].extend(compress(ends, chosen))

    @cached_property
    def _free_tags(self):
        return bytes(tag & self.free_bit != 0 for tag in range(256))

    def _block_chunk(self, at, tag):
        size = 1 << (tag & ~self.free_bit)
        return Chunk(FREE if tag & self.free_bit else LIVE, at, size, at, size, size & 2 ** 32 - 1)

    def stats(self):
        """As counted from the walk, but by tags."""
        stats, (_, stretches, problems) = Stats(self.overhead()), self._counted
        stats.regions = len(stretches)
        stats.mapped = sum(end - start for start, end in stretches.items())
        for size, (live, live_bytes, free, free_bytes) in self.sizes()[0].items():
            stats.live_blocks += live
            stats.live_bytes += live_bytes
            stats.free_blocks += free
            stats.free_bytes += free_bytes
            stats.largest = max(stats.largest, size if free else 0)
        return stats, problems[0] if problems else None

    def sizes(self):
        (counts, _, problems), found = self._counted, {}
        for tag, n in counts.items():
            size, i = 1 << (tag & ~self.free_bit), 2 if tag & self.free_bit else 0
            found.setdefault(size, [0, 0, 0, 0])[i:i + 2] = n, n * size
        return found, problems[0] if problems else None

    def overhead(self):
        return self.heap.type.sizeof + (self.taken >> self.least)

    def fields(self, chunk):
        """The links of a free block; one in quarantine has none."""
        if chunk.kind == FREE:
            try:
                found = self._find(chunk.user)
            except Broken:
                return []
            if found and found[0].is_free:
                return [(chunk.user + self.links.offset(name), name) for name in LINKS]
        return []

    def records(self):
        # Ignores damage, because the caller also walks the heap, and reports it.
        return [(arena, arena + self.arena_layout.size) for arena in (self.arena, *self.others)] + [
            (region.record, region.tags + (1 << region.order - self.least))
            for region in self.regions([])]

    def try_free(self, address):
        found = self._find(address)
        if found is None:
            return False, f'{address:#x} is not a block of this heap'
        block, is_elsewhere = found
        if block.is_free:
            return False, f'double free of {address:#x} (in {block.size} free bytes)'
        if address != block.start:
            return False, (f'{address:#x} is not a block: it lies {address - block.start} bytes into '
                           f'{block.start:#x} ({block.size} bytes)')
        return True, f'{address:#x} is a live block of {block.size} bytes, ' + (
            'and stays one: its arena is frozen' if is_elsewhere else 'and becomes free')

    def place(self, address):
        found = self._find(address)
        if found and found[1]:
            return Place(f'{address:#x} lies in another arena: only one is in use, and '
                         'frees of blocks in a frozen one are ignored', [])
        return self._place(address, found[0]) if found else None

    def _place(self, address, block):
        state, is_away = block.state, block.is_free and block.order >= self.chunk
        rows = [('block', f'{block.start:#x} .. {block.start + block.size:#x}  {block.size} bytes'),
                ('state', f'{state}: its memory went back to the system' if is_away else state),
                ('order', f'{block.order}: blocks of {block.size} bytes'),
                ('buddy', self._buddy(block)),
                ('region', f'{block.region.start:#x} .. {block.region.end:#x}'),
                ('previous', self._neighbour(block.region, block.start - 1)),
                ('next', self._neighbour(block.region, block.start + block.size))]
        into = address - block.start
        where = f'{into} bytes into the {state} block {block.start:#x}' if into else (
            f'the start of a {state} block')
        return Place(f'{address:#x} is {where}', rows)

    def _buddy(self, block):
        if block.order == block.region.order:
            return 'none: the block is the whole region'
        at = block.start ^ 1 << block.order
        tag = self.tag(block.region, at)
        order = tag & ~self.free_bit
        return f'{at:#x}  {"split" if order != block.order else FREE if tag != order else LIVE}'

    def _neighbour(self, region, address):
        if not region.start <= address < region.end:
            return 'none in this region'
        try:
            block = self._around(region, address)
        except Broken as broken:
            return f'unknown: {broken}'
        if block.is_free and block.order >= self.chunk:
            return 'none: the memory there went back to the system'
        return f'{block.start:#x}  {block.state}  {block.size} bytes'

    def free(self):
        sizes, broken = self.sizes()
        rows = [(size, *row[2:]) for size, row in sorted(sizes.items()) if row[2]]
        total, size = sum(row[1] for row in rows), sum(row[2] for row in rows)
        return (('block', 'free', 'free bytes'), rows,
                f'{count(total, "free block")}, {size} bytes', broken)

    def notes(self):
        pointer = self.heap['arena'].type.unqualified()
        lock = gdb.Value(self.arena).cast(pointer)['lock']
        frozen = [f'this heap was {FROZEN}'] if self.number else []
        return owners_note([owner(lock)]) + frozen + [
            f'another arena: {other:#x}' for other in self.others if self._field(other, 'regions')]

    def check(self):
        return check(self)


# ── pretty printers for `print heap` ─────────────────────────────────────────


def region_blocks(value):
    """A picture of the first blocks of a region, in address order: |##--#|"""
    order, tags = int(value['order']), int(value['tag'].address)
    states, at = [], 0
    while at < 1 << order and len(states) < MOST:
        tag = gdb.selected_inferior().read_memory(tags + (at >> 4), 1)[0][0]
        if not tag:
            break
        states.append('-' if tag & 0x80 else '#')
        at += 1 << (tag & 0x7f)
    line = f'2^{order} bytes at {int(value["start"]):#x}  {picture(states, len(states))}'
    return Printed(line, [('next', value['next'])])


def arena(value):
    """Shows the first region instead of its address."""
    regions = value['regions']
    free = [('free' + index, first) for index, first in filled(value['free'])]
    return Printed(None, [*parts(value, 'call', 'free', 'regions'), *free,
                          ('regions', regions.dereference() if regions else regions)])


PRINTERS = {'arena': arena, 'region': region_blocks}
