"""Buddy's tags in bulk: a chunk of 256 KiB has 16,384 of them, and what must hold of them is one regular expression."""

import re
from functools import cache, cached_property
from itertools import compress

from .memory import Unreadable

STRETCH = 64  # chunks whose tags are read at once


class Odd(Exception):
    """Not all is plain: who goes from block to block finds out what it is."""


class Tags:
    """`least` and `chunk` are orders, `free_bit` marks the tag of a free block."""

    def __init__(self, memory, least, chunk, free_bit):
        self.memory, self.least, self.chunk, self.free_bit = memory, least, chunk, free_bit
        self._length = 1 << chunk - least

    @cached_property
    def _plain(self):
        """Blocks of less than a chunk, one behind the other: a tag, and zeros to the block's end."""
        orders = range(self.least, self.chunk)
        blocks = (rb'[%s%s]%s' % (re.escape(bytes([order])), re.escape(bytes([order | self.free_bit])),
                                  rb'\0{%d}' % ((1 << order - self.least) - 1)) for order in orders)
        return re.compile(b'(?:%s)*' % b'|'.join(blocks), re.DOTALL)

    def tags(self):
        return [order | free for order in range(self.least, self.chunk) for free in (0, self.free_bit)]

    @cached_property
    def _offsets(self):
        return list(range(0, 1 << self.chunk, 1 << self.least))  # a range would make each number again

    def sweep(self, region):
        """(where it begins, its one tag or 0, its tags) of each chunk of a region, and of each larger block,
        in address order: five million blocks in a second. Raises Odd."""
        at, length = region.start, self._length
        data, base = b'', 0
        while at < region.end:
            index = (at - base) >> self.least
            if not data or index >= len(data):
                where = region.tags + (at - region.start >> self.least)
                end = region.tags + (1 << region.order - self.least)
                try:
                    data, base, index = self.memory.once(where, min(STRETCH * length, end - where)), at, 0
                except Unreadable:
                    raise Odd from None
            tags = data[index:index + length]
            order = tags[0] & ~self.free_bit
            if order < self.chunk:
                self._look(tags)
                yield at, 0, tags
                at += 1 << self.chunk
                continue
            if tags.count(0) != length - 1 or order > region.order or at % (1 << order):
                raise Odd
            yield at, tags[0], tags
            at += 1 << order

    def _look(self, tags):
        """Do blocks tile a chunk, each at a multiple of its size?"""
        if not self._plain.fullmatch(tags):
            raise Odd
        for tag in self.tags()[2:]:
            step = 1 << (tag & ~self.free_bit) - self.least
            if tags.count(tag) != tags[::step].count(tag):
                raise Odd

    def blocks(self, at, tags):
        """(where each block of a chunk begins, their tags)."""
        return list(map(at.__add__, compress(self._offsets, tags))), tags.translate(None, b'\0')

    def unmerged(self, tags, tag):
        """True if two buddies of a chunk have this tag."""
        step = 1 << (tag & ~self.free_bit) - self.least
        first, second = (int.from_bytes(tags[i::2 * step].translate(self.only(tag)), 'little') for i in (0, step))
        return first & second != 0

    @cache
    def only(self, tag):
        """A table for `translate`: 1 for this tag, 0 for all others."""
        return bytes(byte == tag for byte in range(256))
