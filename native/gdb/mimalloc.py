"""Reads the heap of mimalloc 2.0.9, the one of Debian 12, which has neither symbols nor debug information.

Segments lie at multiples of 32 MiB. The reader looks at these addresses, and recognises a segment by its
invariants, above all its cookie: its address XOR a number that all segments share.

      segment (32 MiB, or more for one huge block)
      │ header: a record for each slice │ page of small blocks │ page of medium ones … │ free slices │
      slices of 64 KiB: 0                 1                      2 … 9                   10 …

A page has three lists of free blocks: `free`, `local_free` and, from other threads, `thread_free`. What
other threads free while the page is full goes to its heap's `thread_delayed_free`. Blocks have no headers.
"""

import struct
from bisect import bisect_right
from collections import Counter
from functools import cached_property
from typing import NamedTuple

import gdb

from .chunks import (CACHED, FREE, FRESH, HEADER, LIVE, REGION, REMOTE, SPAN, Broken, Chunk, Place,
                     Reader, Run, Stats, count, up_to)
from .memory import ALL, WORD, Unreadable, as_words
from .roots import each_thread, writable

SEGMENT, SLICE, HUGE = 32 << 20, 64 << 10, 2 << 30
# struct mi_segment_s, in bytes
ALIGNMENT, USED, COOKIE, SLICES, INFO, KIND, ENTRIES, THREAD, TABLE = (
    16, 208, 216, 224, 232, 240, 248, 256, 264)
MOST = 512  # slices with a record
RECORD = struct.Struct('<IIBxHHBBQIIQQQQQQ')  # struct mi_page_s
SEGMENT_HEADER = TABLE + (MOST + 1) * RECORD.size
# struct mi_heap_s
DELAYED, HEAP_THREAD, HEAP_SIZE = 2840, 2848, 3064
COLOUR = 384  # bytes unused at the start of a page whose blocks have 8 to 1024 bytes
STATES = (LIVE, FREE, REMOTE)  # by mark
EXACT = 128 << 10  # blocks up to here come from size classes
VERSION = 209


class Page(NamedTuple):
    """A span of slices that is cut into equal blocks; `at` is its record."""

    start: int
    extent: int
    at: int
    first: int
    size: int
    capacity: int
    used: int
    lists: tuple  # (name, its first block)
    heap: int
    aligned: bool

    @property
    def end(self):
        return self.start + self.extent

    @property
    def size_class(self):
        return self.size if self.size <= EXACT else 0


