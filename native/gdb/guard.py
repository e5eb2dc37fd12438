"""Reads the guard's records in a debug build (native/guard/guard.h): which blocks the program
requested, and which code did.

It wraps the reader of a variant and shows blocks with the bounds that the program requested, and
blocks in quarantine as free. It finds records as guard/records.h does, by reading memory only.
"""

from array import array
from copy import copy
from functools import cached_property
from itertools import compress, repeat
from operator import add, gt, ne, sub
from typing import NamedTuple

import gdb

from .chunks import (FREE, LIVE, ONLY, REMOTE, SPAN, Broken, Chunk, Columns, Place, Reader, Stats,
                     count, up_to)
from .guard_bulk import CANARY, CANARY_MOST, FILL_MOST, FREED_FILL, SLAB, Records
from .memory import WORD, Layout, as_words
from .symbols import Code

ALIGNMENT = 16
LEAF_SLOTS, MAP_LEAVES, MAPS = 1 << 16, 1 << 14, 1 << 13
SLABS = 1 << 16
GONE = 2 ** 32 - 1
STATES = {1: LIVE, 2: FREE, 3: LIVE}  # 3: a thread is working on the block
FRONTS = (0, *(ALIGNMENT << i for i in range(9)))  # as guard_front: up to a page
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
    def _records(self):
        numbers = range(min(int(self._guard['made']) // SLAB + 1, SLABS))
        slabs = [self._table('slabs', number) for number in numbers]
        return Records(self._reader.memory, self._record, list(filter(None, slabs)))

    @cached_property
    def _blocks(self):
        """(kinds as bytes: 1 live, 2 in quarantine; then as arrays users, sizes) of all blocks that are live for the
        variant, in address order; or None where records and the variant's blocks do not agree, so that the walk has to
        tell. A block without a record counts as live."""
        under = self._reader.columns
        if under.broken or getattr(self._reader, 'others', True):  # several heaps; or dumb, with one block
            return None
        starts, ends = under.starts[LIVE], under.ends[LIVE]
        kinds, (users, sizes, rooms, fronts) = self._records.columns('user', 'size', 'room', 'front')
        if any(map(gt, sizes, rooms)):
            return None
        bases = list(map(sub, users, fronts)) if any(fronts) else users
        if bases != starts:
            number = dict(zip(bases, range(len(bases))))
            order = list(map(number.get, starts, repeat(len(bases))))
            if len(starts) - order.count(len(bases)) != len(bases):
                return None  # a record of a block that is not live
            if len(starts) > len(bases):
                return self._with_others(order, kinds, users, sizes, rooms)
            kinds = bytes([kinds[i] for i in order])
            users, sizes, rooms = (array('Q', [column[i] for i in order]) for column in (users, sizes, rooms))
        return None if any(map(ne, ends, map(add, starts, rooms))) else (kinds, users, sizes)

    def _with_others(self, order, *columns):
        """As `_blocks`, if the variant has blocks without a record: theirs is the number behind the last one."""
        starts, ends = self._reader.columns.starts[LIVE], self._reader.columns.ends[LIVE]
        all_kinds, all_users, all_sizes, rooms = columns
        kinds, users, sizes = bytearray(b'\1') * len(starts), array('Q', starts), array('Q', map(sub, ends, starts))
        most = len(all_kinds)
        for at in [at for at, i in enumerate(order) if i < most]:
            i = order[at]
            if rooms[i] != sizes[at]:
                return None
            kinds[at], users[at], sizes[at] = all_kinds[i], all_users[i], all_sizes[i]
        return bytes(kinds), users, sizes

    @cached_property
    def columns(self):
        if self._blocks is None:
            return Reader.walked(self)
        (kinds, users, sizes), under, found = self._blocks, self._reader.columns, Columns()
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

    @cached_property
    def _counted(self):
        """(the variant's figures, (kind, size, room) → how many records, the variant's shares) if they may agree, else
        None."""
        stats, broken = self._reader.stats()
        if broken or getattr(self._reader, 'others', True):
            return None
        found = self._records.counted
        blocks, rooms = sum(found.values()), sum(room * n for (_, _, room), n in found.items())
        if any(size > room for _, size, room in found) or blocks > stats.live_blocks or rooms > stats.live_bytes or (
                blocks == stats.live_blocks and rooms != stats.live_bytes):
            return None
        return stats, found, self._reader.shares

    def sizes(self):
        """The variant's rows, with its live blocks counted by their records."""
        if self._counted is None:
            return Reader.sizes(self)
        found, broken = self._reader.sizes()
        for (kind, size, room), n in self._counted[1].items():
            row = found.setdefault(room if room in found else up_to(room), [0, 0, 0, 0])
            for i, more, each in ((0, -n, room), (0 if kind == 1 else 2, n, size)):
                row[i] += more
                row[i + 1] += more * each
        if any(min(row) < 0 for row in found.values()):
            return Reader.sizes(self)
        return {size: row for size, row in found.items() if any(row)}, broken

    def stats(self):
        """The variant's figures, corrected by the records."""
        if self._counted is None:
            return self._walked_stats()
        stats, found = copy(self._counted[0]), self._counted[1]
        self._reader.shares = {heap: list(share) for heap, share in self._counted[2].items()}
        held, held_bytes, largest = self._quarantine()
        sizes, rooms = (sum(each[i] * n for each, n in found.items()) for i in (1, 2))
        stats.header_bytes += self.overhead() - self._reader.overhead() + rooms - sizes
        stats.live_blocks -= held
        stats.live_bytes += sizes - held_bytes - rooms
        stats.free_blocks += held
        stats.free_bytes += held_bytes
        stats.largest = max(stats.largest, largest)
        self._correct_shares()
        return stats, None

    def _correct_shares(self):
        shares, owner_at = self._reader.shares, self._reader.owner_at
        if len(shares) == 1:  # whose blocks have classes
            share, = shares.values()
            counted = [(*each, n) for each, n in self._counted[1].items() if each[2] <= self._reader.most_owned]
        else:
            kinds, (users, sizes, rooms) = self._records.columns('user', 'size', 'room') if shares else (b'', [()] * 3)
            counted = zip(kinds, sizes, rooms, repeat(1), users)
        for kind, size, room, n, *user in counted:
            share = shares.get(owner_at(*user), [0] * 5) if user else share
            share[2] += n * (size - room) if kind == 1 else -n * room
            if kind == 2:
                share[1] -= n
                share[3] += n

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
        """(how many blocks are in it, their bytes, those of the largest)."""
        if self._counted:
            held = [(size, n) for (kind, size, _), n in self._counted[1].items() if kind == 2]
        else:
            held = [(record.size, 1) for _, record in map(self._shown, self._reader.walk())
                    if record and STATES[record.state] == FREE]
        return sum(n for _, n in held), sum(size * n for size, n in held), max((size for size, _ in held), default=0)

    def free(self):
        heading, rows, last, broken = self._reader.free()
        if not broken:
            blocks, size, _ = self._quarantine()
            last += f'\n{count(blocks, "block")}, {size} bytes in quarantine'
        return heading, rows, last, broken

    def check(self):
        """Checks canaries first, because those name the code that allocated the overrun block."""
        checked = self._records.sound()
        if checked is None:
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
