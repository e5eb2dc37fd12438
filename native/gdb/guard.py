"""Reads the guard's records in a debug build (native/guard/guard.h): which blocks the program
requested, and which code did.

It wraps the reader of a variant and shows blocks with the bounds that the program requested, and
blocks in quarantine as free. It finds records as guard/records.h does, by reading memory only.
"""

from array import array
from collections import Counter
from functools import cached_property
from itertools import compress
from operator import add, gt, ne, sub
from typing import NamedTuple

import gdb

from .chunks import (FREE, LIVE, ONLY, REMOTE, SPAN, Broken, Chunk, Columns, Place, Reader, Stats,
                     count, up_to)
from .memory import STRETCH, WORD, Layout, Unreadable, as_words
from .symbols import Code

ALIGNMENT = 16
HALF = (1 << 32) - 1
LEAF_SLOTS, MAP_LEAVES, MAPS = 1 << 16, 1 << 14, 1 << 13
SLAB, SLABS = 1024, 1 << 16
GONE = 2 ** 32 - 1
STATES = {1: LIVE, 2: FREE, 3: LIVE}  # 3: a thread is working on the block
KINDS = bytes((0, 1, 2, 1)) + bytes(252)  # of a state: 1 live, 2 in quarantine
FREED_FILL, FILL_MOST, CANARY_MOST = 0xdf, 1 << 20, 64
FRONTS = (0, *(ALIGNMENT << i for i in range(9)))  # as guard_front: up to a page
CANARY = bytes(0x80 | at * 37 & 0x3f for at in range(64))  # by address: it repeats
FIELDS = ('state', 'user', 'size', 'room', 'front', 'rear', 'filled')


class Record(NamedTuple):
    """One `struct record`, at `at`."""

    at: int
    state: int
    user: int
    size: int
    room: int
    front: int
    rear: int
    filled: int

    @property
    def base(self):
        return self.user - self.front

    @property
    def end(self):
        return self.user + self.size


def guarded(library, reader):
    """The reader itself or, if there is a guard, one that shows the blocks of the program."""
    try:
        guard = library.symbol('guard')
    except (gdb.GdbError, AttributeError):  # no such variable, or a malloc that is not ours
        return reader
    return GuardedReader(reader, library, guard)