class Segment:

    def __init__(self, base, data):
        self.base, self.data, self.words = base, data, as_words(data)
        self.used, cookie, self.slices, self.info = self.words[USED // WORD:USED // WORD + 4]
        self.kind = self.words[KIND // WORD] & 0xffffffff
        self.entries, self.thread = self.words[ENTRIES // WORD], self.words[THREAD // WORD]
        self.key = cookie ^ base

    @property
    def end(self):
        return self.base + self.slices * SLICE

    def wrong(self, key):
        """(name, offset) of each invariant of a segment that does not hold."""
        slices = MOST if self.kind == 0 else 1 + self._record(1)[0]
        tests = (('cookie', COOKIE, self.key == key),
                 ('segment_slices', SLICES, self.slices == slices > 1),
                 ('segment_info_slices', INFO, self.info == 1),
                 ('kind', KIND, self.kind in (0, 1)),
                 ('slice_entries', ENTRIES, self.entries == min(self.slices, MOST)),
                 ('mem_alignment', ALIGNMENT, self.words[ALIGNMENT // WORD] % SEGMENT == 0),
                 ('used', USED, self.used <= MOST))
        return [(name, offset) for name, offset, holds in tests if not holds]

    def _record(self, i):
        return RECORD.unpack_from(self.data, TABLE + i * RECORD.size)

    def _begins(self, i):
        """True if a page, or free slices, can begin with this slice."""
        n, offset, *_ = self._record(i)
        return 0 < n <= self.slices - i and not offset

    def parts(self, problems):
        """Its pages, and chunks for the slices in no page, in address order."""
        if not self.thread and not self.used:  # its thread released it; kept for the next thread
            yield Chunk(CACHED, self.base + SLICE, self.end - self.base - SLICE)
            return
        i = 1
        while i < self.entries:
            fields, start = self._record(i), self.base + i * SLICE
            n, at = fields[0], self.base + TABLE + i * RECORD.size
            if not self._begins(i):
                problems.append(Broken(f'the record {at:#x} of slice {i} in the segment {self.base:#x} '
                                       'is overwritten: it is no start of a page', rows(at, fields)))
                n = next((j for j in range(i + 1, self.entries) if self._begins(j)), self.entries) - i
                yield Chunk(HEADER, start, n * SLICE)
            else:
                yield _page(at, start, n * SLICE, fields, problems) if fields[9] else (
                    Chunk(CACHED, start, n * SLICE))
            i += n


def _page(at, start, extent, fields, problems):
    _, _, _, capacity, reserved, flags, _, free, used, size, local, remote, heap, *_ = fields
    first = start + (COLOUR if 8 <= size <= 1024 else 0)
    size = start + extent - first if size >= HUGE else size
    if size % WORD or not used <= capacity <= reserved or first + reserved * size > start + extent:
        problems.append(Broken(f'the record {at:#x} of the page {start:#x} is overwritten: blocks of '
                               f'{size} bytes, {used} used of {capacity} of {reserved}, do not fit',
                               rows(at, fields)))
        return Chunk(HEADER, start, extent)
    lists = ('free', free), ('local_free', local), ('thread_free', remote & ~3)
    return Page(start, extent, at, first, size, capacity, used, lists, heap, bool(flags & 2))


def rows(at, fields):
    names = {0: 'slice_count', 1: 'slice_offset', 3: 'capacity', 4: 'reserved', 8: 'used', 9: 'size'}
    return [(f'{at:#x} {name}', f'{fields[i]:#x}') for i, name in names.items()]


class MimallocReader(Reader):
    bulk = {'in_runs': True}

    def __init__(self, library, memory):
        super().__init__(library, memory)
        library.version = self._version()
        self.found, self.late = [], []  # damage of segments; of lists of delayed frees
        self.segments = self._find_segments()
        self.bases = [each.base for each in self.segments]
        library.own = [(heap, heap + HEAP_SIZE) for heap in self.heaps]

    def _version(self):
        """mi_version() returns a constant: the number in its first instruction."""
        try:
            code = self.memory.read(int(gdb.parse_and_eval('(unsigned long)&mi_version')), 16)
        except (gdb.error, Unreadable):
            return 'mimalloc of an unknown version'
        at = code.find(b'\xb8')
        number = int.from_bytes(code[at + 1:at + 5], 'little') if at >= 0 else VERSION
        text = f'mimalloc {number // 100}.{number // 10 % 10}.{number % 10}'
        if number != VERSION:
            raise gdb.GdbError(f'{self.library.path} is {text}: these commands read 2.0.9, whose '
                               'structures are others')
        return text

    def _find_segments(self):
        candidates = []
        for start, end in writable():
            for base in range(start + -start % SEGMENT, end, SEGMENT):
                try:
                    candidates.append(Segment(base, self.memory.once(base, SEGMENT_HEADER)))
                except Unreadable:
                    continue
        keys = Counter(each.key for each in candidates if not each.wrong(each.key))
        key, found, end = keys.most_common(1)[0][0] if keys else 0, [], 0
        for each in candidates:
            wrong = each.wrong(key)
            if each.base < end or len(wrong) > 2:
                continue
            if wrong:
                self.found.append(Broken(f'the header of the segment {each.base:#x} is overwritten', [
                    (f'{each.base + offset:#x} {name}', f'{each.words[offset // WORD]:#018x}')
                    for name, offset in wrong]))
                each.slices = each.entries = MOST
            found.append(each)
            end = each.end
        return found

    @cached_property
    def parts(self):
        """(segment, its pages and spans) in address order, and the damage of their records."""
        problems = list(self.found)
        parts = [(segment, list(segment.parts(problems))) for segment in self.segments]
        return parts, problems

    @cached_property
    def heaps(self):
        """The address of each heap → (its thread, the first block on its list of delayed frees)."""
        found = {}
        for segment, parts in self.parts[0]:
            for heap in {page.heap for page in parts if isinstance(page, Page)} - {0, *found}:
                if self._word(heap + HEAP_THREAD) == segment.thread:
                    found[heap] = segment.thread, self._word(heap + DELAYED)
        return found

    @cached_property
    def delayed(self):
        """The record of a page → the numbers of its blocks that other threads freed while it was full."""
        found, seen = {}, set()
        for _, at in self.heaps.values():
            while at and at not in seen:
                seen.add(at)
                page = self.page_of(at)
                number, rest = divmod(at - page.first, page.size) if page else (0, 1)
                if rest or not 0 <= number < page.capacity:
                    self.late.append(Broken(f'the list of delayed frees leads to {at:#x}, which is no '
                                            'block: a block on it was written to after its free'))
                    break
                found.setdefault(page.at, []).append(number)
                at = self._word(at)
        return found

    def _word(self, at):
        try:
            return int.from_bytes(self.memory.read(at, WORD), 'little')
        except Unreadable:
            return 0

    def part_of(self, address):
        """(segment, page or span) that contains an address; None for each that does not exist."""
        i = bisect_right(self.bases, address) - 1
        if i < 0 or address >= self.segments[i].end:
            return None, None
        segment, parts = self.parts[0][i]
        return segment, next((part for part in parts if part.start <= address < part.end), None)

    def page_of(self, address):
        part = self.part_of(address)[1]
        return part if isinstance(part, Page) else None

    def marks(self, page, problems):
        """The state of each block, as an index into STATES. Blocks behind a damaged link count as live."""
        marks, first, size = bytearray(page.capacity), page.first, page.size
        words = self._words(page) if size <= 4096 and any(at for _, at in page.lists) else None
        for name, at in page.lists:
            mark, before = 1 + (name == 'thread_free'), 0
            while at:
                number, rest = divmod(at - first, size)
                known = not rest and 0 <= number < page.capacity
                if not known or marks[number]:
                    problems.append(self._bad_link(page, name, before, at, known))
                    return marks
                marks[number] = mark
                before, at = at, words[at - first >> 3] if words else self._word(at)
        if marks.count(1) + page.used != page.capacity:
            problems.append(Broken(
                f'the page {page.start:#x} of blocks of {size} bytes counts {page.used} used of '
                f'{page.capacity}, but {marks.count(1)} are on its free lists'))
        for number in self.delayed.get(page.at, ()):
            marks[number] = 2
        return marks

    def _words(self, page):
        try:
            return as_words(self.memory.once(page.first, page.capacity * page.size))
        except Unreadable:
            return None

    def _bad_link(self, page, name, before, at, known):
        what = 'a block that is on a free list already' if known else 'which is no block of its page'
        if not before:
            return Broken(f'`{name}` of the page {page.start:#x} begins at {at:#x}, {what}',
                          [(f'{page.at:#x} record', f'blocks of {page.size} bytes')])
        why = 'a block was freed twice' if known else 'the block was written to after its free'
        text = ''.join(chr(c) if 32 <= c < 127 else '.' for c in at.to_bytes(WORD, 'little'))
        shown = [(f'{before:#x} link', f'{at:#018x}  "{text}"')]
        if before > page.first:
            shown.append(('the one before', f'{before - page.size:#x}  {page.size} bytes'))
        return Broken(f'the link in the free block {before:#x} leads to {at:#x}, {what}: {why}', shown,
                      'blocks behind a damaged link count as live')

    def walk(self, start=0, in_runs=False):
        parts, known = self.parts
        problems = list(known)
        for segment, inside in parts:
            if segment.end <= start:
                continue
            yield Chunk(REGION, segment.base, segment.slices * SLICE)
            if start < segment.base + SLICE:
                yield Chunk(HEADER, segment.base, SLICE)
            for part in inside:
                if isinstance(part, Page) and part.end > start:
                    yield from self._blocks(part, start, problems, in_runs)
                elif part.end > start:
                    yield part
        problems += self.late
        if problems:
            raise problems[0]

    def _blocks(self, page, start, problems, in_runs):
        size, known, owner = page.size, page.size_class, page.heap
        yield Chunk(SPAN, page.start, page.extent, size_class=known, owner=owner)
        if start < page.first and page.first > page.start:
            yield Chunk(HEADER, page.start, page.first - page.start)
        skip = max(start - page.first, 0) // size
        at, behind, marks = page.first + skip * size, page.first + page.capacity * size, self.marks(page, problems)
        if in_runs:
            yield Run(at, size, marks)
        for mark in marks[skip:] if not in_runs else ():
            yield Chunk(STATES[mark], at, size, at, size, known, owner)
            at += size
        if behind < page.end:
            yield Chunk(FRESH, behind, page.end - behind)

    @cached_property
    def _counted(self):
        """(Stats, block size → [live blocks, bytes, free blocks, bytes], damage or None): from the counts
        in the records; follows only the lists of remote frees."""
        stats, sizes, problems, self.shares = Stats(HEAP_SIZE * len(self.heaps)), {}, [], {}
        for segment, parts in self.parts[0]:
            stats.add(Chunk(REGION, segment.base, segment.slices * SLICE))
            stats.header_bytes += SLICE
            for part in parts:
                if isinstance(part, Page):
                    self._count(stats, sizes, part, problems)
                else:
                    stats.add(part)
        problems = self.parts[1] + problems
        return stats, sizes, problems[0] if problems else None

    def _count(self, stats, sizes, page, problems):
        remote = 0
        if page.lists[2][1] or page.at in self.delayed:
            remote = self.marks(page, problems).count(2)
        live, size = page.used - remote, page.size
        free = page.capacity - live
        fresh = page.end - page.first - page.capacity * size
        stats.live_blocks += live
        stats.live_bytes += live * size
        stats.free_blocks += free
        stats.free_bytes += free * size
        stats.fresh_bytes += fresh
        stats.header_bytes += page.first - page.start
        stats.largest = max(stats.largest, fresh, size if free else 0)
        row = sizes.setdefault(page.size_class or up_to(size), [0, 0, 0, 0])
        share = self.shares.setdefault(page.heap, [0, 0, 0, 0, 0])
        for i, more in enumerate((live, live * size, free, free * size)):
            row[i] += more
        for i, more in enumerate((1, live, live * size, free - remote, remote)):
            share[i] += more

    def stats(self):
        stats, _, broken = self._counted
        return stats, broken

    def sizes(self):
        _, sizes, broken = self._counted
        return {size: row for size, row in sizes.items() if any(row)}, broken

    def owners(self):
        """Call after `stats`, which computes the shares."""
        table = [(f'{heap:#x}', *share, self._whose(heap)) for heap, share in self.shares.items()]
        return (('heap', 'pages', 'live', 'bytes', 'free', 'remote', 'of'), table) if table else None

    def _whose(self, heap):
        if not heap:
            return 'nobody: abandoned, for the next thread to adopt'
        thread = self.heaps.get(heap, (0,))[0]
        return f'thread {self._threads[thread]}' if thread in self._threads else 'unknown'

    @cached_property
    def _threads(self):
        """The thread pointer, which is mimalloc's id of a thread → GDB's number of the thread."""
        found = {}
        for thread in each_thread():
            for name in ('fs_base', 'tpidr'):
                try:
                    found[int(gdb.newest_frame().read_register(name)) & ALL] = thread.num
                except (gdb.error, ValueError):
                    continue
        return found

    def fields(self, chunk):
        return [(chunk.user, 'link')] if chunk.kind in (FREE, REMOTE) else []

    def place(self, address):
        segment, part = self.part_of(address)
        if segment is None:
            return None
        if not isinstance(part, Page):
            kind = part.kind if part else HEADER
            what = 'slices that are in no page' if kind == CACHED else 'the records of its segment'
            return Place(f'{address:#x} lies in {what}', [
                ('segment', f'{segment.base:#x} .. {segment.end:#x}'), ('state', kind)])
        return self._in_page(address, part)

    def _in_page(self, address, page):
        problems = []
        marks = self.marks(page, problems)
        number, into = divmod(address - page.first, page.size)
        shown = [('class', f'blocks of {page.size} bytes'),
                 ('page', f'{page.start:#x} .. {page.end:#x}  {count(page.capacity, "block")}, '
                          f'{marks.count(0)} live'),
                 ('owner', f'{self._whose(page.heap)} (heap {page.heap:#x})')]
        if page.aligned:
            shown.append(('aligned', 'this page also has blocks that begin further in, for an alignment'))
        shown += [('damage', str(each)) for each in problems[:1]]
        if not 0 <= number < page.capacity:
            return Place(f'{address:#x} lies in no block of its page: in front of the first, or behind '
                         'the last that was ever handed out', shown)
        block, state = address - into, STATES[marks[number]]
        where = 'the start of a' if not into else f'{into} bytes into the'
        near = [(word, f'{page.first + i * page.size:#x}  {STATES[marks[i]]}  {page.size} bytes'
                 if 0 <= i < page.capacity else 'none in this page')
                for word, i in (('previous', number - 1), ('next', number + 1))]
        return Place(f'{address:#x} is {where} {state} block{f" {block:#x}" if into else ""}', [
            ('block', f'{block:#x} .. {block + page.size:#x}  {page.size} bytes'),
            ('state', state if state != REMOTE else 'remote: freed by another thread, and not yet taken '
             'over by the owner'), *shown, *near])

    def try_free(self, address):
        page = self.page_of(address)
        number, into = divmod(address - page.first, page.size) if page else (-1, 0)
        if page and page.aligned and into and 0 <= number < page.capacity and (
                not self.marks(page, [])[number]):
            return True, (f'{address:#x} lies {into} bytes into a live block of a page that has aligned '
                          f'ones: mimalloc frees the block {address - into:#x}')
        return super().try_free(address)

    def free(self):
        stats, sizes, broken = self._counted
        spans = [part.extent for _, parts in self.parts[0] for part in parts
                 if not isinstance(part, Page) and part.kind == CACHED]
        table = [(size, live, free, bytes_) for size, (live, _, free, bytes_) in sorted(sizes.items())]
        return ('blocks up to', 'live', 'free', 'free bytes'), table, (
            f'{count(stats.free_blocks - len(spans), "free block")}, {stats.free_bytes - sum(spans)} '
            f'bytes; {count(len(spans), "span")} of free slices: {sum(spans)} bytes'), broken

    def check(self):
        problems, pages, blocks = list(self.parts[1]), 0, 0
        for segment, parts in self.parts[0]:
            used = 0
            for page in parts:
                if not isinstance(page, Page):
                    continue
                used, pages, blocks = used + 1, pages + 1, blocks + page.capacity
                self.marks(page, problems)
                if page.heap and page.heap not in self.heaps:
                    problems.append(Broken(f'the page {page.start:#x} belongs to the heap {page.heap:#x}, '
                                           'which is none of its thread'))
            if used != segment.used:
                problems.append(Broken(f'the segment {segment.base:#x} counts {segment.used} pages, but '
                                       f'{used} are in it'))
        problems += self.late
        if problems:
            raise problems[0]
        return (f'{count(len(self.segments), "segment")}, {count(pages, "page")}, '
                f'{count(blocks, "block")}: headers, records, links and counts are sound')
