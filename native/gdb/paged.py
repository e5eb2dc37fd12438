"""Reads the heap of paged.c: a table over the address space leads to spans of equal blocks.

It counts bits for the figures, so that their cost depends on the number of spans, not of blocks.
"""

from typing import NamedTuple

import gdb

from .chunks import (FREE, FRESH, FROZEN, LIVE, REGION, SPAN, Broken, Chunk, Place, Reader,
                     Run, Stats, count, owner, owners_note, stretches, up_to)
from .memory import Layout, Unreadable

POINTER = 8
MARKS = bytes.maketrans(b'01', b'\0\1')
WORD_BITS = 64


class Span(NamedTuple):
    """A `struct span` that passed the checks, and the bits of its free blocks."""

    record: int
    index: int  # of its class
    start: int
    length: int
    size: int
    inverse: int
    capacity: int
    used: int
    fresh: int
    summary: int
    next: int
    prev: int
    bits: int

    @property
    def end(self):
        return self.start + self.length

    @property
    def freed(self):
        """The number of blocks that were handed out before and are free now."""
        return (self.bits & ((1 << self.fresh) - 1)).bit_count()

    @property
    def marks(self):
        """A byte for each block that was handed out: 1 if it is free now."""
        bits = f'{self.bits & (1 << self.fresh) - 1:0{self.fresh}b}'[::-1]
        return bits[:self.fresh].encode().translate(MARKS)

    def is_free(self, block):
        return self.bits >> block & 1 == 1

    def state(self, block):
        return FRESH if block >= self.fresh else FREE if self.is_free(block) else LIVE