class GuardedReader:
    """A Reader; for all else it returns the variant's own answer."""

    def __init__(self, reader, library, guard):
        self._reader = reader
        self._guard = guard
        self._slots = library.symbol('quarantine_slots').type.sizeof
        self._record = Layout(library.symbol('record_find').type.target().target())
        self._unpack = self._record.unpacker(*FIELDS)
        self._tables, self._leaves, self._slabs = {}, {}, {}
        self._code = Code()

    def __getattr__(self, name):
        return getattr(self._reader, name)

    # ── records ──────────────────────────────────────────────────────────────

    def _word(self, address, size=8):
        return int.from_bytes(self._reader.memory.read(address, size), 'little')

    def _table(self, name, index):
        """An entry of guard.maps or guard.slabs: an address, or 0."""
        if (name, index) not in self._tables:
            start = int(self._guard[name].address)
            self._tables[name, index] = self._word(start + 8 * index)
        return self._tables[name, index]

    def _leaf(self, leaf):
        """The record numbers of a leaf; empty if there is no leaf."""
        if leaf not in self._leaves:
            table = self._table('maps', leaf // MAP_LEAVES)
            at = self._word(table + 8 * (leaf % MAP_LEAVES)) if table else 0
            data = self._reader.memory.once(at, 4 * LEAF_SLOTS) if at else b''
            self._leaves[leaf] = memoryview(data).cast('I')
        return self._leaves[leaf]

    def _slab(self, slab):
        """(where a slab lies, its records as bytes)."""
        if slab not in self._slabs:
            at = self._table('slabs', slab)
            self._slabs[slab] = at, self._reader.memory.once(at, SLAB * self._record.size)
        return self._slabs[slab]

    def _begins(self, address):
        """The record of the block that begins exactly here, or None."""
        granule = address // ALIGNMENT
        slots = self._leaf(granule // LEAF_SLOTS)
        number = slots[granule % LEAF_SLOTS] if slots else 0
        if not number or number == GONE:
            return None
        at, records = self._slab(number // SLAB)
        offset = number % SLAB * self._record.size
        record = Record(at + offset, *self._unpack(records, offset))
        return record if record.user == address and record.state in STATES else None

    def _of_base(self, base):
        """The record of the block that has this address for the variant, or None."""
        granule = base // ALIGNMENT
        slots = self._leaf(granule // LEAF_SLOTS)
        for front in FRONTS:
            at = granule % LEAF_SLOTS + front // ALIGNMENT
            if at >= LEAF_SLOTS or slots and slots[at]:
                record = self._begins(base + front)
                if record and record.front == front:
                    return record
        return None

    def _around(self, address):
        """The record of the block that contains this address, canaries included, or None."""
        for above in range(address, address + CANARY_MOST + 1):
            record = None if above % ALIGNMENT else self._begins(above)
            if record and record.base <= address:
                return record
        record = self._below(address)
        return record if record and address < record.end + record.rear else None

    def _below(self, address):
        leaf, slot = divmod(address // ALIGNMENT, LEAF_SLOTS)
        while leaf >= 0:
            if not self._table('maps', leaf // MAP_LEAVES):
                leaf -= leaf % MAP_LEAVES
            begun = bytes(self._leaf(leaf)[:slot + 1]).rstrip(b'\0')  # skips large blocks fast
            for i in range(-(-len(begun) // 4) - 1, -1, -1):
                record = self._begins((leaf * LEAF_SLOTS + i) * ALIGNMENT)
                if record:
                    return record
            leaf, slot = leaf - 1, LEAF_SLOTS - 1
        return None

    # ── what the commands ask ────────────────────────────────────────────────

    def _shown(self, chunk):
        """(the chunk with the program's bounds, its record or None)."""
        # A chunk that is free for the variant has no record; blocks in quarantine are live for it.
        record = self._of_base(chunk.user) if chunk.kind == LIVE else None
        if record is None or not record.size <= record.room == chunk.usable:  # dumb reports all blocks as one
            return chunk, None
        return Chunk(STATES[record.state], chunk.start, chunk.extent, record.user, record.size,
                     chunk.size_class, chunk.owner), record

    def walk(self, start=0):
        for chunk in self._reader.walk(start):
            yield self._shown(chunk)[0]

    @cached_property
    def _blocks(self):
        """(kinds as bytes: 1 live, 2 in quarantine; then as arrays users, sizes, rooms, canaries) of all blocks in
        address order; or None where records and the variant's blocks do not agree, so that the walk has to tell."""
        under = self._reader.columns
        if under.broken or getattr(self._reader, 'others', True):  # several heaps; or dumb, with one block
            return None
        states, whole = bytearray(), [array('Q') for _ in range(5)]
        for columns in self._record_columns('state', 'user', 'size', 'room', 'canaries', 'front'):
            state = bytes(columns[0]).translate(KINDS)
            states += state.translate(None, b'\0')
            for to, column in zip(whole, columns[1:]):
                to.extend(compress(column, state))
        users, sizes, rooms, _, fronts = whole
        number = dict(zip(map(sub, users, fronts), range(len(users))))
        order = list(map(number.get, under.starts[LIVE]))
        if len(order) != len(users) or None in order or any(map(gt, sizes, rooms)) or any(map(
                ne, under.ends[LIVE], map(add, under.starts[LIVE], map(rooms.__getitem__, order)))):
            return None
        return (bytes(map(states.__getitem__, order)),
                *(array('Q', map(column.__getitem__, order)) for column in whole[:4]))

    @cached_property
    def columns(self):
        if self._blocks is None:
            return Reader.walked(self)
        (kinds, users, sizes, _, _), under, found = self._blocks, self._reader.columns, Columns()
        found.starts.update(under.starts)
        found.ends.update(under.ends)
        ends = list(map(add, users, sizes))
        for columns, all_of in ((found.starts, users), (found.ends, ends)):
            columns[LIVE] = array('Q', compress(all_of, kinds.translate(ONLY[1])))
            columns[FREE] = array('Q', sorted([*columns[FREE], *compress(all_of, kinds.translate(ONLY[2]))]))
        found.whole, found.regions = (under.starts[LIVE], under.ends[LIVE]), under.regions
        return found

    def live(self):
        return Reader.live(self)

    def lowest(self):
        return self._reader.lowest()

    def sizes(self):
        """The variant's rows, with its live blocks counted by their records."""
        if self._blocks is None:
            return Reader.sizes(self)
        (kinds, _, sizes, rooms, _), (found, broken) = self._blocks, self._reader.sizes()
        for row in found.values():
            row[0] = row[1] = 0
        for (kind, size, room), n in Counter(zip(kinds, sizes, rooms)).items():
            row = found.setdefault(room if room in found else up_to(room), [0, 0, 0, 0])
            i = 0 if kind == 1 else 2
            row[i] += n
            row[i + 1] += n * size
        return {size: row for size, row in found.items() if any(row)}, broken

    def stats(self):
        """The variant's figures, corrected by the records."""
        stats, broken = self._reader.stats()
        if broken or self._blocks is None:
            return self._walked_stats()
        kinds, users, sizes, rooms, _ = self._blocks
        held = self._quarantine()
        stats.header_bytes += self.overhead() - self._reader.overhead() + sum(rooms) - sum(sizes)
        stats.live_blocks -= len(held)
        stats.live_bytes += sum(sizes) - sum(held) - sum(rooms)
        stats.free_blocks += len(held)
        stats.free_bytes += sum(held)
        stats.largest = max(stats.largest, max(held, default=0))
        shares, owner_at = self._reader.shares, self._reader.owner_at
        for kind, user, size, room in zip(kinds, users, sizes, rooms) if shares else ():
            share = shares.get(owner_at(user), [0] * 5)
            if kind == 1:
                share[2] += size - room
            else:
                share[1] -= 1
                share[2] -= room
                share[3] += 1
        return stats, None

    def _record_columns(self, *names):
        """These fields of all records ever made, slab by slab, as lists; `canaries` are front, rear and filled in
        one word."""
        layout, step = self._record, self._record.size // WORD
        places = [(layout.offset('front' if name == 'canaries' else name) // WORD, name) for name in names]
        for slab in range(int(self._guard['made']) // SLAB + 1):
            at = self._table('slabs', slab)
            if at:
                words = as_words(self._reader.memory.once(at, SLAB * layout.size))
                columns = [(words[i::step].tolist(), name) for i, name in places]
                yield [[word & HALF for word in column] if name in ('state', 'front') else column
                       for column, name in columns]

    def _walked_stats(self):
        stats, broken = Stats(self.overhead()), None
        self._reader.shares = shares = {}
        try:
            for chunk in self.walk():
                stats.add(chunk)
                if chunk.owner:
                    add_share(shares.setdefault(chunk.owner, [0] * 5), chunk)
        except Broken as error:
            broken = error
        return stats, broken

    def overhead(self):
        return (self._reader.overhead() + self._guard.type.sizeof + self._slots +
                int(self._guard['mapped']))

    def fields(self, chunk):
        record = self._begins(chunk.user) if chunk.user and chunk.user % ALIGNMENT == 0 else None
        if record is None:
            return self._reader.fields(chunk)
        under = chunk._replace(user=record.base, usable=record.room)
        rear = (record.end + 7) // 8 * 8
        return self._reader.fields(under) + [
            (at, 'canary') for at in (*range(record.base, record.user, 8),
                                      *range(rear, record.end + record.rear, 8))]

    def site(self, address):
        record = None if address % ALIGNMENT else self._begins(address)
        if record is None:
            return ''
        frames = self._reader.memory.read(record.at + self._record.offset('allocated'), 3 * WORD)
        return ' < '.join(filter(None, map(self._code.name, as_words(frames))))

    def try_free(self, address):
        record = None if address % ALIGNMENT else self._begins(address)
        if record is None or STATES[record.state] == FREE:
            return Reader.try_free(self, address)
        try:
            self._check(record)
        except Broken as broken:
            return False, str(broken)
        return True, (f'{address:#x} is a live block of {record.size} bytes, its canaries are whole, and '
                      'it goes into quarantine')

    def records(self):
        """Includes the guard's own records, whose map points to every block, even to lost ones."""
        maps, slabs = MAPS * WORD, SLABS * WORD
        found = [(at, at + MAP_LEAVES * WORD) for at in self._entries('maps', maps)]
        leaves = [leaf for start, end in found
                  for leaf in as_words(self._reader.memory.once(start, end - start)) if leaf]
        found += [(at, at + 4 * LEAF_SLOTS) for at in leaves]
        found += [(at, at + SLAB * self._record.size) for at in self._entries('slabs', slabs)]
        return self._reader.records() + found

    def _entries(self, name, length):
        """The addresses in guard.maps or guard.slabs."""
        start = int(self._guard[name].address)
        return [each for each in as_words(self._reader.memory.once(start, length)) if each]

    def place(self, address):
        place = self._reader.place(address)
        record = self._around(address)
        if place is None or record is None:
            return place
        state = STATES[record.state]
        if address == record.user:
            where = f'the start of a {state} block'
        elif address < record.user:
            where = f'{record.user - address} bytes before the {state} block {record.user:#x}'
        elif address < record.end:
            where = f'{address - record.user} bytes into the {state} block {record.user:#x}'
        else:
            where = f'{address - record.end} bytes behind the {state} block {record.user:#x}'
        rows = [('block', f'{record.user:#x} .. {record.end:#x}  {record.size} bytes'),
                ('state', f'{state}, in quarantine' if state == FREE else state)]
        for label in ('allocated', 'freed') if state == FREE else ('allocated',):
            rows += self._callers(record, label)
        known = {label for label, _ in rows}
        return Place(f'{address:#x} is {where}',
                     rows + [row for row in place.rows if row[0] not in known])

    def callers(self, address):
        """Who allocated the block that begins here, and who freed it, as rows of (label, text)."""
        record = None if address % ALIGNMENT else self._begins(address)
        if record is None:
            return []
        return self._callers(record, 'allocated') + self._callers(record, 'freed')

    def _callers(self, record, label):
        frames = self._reader.memory.read(record.at + self._record.offset(label),
                                          self._record.field(label).sizeof)
        lines = []
        for frame in as_words(frames):
            functions = self._code.functions(frame) if frame else []
            if not functions:
                break  # frame pointers led the guard to an address that is no code
            lines += functions
        return [('' if i else label, line) for i, line in enumerate(lines)]

    def _quarantine(self):
        """The sizes of the blocks in it."""
        if self._blocks:
            return list(compress(self._blocks[2], self._blocks[0].translate(ONLY[2])))
        return [record.size for _, record in map(self._shown, self._reader.walk())
                if record and STATES[record.state] == FREE]

    def free(self):
        heading, rows, last, broken = self._reader.free()
        if not broken:
            held = self._quarantine()
            last += f'\n{count(len(held), "block")}, {sum(held)} bytes in quarantine'
        return heading, rows, last, broken

    def check(self):
        """Checks canaries first, because those name the code that allocated the overrun block."""
        checked = self._sound()
        if checked is None:
            checked = 0
            for record in self._walked():
                self._check(record)
                checked += 1
        sound = self._reader.check()
        return f'{sound}\nok: the canaries of {count(checked, "block")}'

    def _sound(self):
        """The number of blocks if all canaries and fills are as they should be, else None."""
        if self._blocks is None:
            return None
        data, at, canary, filled_with = b'', 0, CANARY * 2, bytes([FREED_FILL]) * FILL_MOST
        for kind, user, size, _, word in zip(*self._blocks):
            front, rear, filled = min(word & HALF, CANARY_MOST), word >> 32 & 0xff, word >> 48 & 0xff
            low, end = user - front, user + size
            if low < at or end + rear > at + len(data):
                at, data = low, self._around_block(low, end + rear)
                if len(data) < end + rear - low:
                    return None
            i = end - at
            if rear and data[i:i + rear] != canary[end % 64:end % 64 + rear]:
                return None
            if front and data[low - at:user - at] != canary[low % 64:low % 64 + front]:
                return None
            if filled and kind == 2:
                length = min(size, FILL_MOST)
                if data[user - at:user - at + length] != filled_with[:length]:
                    return None
        return len(self._blocks[1])

    def _around_block(self, low, end):
        """The memory of a block, and of more behind it if it is short."""
        try:
            memory = self._reader.memory
            return memory.once(low, end - low) if end - low > STRETCH else memory.stretch(low, low + STRETCH)
        except Unreadable:
            return b''

    def _walked(self):
        """The record of each block, as far as the heap can be walked."""
        try:
            for chunk in self._reader.walk():
                record = self._shown(chunk)[1]
                if record:
                    yield record
        except Broken:
            return  # the variant's own check reports it

    def _check(self, record):
        """As record_broken in guard.h."""
        front = min(record.front, CANARY_MOST)
        name = f'{record.user:#x} ({record.size} bytes)'
        for start, size, where in ((record.end, record.rear, 'behind'),
                                   (record.user - front, front, 'in front of')):
            want = (CANARY * 2)[start % 64:start % 64 + size]
            have = self._reader.memory.read(start, size) if size else b''
            if have != want:
                raise Broken(f'{name}: its canary is damaged, {where} it',
                             [('is', have.hex(' ')), ('was', want.hex(' ')),
                              *self._callers(record, 'allocated')])
        filled = min(record.size, FILL_MOST) if record.filled and record.state == 2 else 0
        if filled and self._reader.memory.read(record.user, filled) != bytes([FREED_FILL]) * filled:
            raise Broken(f'{name}: written to after it was freed',
                         self._callers(record, 'allocated') + self._callers(record, 'freed'))

    def notes(self):
        return [*self._reader.notes(), 'a debug build: blocks are shown as the program asked for '
                'them, and those in quarantine as free']


def add_share(share, chunk):
    """Adds a chunk to the share of a thread's heap: pages, live blocks, their bytes, free, remote."""
    kinds = {SPAN: (0,), LIVE: (1, 2), FREE: (3,), REMOTE: (4,)}
    for i in kinds.get(chunk.kind, ()):
        share[i] += chunk.usable if i == 2 else 1
