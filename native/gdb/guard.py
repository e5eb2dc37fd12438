"""Reads the guard's records in a debug build (native/guard/guard.h): which blocks the program
requested, and which code did.

It wraps the reader of a variant and shows blocks with the bounds that the program requested, and
blocks in quarantine as free. It finds records as guard/records.h does, by reading memory only.
"""

from typing import NamedTuple

import gdb

from .chunks import (FREE, LIVE, REMOTE, SPAN, Broken, Chunk, Place, Reader, Stats, count,
                     up_to)
from .memory import WORD, Layout, as_words
from .symbols import Code

ALIGNMENT = 16
LEAF_SLOTS, MAP_LEAVES, MAPS = 1 << 16, 1 << 14, 1 << 13
SLAB, SLABS = 1024, 1 << 16
GONE = 2 ** 32 - 1
STATES = {1: LIVE, 2: FREE, 3: LIVE}  # 3: a thread is working on the block
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
        if record is None or record.room != chunk.usable:  # dumb reports all blocks as one
            return chunk, None
        return Chunk(STATES[record.state], chunk.start, chunk.extent, record.user, record.size,
                     chunk.size_class, chunk.owner), record

    def walk(self, start=0):
        for chunk in self._reader.walk(start):
            yield self._shown(chunk)[0]

    def live(self):
        return Reader.live(self)

    def lowest(self):
        return self._reader.lowest()

    def sizes(self):
        """The variant's rows, with its live blocks counted by their records."""
        found, broken = self._reader.sizes()
        # Records of several heaps, or dumb, which reports all blocks as one.
        if getattr(self._reader, 'others', True):
            return Reader.sizes(self)
        for row in found.values():
            row[0] = row[1] = 0
        for state, _, size, room, _ in self._records():
            if state in STATES:
                row = found.setdefault(room if room in found else up_to(room), [0, 0, 0, 0])
                i = 0 if STATES[state] == LIVE else 2
                row[i] += 1
                row[i + 1] += size
        return {size: row for size, row in found.items() if any(row)}, broken

    def stats(self):
        """The variant's figures, each block corrected by its record. Counts from the walk instead if those
        are incomplete, if there are records of several heaps, or for dumb, which reports one block."""
        stats, broken = self._reader.stats()
        if broken or getattr(self._reader, 'others', True):
            return self._walked_stats()
        stats.header_bytes += self.overhead() - self._reader.overhead()
        shares, owner_at = self._reader.shares, self._reader.owner_at
        for state, user, size, room, front in self._records():
            if state not in STATES:
                continue
            share = shares.get(owner_at(user - front), [0] * 5)
            stats.header_bytes += room - size
            if STATES[state] == LIVE:
                stats.live_bytes += size - room
                share[2] += size - room
            else:
                stats.live_blocks -= 1
                stats.live_bytes -= room
                stats.free_blocks += 1
                stats.free_bytes += size
                stats.largest = max(stats.largest, size)
                share[1] -= 1
                share[2] -= room
                share[3] += 1
        return stats, None

    def _records(self):
        """(state, user, size, room, front) of each record ever made, read in bulk."""
        unpack = self._record.unpacker('state', 'user', 'size', 'room', 'front')
        length, made = self._record.size, int(self._guard['made'])
        for slab in range(made // SLAB + 1):
            at = self._table('slabs', slab)
            if at:
                data = self._reader.memory.once(at, SLAB * length)
                for offset in range(0, len(data), length):
                    yield unpack(data, offset)

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
        held = [record for _, record in map(self._shown, self._reader.walk())
                if record and STATES[record.state] == FREE]
        return len(held), sum(record.size for record in held)

    def free(self):
        heading, rows, last, broken = self._reader.free()
        if not broken:
            blocks, size = self._quarantine()
            last += f'\n{count(blocks, "block")}, {size} bytes in quarantine'
        return heading, rows, last, broken

    def check(self):
        """Checks canaries first, because those name the code that allocated the overrun block."""
        checked = 0
        for record in self._walked():
            self._check(record)
            checked += 1
        sound = self._reader.check()
        return f'{sound}\nok: the canaries of {count(checked, "block")}'

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