class PagedReader(Reader):
    bulk = {'in_runs': True}

    FIELDS = ('class', 'start', 'length', 'size', 'inverse', 'next', 'prev', 'capacity', 'used',
              'fresh', 'summary')

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self.heap = library.symbol('heap')
        heap = Layout(self.heap.type)
        leaf = Layout(heap.field('leaves').target().strip_typedefs().target())
        self.span_layout = Layout(leaf.field('spans').target().strip_typedefs().target())
        self.arena_layout = heap.target('arena')
        self.class_layout = Layout(self.arena_layout.field('classes').target())
        self.granule = int(library.symbol('GRANULE'))
        self.leaf_length = leaf.field('spans').range()[1] + 1
        self.gone = int(library.symbol('gone').address)
        address = int(self.heap.address)
        leaves = heap.field('leaves').range()[1] + 1
        table = memory.read(address + heap.offset('leaves'), leaves * POINTER)
        self.leaves = memoryview(table).cast('Q')
        # The arena in use. If it is new and still empty, the old one, which holds the blocks.
        arenas = self._arenas(int(self.heap['arena']))
        self.number = next((i for i, arena in enumerate(arenas) if self._records_used(arena)), 0)
        self.arena = arenas.pop(self.number) if arenas else 0
        self.others = arenas
        self.classes = self.arena_layout.field('classes').range()[1] + 1
        self.large = self.classes - 1

    # ── the table and the spans ──────────────────────────────────────────────

    def entry(self, address):
        """The table's entry for an address: 0, `gone`, or the address of a span's record."""
        leaf, index = divmod(address // self.granule, self.leaf_length)
        if not 0 <= leaf < len(self.leaves) or not self.leaves[leaf]:
            return 0
        return int.from_bytes(self._read(self.leaves[leaf] + index * POINTER, POINTER), 'little')

    def spans(self, problems=None):
        """The spans of this arena, in address order. Raises Broken at the first impossible one; with a list
        of `problems`, adds it there and continues."""
        for number, leaf in enumerate(self.leaves):
            if not leaf:
                continue
            try:
                entries = memoryview(self._read(leaf, self.leaf_length * POINTER)).cast('Q')
            except Broken as error:
                self._note(problems, error, 'what this part of the table leads to is not seen')
                continue
            before, end = 0, 0
            for index, record in enumerate(entries):
                if record and record != before and record != self.gone:
                    at = (number * self.leaf_length + index) * self.granule
                    try:
                        span = self.span(record, at)
                    except Broken as error:
                        self._note(problems, error, f'the span at {at:#x} is skipped, all others are '
                                                    'counted')
                        span = None
                    if span is not None and span.start >= end:
                        end = span.end
                        yield span
                before = record

    def _note(self, problems, error, price):
        error.price = price
        if problems is None:
            raise error
        problems.append(error)

    def span(self, record, at):
        """The span whose record the table names for the granule `at`; None if it is of another arena."""
        try:
            values = self.memory.record(self.span_layout, record, *self.FIELDS)
        except Unreadable as error:
            raise Broken(f'the table names a record for {at:#x}, but {error}') from None
        class_, start, length, size, inverse, next_, prev, capacity, used, fresh, summary = values
        index = self._class_index(class_)
        if index is None and self._is_elsewhere(class_):
            return None
        problem = (
            f'its class is {class_:#x}, which is none of this heap' if index is None else
            f'its record says that it starts at {start:#x}'
            if start > at or start % self.granule else
            f'its length is {length}' if length <= 0 or length % self.granule else
            f'the table says that it reaches {at:#x}, its record that it ends at '
            f'{start + length:#x}' if at >= start + length else
            f'{capacity} blocks of {size} bytes are not {length}'
            if not size or capacity != length // size or capacity > WORD_BITS ** 2 else
            f'{fresh} blocks were handed out, of {capacity}' if fresh > capacity else None)
        if problem:
            raise Broken(f'span {at:#x}: {problem}', self._show(record))
        words = -(-capacity // WORD_BITS)
        bits = self._read(record + self.span_layout.offset('bits'), words * POINTER)
        return Span(record, index, start, length, size, inverse, capacity, used, fresh, summary,
                    next_, prev, int.from_bytes(bits, 'little'))

    def _class_index(self, class_):
        """Its index in this arena, or None."""
        return self._index_in(self.arena, class_)

    def _index_in(self, arena, class_):
        first = arena + self.arena_layout.offset('classes')
        index, rest = divmod(class_ - first, self.class_layout.size)
        return index if rest == 0 and 0 <= index < self.classes else None

    def _is_elsewhere(self, class_):
        return any(self._index_in(arena, class_) is not None for arena in self.others)

    def _arenas(self, arena):
        """The arena in use, then those that were frozen."""
        seen = []
        while arena and arena not in seen:
            seen.append(arena)
            try:
                arena, = self.memory.record(self.arena_layout, arena, 'older')
            except Unreadable:
                break
        return seen

    def _records_used(self, arena):
        try:
            return self.memory.record(self.arena_layout, arena, 'records_used')[0]
        except Unreadable as error:
            raise Broken(f'the arena at {arena:#x} is not there: {error}') from None

    def _read(self, address, length):
        try:
            return self.memory.read(address, length)
        except Unreadable as error:
            raise Broken(f'a record is missing: {error}') from None

    def _show(self, record):
        """The fields of a record."""
        values = self.memory.record(self.span_layout, record, *self.FIELDS)
        return [(f'{record + self.span_layout.offset(name):#x} {name}', f'{value:#x}  {value}')
                for name, value in zip(self.FIELDS, values)]

    # ── what the commands ask ────────────────────────────────────────────────

    def walk(self, start=0, in_runs=False):
        problems = []
        spans = list(self.spans(problems))
        regions = stretches(spans)
        for span in spans:
            if span.end <= start:
                continue
            if span.start in regions:
                yield Chunk(REGION, span.start, regions[span.start] - span.start)
            size, size_class = span.size, 0 if span.index == self.large else span.size
            yield Chunk(SPAN, span.start, span.length, size_class=size_class)
            first = max(start - span.start, 0) // size
            at = span.start + first * size
            if in_runs:
                yield Run(at, size, span.marks)
            for is_free in span.marks[first:] if not in_runs else ():
                yield Chunk(FREE if is_free else LIVE, at, size, at, size, size_class)
                at += size
            fresh = span.start + span.fresh * size
            if fresh < span.end:
                yield Chunk(FRESH, fresh, span.end - fresh)
        if problems:
            raise problems[0]

    def stats(self):
        """As counted from the walk, but by bits."""
        stats, problems, end = Stats(self.overhead()), [], None
        for span in self.spans(problems):
            freed = span.freed
            stats.regions += span.start != end
            end = span.end
            stats.mapped += span.length
            stats.live_blocks += span.fresh - freed
            stats.live_bytes += (span.fresh - freed) * span.size
            stats.free_blocks += freed
            stats.free_bytes += freed * span.size
            fresh = span.length - span.fresh * span.size
            stats.fresh_bytes += fresh
            stats.largest = max(stats.largest, fresh, span.size if freed else 0)
        return stats, problems[0] if problems else None

    def sizes(self):
        found, problems = {}, []
        for span in self.spans(problems):
            size, freed = span.size, span.freed
            row = found.setdefault(up_to(size) if span.index == self.large else size, [0, 0, 0, 0])
            for i, n in ((0, span.fresh - freed), (2, freed)):
                row[i] += n
                row[i + 1] += n * size
        return {size: row for size, row in found.items() if any(row)}, (
            problems[0] if problems else None)

    def overhead(self):
        if not self.arena:
            return self.heap.type.sizeof
        used = self._records_used(self.arena)
        return self.heap.type.sizeof + self.arena_layout.size + used

    def records(self):
        arenas = [(at, at + self.arena_layout.size) for at in (self.arena, *self.others) if at]
        leaves = [(at, at + self.leaf_length * POINTER) for at in self.leaves if at]
        spans = []
        for span in self.spans([]):  # ignores damage: the caller also walks the heap, and reports it
            words = -(-span.capacity // WORD_BITS)
            spans.append((span.record, span.record + self.span_layout.size + words * POINTER))
        return arenas + leaves + spans

    def place(self, address):
        entry = self.entry(address)
        if entry == self.gone:
            return Place(f'{address:#x} lies in no block: the span that was here went back to the '
                         'system', [])
        if entry:
            at = address - address % self.granule
            span = self.span(entry, at)
            return self._elsewhere(address) if span is None else self._block(address, span)
        # The table has only the first granule of a large block.
        for span in self.spans([]):
            if span.start <= address < span.end:
                return self._block(address, span)
        return None

    def _elsewhere(self, address):
        return Place(f'{address:#x} lies in another arena: only one is in use, and frees of blocks '
                     'in a frozen one are ignored', [])

    def _block(self, address, span):
        number, into = divmod(address - span.start, span.size)
        kind = f'{count(span.capacity, "block")} of {span.size} bytes, {span.used} live'
        rows = [('span', f'{span.start:#x} .. {span.end:#x}  {kind}'),
                ('record', f'{span.record:#x}')]
        if number >= span.capacity:
            return Place(f'{address:#x} is behind the last block of its span', rows)
        block, state = address - into, span.state(number)
        where = f'{into} bytes into the {state} block {block:#x}' if into else (
            f'the start of a {state} block')
        name = 'large: a mapping of its own' if span.index == self.large else (
            f'{span.index}: blocks of {span.size} bytes')
        return Place(f'{address:#x} is {where}', [
            ('block', f'{block:#x} .. {block + span.size:#x}  {span.size} bytes'),
            ('state', 'fresh: never handed out' if state == FRESH else state),
            ('class', name),
            *rows,
            ('previous', self._describe(span, number - 1)),
            ('next', self._describe(span, number + 1)),
        ])

    def _describe(self, span, block):
        if not 0 <= block < span.capacity:
            return 'none in this span'
        return f'{span.start + block * span.size:#x}  {span.state(block)}  {span.size} bytes'

    def free(self):
        classes, problems = {}, []
        for span in self.spans(problems):
            classes.setdefault((span.index, span.size if span.index < self.large else 0),
                               []).append(span)
        rows = []
        for (index, size), spans in sorted(classes.items()):
            freed = sum(span.freed for span in spans)
            live = sum(span.fresh - span.freed for span in spans)
            fresh = sum(span.capacity - span.fresh for span in spans)
            rows.append((index, size or 'large', len(spans), live, freed, fresh,
                         sum(span.freed * span.size for span in spans)))
        total, size = sum(row[4] for row in rows), sum(row[6] for row in rows)
        return (('class', 'block', 'spans', 'live', 'free', 'fresh', 'free bytes'), rows,
                f'{count(total, "free block")}, {size} bytes (fresh: blocks never handed out)',
                problems[0] if problems else None)

    def notes(self):
        if not self.arena:
            return []
        pointer = self.heap['arena'].type.unqualified()
        arena = gdb.Value(self.arena).cast(pointer).dereference()
        locks = [arena['lock']] + [arena['classes'][i]['lock'] for i in range(self.classes)]
        frozen = [f'this heap was {FROZEN}'] if self.number else []
        return owners_note([owner(lock) for lock in locks]) + frozen + [
            f'another arena: its records begin at {other:#x}'
            for other in self.others if self._records_used(other)]

    # ── the invariants ───────────────────────────────────────────────────────

    def check(self):
        classes, end = {}, 0
        for span in self.spans():
            if span.start < end:
                raise Broken(f'span {span.start:#x}: begins inside the one before it, which ends '
                             f'at {end:#x}', self._show(span.record))
            end = span.end
            self._check_span(span)
            self._check_table(span)
            classes.setdefault(span.index, {})[span.record] = span
        for index in range(self.classes if self.arena else 0):
            self._check_class(index, classes.get(index, {}))
        spans = sum(map(len, classes.values()))
        return (f'{count(spans, "span")} in {count(len(classes), "class")}: table, records, '
                'counts, bits and lists are sound')

    def _check_span(self, span):
        beyond = span.bits >> span.capacity
        unused = (span.bits >> span.fresh).bit_count()
        words = range(-(-span.capacity // WORD_BITS))
        summary = sum(1 << i for i in words if span.bits >> i * WORD_BITS & 2 ** WORD_BITS - 1)
        frees = span.bits.bit_count()
        inverse = 0 if span.index == self.large else ((1 << 32) + span.size - 1) // span.size
        problem = (
            f'{frees} free and {span.used} live are not its {span.capacity} blocks'
            if frees + span.used != span.capacity else
            'bits are set for blocks that it does not have' if beyond else
            'a block that was never handed out is not free'
            if unused != span.capacity - span.fresh else
            f'the summary is {span.summary:#x}, its bits say {summary:#x}'
            if summary != span.summary else
            f'the inverse is {span.inverse}, for blocks of {span.size} bytes it is {inverse}'
            if span.inverse != inverse else None)
        if problem:
            raise Broken(f'span {span.start:#x}: {problem}', self._show(span.record))

    def _check_table(self, span):
        entered = self.granule if span.index == self.large else span.length
        for at in range(span.start, span.start + entered, self.granule):
            if self.entry(at) != span.record:
                raise Broken(f'span {span.start:#x}: the table says {self.entry(at):#x} for its '
                             f'part at {at:#x}', self._show(span.record))

    def _check_class(self, index, spans):
        """Checks that the list of a class contains each span with room once, and no other."""
        address = self.arena + self.arena_layout.offset('classes') + index * self.class_layout.size
        room, empty = self.memory.record(self.class_layout, address, 'room', 'empty')
        name = 'large blocks' if index == self.large else f'class {index}'
        listed, before, at = set(), 0, room
        while at:
            span = spans.get(at)
            if span is None or at in listed or span.used == span.capacity or span.prev != before:
                why = ('is no span of it' if span is None else
                       'comes twice' if at in listed else
                       'has no room' if span.used == span.capacity else
                       f'has {span.prev:#x} as `prev`, not {before:#x}')
                raise Broken(f'the list of {name}: the record {at:#x} {why}',
                             self._show(at) if span else [])
            listed.add(at)
            before, at = at, span.next
        for span in spans.values():
            if span.used < span.capacity and span.record not in listed:
                raise Broken(f'span {span.start:#x}: has room, but is missing from the list of '
                             f'{name}', self._show(span.record))
        counted = sum(span.used == 0 for span in spans.values())
        if counted != empty:
            raise Broken(f'{name}: counts {empty} empty spans, but has {counted}', [])
