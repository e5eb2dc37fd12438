"""Reads the heap of buddy.c: regions of powers of two, and a tag for every 16 bytes of them."""

from typing import NamedTuple

import gdb

from .chunks import (FREE, FROZEN, LIVE, REGION, Broken, Chunk, Place, Reader, count, owner,
                     owners_note, stretches)
from .memory import Layout, Unreadable
from .printers import MOST, Printed, filled, parts, picture

WINDOW = 4096  # tags read at once
LINKS = ('next', 'prev')


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
    def end(self):
        return self.start + (1 << self.order)


class BuddyReader(Reader):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self.least, self.chunk, self.free_bit, self.orders = (
            int(library.symbol(name)) for name in ('LEAST', 'CHUNK', 'FREE', 'ORDERS'))
        self.arena_layout = Layout(self.heap['arena'].type.target())
        self.region_layout = self.arena_layout.target('regions')
        self.links = Layout(self.arena_layout.field('free').target().target())
        self.taken = int(library.symbol('limit_taken'))
        arenas = list(self._arenas(int(self.heap['arena'])))
        if not arenas:
            raise Broken('`heap.arena` is NULL')
        # The arena in use, unless it has just taken over: whoever looks then wants the old one.
        self.number = next((i for i, arena in enumerate(arenas) if self._field(arena, 'regions')), 0)
        self.arena = arenas.pop(self.number)
        self.others = arenas

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

    def regions(self, arena=None):
        """The regions in address order; Broken at the first impossible one."""
        at, end = self._field(arena or self.arena, 'regions'), 0
        while at:
            try:
                start, order, following = self.memory.record(
                    self.region_layout, at, 'start', 'order', 'next')
            except Unreadable as error:
                raise Broken(f'the record of a region at {at:#x} is not there: {error}') from None
            problem = (
                f'its order is {order}' if not self.chunk <= order < self.orders else
                f'it starts at {start:#x}, which is no multiple of its size' if start % (1 << order)
                else f'it starts at {start:#x}, before the one before it ends' if start < end else
                f'its record should lie at {start + (1 << order):#x}' if at != start + (1 << order)
                else None)
            if problem:
                raise Broken(f'region {at:#x}: {problem}', self._show(at))
            region = Region(at, start, order, at + self.region_layout.offset('tag'))
            yield region
            end, at = region.end, following

    def _show(self, record):
        names = ('start', 'order', 'arena', 'next')
        values = self.memory.record(self.region_layout, record, *names)
        return [(f'{record + self.region_layout.offset(name):#x} {name}', f'{value:#x}')
                for name, value in zip(names, values)]

    def _tag(self, region, address):
        where = region.tags + (address - region.start >> self.least)
        try:
            return self.memory.read(where, 1)[0]
        except Unreadable as error:
            raise Broken(f'a tag is missing: {error}') from None

    def _block(self, region, start, tag):
        """What a tag names; Broken when it names nothing that can be there."""
        order = tag & ~self.free_bit
        if not self.least <= order <= region.order or start % (1 << order):
            where = region.tags + (start - region.start >> self.least)
            raise Broken(f'block {start:#x}: its tag is {tag:#x}, and no block of that order can '
                         'begin there' if tag else f'block {start:#x}: its tag is 0, but the block '
                         'before it ends there', [(f'{where:#x} tag', f'{tag:#04x}')])
        return Block(region, start, order, bool(tag & self.free_bit))

    def blocks(self):
        """Every block in address order, also those without memory."""
        for region in self.regions():
            at, window, base = region.start, b'', 0
            while at < region.end:
                index = at - region.start >> self.least
                if not base <= index < base + len(window):
                    base = index - index % WINDOW
                    try:
                        window = self.memory.read(region.tags + base, WINDOW)
                    except Unreadable as error:
                        raise Broken(f'the tags of a region are missing: {error}') from None
                block = self._block(region, at, window[index - base])
                yield block
                at = block.end

    def is_away(self, block):
        """Free and so large that its memory went back to the system."""
        return block.is_free and block.order >= self.chunk

    # ── what the commands ask ────────────────────────────────────────────────

    def walk(self):
        blocks, broken = [], None
        try:
            blocks.extend(block for block in self.blocks() if not self.is_away(block))
        except Broken as error:
            broken = error
        regions = stretches(blocks)
        for block in blocks:
            if block.start in regions:
                yield Chunk(REGION, block.start, regions[block.start] - block.start)
            size = block.end - block.start
            yield Chunk(FREE if block.is_free else LIVE, block.start, size, block.start, size,
                        size & 2 ** 32 - 1)
        if broken:
            raise broken

    def overhead(self):
        return self.heap.type.sizeof + (self.taken >> self.least)

    def records(self):
        found = [(arena, arena + self.arena_layout.size) for arena in (self.arena, *self.others)]
        try:
            found += [(region.record, region.tags + (1 << region.order - self.least))
                      for region in self.regions()]
        except Broken:
            pass  # whoever asked walks as well, and says so
        return found

    def place(self, address):
        for region in self.regions():
            if region.start <= address < region.end:
                return self._place(address, self._around(region, address))
        for other in self.others:
            for region in self.regions(other):
                if region.start <= address < region.end:
                    return Place(f'{address:#x} lies in another arena: only one is in use, and '
                                 'frees of blocks in a frozen one are ignored', [])
        return None

    def _around(self, region, address):
        """The block that holds the address: where some of its low bits are 0."""
        for order in range(self.least, region.order + 1):
            start = address & -(1 << order)
            tag = self._tag(region, start)
            if tag & ~self.free_bit >= order:
                return self._block(region, start, tag)
        raise Broken(f'no tag names a block around {address:#x}')

    def _place(self, address, block):
        state = FREE if block.is_free else LIVE
        rows = [('block', f'{block.start:#x} .. {block.end:#x}  {block.end - block.start} bytes'),
                ('state', f'{state}: its memory went back to the system'
                 if self.is_away(block) else state),
                ('order', f'{block.order}: blocks of {block.end - block.start} bytes'),
                ('buddy', self._buddy(block)),
                ('region', f'{block.region.start:#x} .. {block.region.end:#x}'),
                ('previous', self._neighbour(block.region, block.start - 1)),
                ('next', self._neighbour(block.region, block.end))]
        into = address - block.start
        where = f'{into} bytes into the {state} block {block.start:#x}' if into else (
            f'the start of a {state} block')
        return Place(f'{address:#x} is {where}', rows)

    def _buddy(self, block):
        if block.order == block.region.order:
            return 'none: the block is the whole region'
        at = block.start ^ 1 << block.order
        tag = self._tag(block.region, at)
        order = tag & ~self.free_bit
        return f'{at:#x}  {"split" if order != block.order else FREE if tag != order else LIVE}'

    def _neighbour(self, region, address):
        if not region.start <= address < region.end:
            return 'none in this region'
        block = self._around(region, address)
        if self.is_away(block):
            return 'none: the memory there went back to the system'
        state = FREE if block.is_free else LIVE
        return f'{block.start:#x}  {state}  {block.end - block.start} bytes'

    def free(self):
        blocks = {}
        for block in self.blocks():
            if block.is_free and not self.is_away(block):
                blocks[block.order] = blocks.get(block.order, 0) + 1
        rows = [(1 << order, n, n << order) for order, n in sorted(blocks.items())]
        total, size = sum(blocks.values()), sum(row[2] for row in rows)
        return ('block', 'free', 'free bytes'), rows, f'{count(total, "free block")}, {size} bytes'

    def notes(self):
        pointer = self.heap['arena'].type.unqualified()
        lock = gdb.Value(self.arena).cast(pointer)['lock']
        frozen = [f'this heap was {FROZEN}'] if self.number else []
        return owners_note([owner(lock)]) + frozen + [
            f'another arena: {other:#x}' for other in self.others if self._field(other, 'regions')]

    # ── the invariants ───────────────────────────────────────────────────────

    def check(self):
        lists, blocks = {}, 0
        for block in self.blocks():
            blocks += 1
            if not block.is_free:
                continue
            lists.setdefault(block.order, {})[block.start] = block
            buddy = block.start ^ 1 << block.order
            if block.order < block.region.order and self._tag(block.region, buddy) == (
                    self.free_bit | block.order):
                raise Broken(f'blocks {block.start:#x} and {buddy:#x} are free, buddies, and not '
                             'merged')
        for order in range(self.orders):
            self._check_list(order, lists.get(order, {}))
        return (f'{count(blocks, "block")}: tags and lists are sound, and no two free buddies are '
                'left unmerged')

    def _check_list(self, order, blocks):
        """The list of an order holds each free block of it once, and no other."""
        head = self.arena + self.arena_layout.offset('free') + 8 * order
        at, before, listed = int.from_bytes(self.memory.read(head, 8), 'little'), 0, set()
        while at:
            if at not in blocks or at in listed:
                why = 'comes twice' if at in listed else 'is no free block of it'
                raise Broken(f'the list of free blocks of {1 << order} bytes: {at:#x} {why}',
                             [('the one before', f'{before:#x}')])
            following, prev = self.memory.record(self.links, at, *LINKS)
            if prev != before:
                raise Broken(f'block {at:#x} was written to after its free: its `prev` is {prev:#x},'
                             f' but the block before it in the list is {before:#x}')
            listed.add(at)
            before, at = at, following
        for lost in sorted(set(blocks) - listed):
            raise Broken(f'block {lost:#x} is free, and missing from the list of its order')


# ── how `print heap` reads ───────────────────────────────────────────────────


def region_blocks(value):
    """A picture of the first blocks of a region, as they follow each other: |##--#|"""
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
    """The first region is shown, not where it lies."""
    regions = value['regions']
    free = [('free' + index, first) for index, first in filled(value['free'])]
    return Printed(None, [*parts(value, 'call', 'free', 'regions'), *free,
                          ('regions', regions.dereference() if regions else regions)])


PRINTERS = {'arena': arena, 'region': region_blocks}
