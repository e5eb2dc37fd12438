"""What every heap consists of, whatever the malloc: chunks, figures, places, findings.

It uses the words and figures of libmalloc.h; tests compare both.
"""

from array import array
from functools import cached_property
from itertools import compress
from typing import NamedTuple

REGION, SPAN, HEADER, LIVE, FREE, FRESH, CACHED, REMOTE = (
    'region', 'span', 'header', 'live', 'free', 'fresh', 'cached', 'remote')
CONTAINERS = (REGION, SPAN)
ALL = 2 ** 64 - 1
NOT = bytes([1, 0, *range(2, 256)])  # for `translate`: 0 to 1 and 1 to 0
ONLY = [bytes(byte == mark for byte in range(256)) for mark in range(3)]  # see Columns.add_run


class Chunk(NamedTuple):
    """As `struct libmalloc_chunk`. `size_class` is 0 if there are no classes, `owner` if all threads
    share one heap."""

    kind: str
    start: int
    extent: int
    user: int = 0
    usable: int = 0
    size_class: int = 0
    owner: int = 0

    @property
    def end(self):
        return self.start + self.extent


class Run(NamedTuple):
    """Blocks of one size without gaps, in a walk `in_runs`; `marks` has a byte for each: 0 live, 1 free, 2 remote."""

    start: int
    size: int
    marks: bytes
    kind = ''


class Columns:
    """The chunks of a heap by kind, as arrays in address order. An object for each of five million chunks
    would take some ten seconds."""

    def __init__(self):
        self.regions, self.broken = [], None  # (start, end); why the rest is incomplete
        kinds = (HEADER, LIVE, FREE, FRESH, CACHED, REMOTE)
        self.starts, self.ends = ({kind: array('Q') for kind in kinds} for _ in range(2))
        # The starts and ends of whole chunks, where more than the caller's part may fill a page.
        self.whole = array('Q'), array('Q')

    def add(self, chunk):
        if isinstance(chunk, Run):
            self.add_run(*chunk)
        elif chunk.kind == REGION:
            self.regions.append((chunk.start, chunk.end))
        elif chunk.kind != SPAN:
            start = chunk.user or chunk.start
            end = min(start + chunk.usable if chunk.user else chunk.end, ALL)
            self.starts[chunk.kind].append(start)
            self.ends[chunk.kind].append(end)
            if chunk.start < start or end < chunk.end:
                self.whole[0].append(chunk.start)
                self.whole[1].append(min(chunk.end, ALL))

    def add_run(self, start, size, marks):
        end = start + size * len(marks)
        for mark, kind in enumerate((LIVE, FREE, REMOTE)):
            if mark in marks:
                chosen = marks.translate(ONLY[mark])
                self.starts[kind].extend(compress(range(start, end, size), chosen))
                self.ends[kind].extend(compress(range(start + size, end + size, size), chosen))

    def ended(self, problems):
        """Itself, with the first of these as the reason why it is incomplete."""
        self.broken = problems[0] if problems else None
        return self


class Stats:
    """As `struct libmalloc_stats`, plus the largest single piece that is not in use."""

    def __init__(self, header_bytes=0):
        self.regions = self.mapped = 0
        self.live_blocks = self.live_bytes = 0
        self.free_blocks = self.free_bytes = 0
        self.fresh_bytes = 0
        self.header_bytes = header_bytes
        self.largest = 0

    def add(self, chunk):
        kind, usable = chunk.kind, chunk.usable
        if kind == LIVE:
            self.live_blocks += 1
            self.live_bytes += usable
        elif kind == REGION:
            self.regions += 1
            self.mapped += chunk.extent
            return
        elif kind == SPAN:
            return
        elif kind == FRESH:
            self.fresh_bytes += chunk.extent
            self.largest = max(self.largest, chunk.extent)
            return
        elif kind == CACHED:
            self.free_blocks += 1
            self.free_bytes += chunk.extent
            self.largest = max(self.largest, chunk.extent)
            return
        elif kind != HEADER:
            self.free_blocks += 1
            self.free_bytes += usable
            self.largest = max(self.largest, usable)
        self.header_bytes += chunk.extent - usable

    @property
    def unused(self):
        return self.free_bytes + self.fresh_bytes

    @property
    def in_use(self):
        """Per cent of the mapped bytes that are in live blocks."""
        return 100 * self.live_bytes / self.mapped if self.mapped else 0.0

    @property
    def fragmentation(self):
        """Per cent of the unused bytes that lie outside the largest piece of them."""
        return 100 * (1 - self.largest / self.unused) if self.unused else 0.0


class Place(NamedTuple):
    """Where an address lies: a sentence, and rows of (label, text)."""

    sentence: str
    rows: list


class Broken(Exception):
    """An invariant that does not hold: a sentence, and rows that show the bytes in question.

    A walk may raise it, too; the chunks before it are correct. `price` says how the damage affects
    the figures.
    """

    price = 'only what comes before the damage is counted'

    def __init__(self, sentence, rows=(), price=None):
        super().__init__(sentence)
        self.rows = list(rows)
        self.price = price or self.price


class Reader:
    """What the commands ask of a variant. Sizes in bytes, addresses as integers."""

    def __init__(self, library, memory):
        self.library, self.memory = library, memory

    def walk(self, start=0):
        """Every chunk that ends after `start`, in address order, each container before its content.
        Continues after damage as well as it can; raises the first Broken at its end."""
        raise NotImplementedError

    @cached_property
    def columns(self):
        """All chunks as Columns; a reader of many blocks has a faster way."""
        return self.walked(**self.bulk)

    bulk = {}  # the arguments with which `walk` gives Runs

    def walked(self, **how):
        found = Columns()
        try:
            for chunk in self.walk(**how):
                found.add(chunk)
        except Broken as error:
            found.broken = error
        return found

    def live(self):
        """(the starts of the live blocks, their ends, (start, end) of the regions, the Broken because
        of which they are incomplete or None); the first two are arrays in address order."""
        found = self.columns
        return found.starts[LIVE], found.ends[LIVE], found.regions, found.broken

    def lowest(self):
        """The start of the heap, or None. `heap chunks` takes a smaller number as that of a chunk."""
        try:
            return next((chunk.start for chunk in self.walk()), None)
        except Broken:
            return None

    def sizes(self):
        """({largest size: [live blocks, their bytes, free blocks, their bytes]}, the Broken because of
        which it is incomplete or None)."""
        found, broken = {}, None
        try:
            for chunk in self.walk():
                if chunk.kind in (LIVE, FREE, REMOTE):
                    row = found.setdefault(chunk.size_class or up_to(chunk.usable), [0, 0, 0, 0])
                    i = 0 if chunk.kind == LIVE else 2
                    row[i] += 1
                    row[i + 1] += chunk.usable
        except Broken as error:
            broken = error
        return found, broken

    def overhead(self):
        """Bytes of records outside all regions."""
        return 0

    shares = {}  # a thread's heap → [pages, live blocks, their bytes, free, remote]: see `stats`

    most_owned = ALL  # bytes of the largest block that counts for a share

    def owner_at(self, address):
        """The key in `shares` of the heap that owns a block, or None."""
        return None

    def header(self, chunk):
        """(address, bytes) of a block's header, or None if it has none."""
        return None

    def fields(self, chunk):
        """(address of a word, its name) of the malloc's own words in a chunk: headers, links."""
        found = self.header(chunk)
        return [(at, 'header') for at in range(found[0], sum(found), 8)] if found else []

    def try_free(self, address):
        """(True if free would accept the pointer, a sentence on what it would do and why)."""
        chunk = None
        for each in self.walk(address):
            if each.kind not in CONTAINERS:
                chunk = each
                break
        if chunk is None or not chunk.start <= address < chunk.end:
            return False, f'{address:#x} is not a block of this heap'
        if not chunk.user:
            return False, f'{address:#x} is not a block: it lies in {chunk.kind} memory'
        if address != chunk.user:
            return False, (f'{address:#x} is not a block: it lies {abs(address - chunk.user)} bytes '
                           f'{"into" if address > chunk.user else "before"} {chunk.user:#x} '
                           f'({chunk.kind}, {chunk.usable} bytes)')
        if chunk.kind != LIVE:
            return False, f'double free of {address:#x} ({chunk.usable} bytes)'
        return True, f'{address:#x} is a live block of {chunk.usable} bytes, and becomes free'

    def site(self, address):
        """The functions that allocated the block that begins here, shortened, or '' (debug builds)."""
        return ''

    def records(self):
        """(start, end) of the malloc's records that lie neither in a region nor in the library. A
        pointer in them does not make a block reachable for the program."""
        return []

    def callers(self, address):
        """Who allocated the block that begins here, and who freed it, if known (debug builds): rows
        of (label, text)."""
        return []

    def stats(self):
        """The figures, and the Broken because of which they are incomplete, or None."""
        stats, broken = Stats(self.overhead()), None
        try:
            for chunk in self.walk():
                stats.add(chunk)
        except Broken as error:
            broken = error
        return stats, broken

    def place(self, address):
        """The Place of an address, or None if it lies outside this heap."""
        raise NotImplementedError

    def free(self):
        """A table of free memory: (heading, rows, last line, the Broken because of which it is
        incomplete or None)."""
        raise NotImplementedError

    knows_free = True  # the rows of `heap` include free memory

    lists = ()  # the kinds of lists of free blocks that `heap free` accepts

    def listed(self, kind):
        """([(list, place on it, block, bytes)] of the lists of a kind, the Broken because of which they
        are incomplete or None)."""
        raise NotImplementedError

    def check(self):
        """Verifies every invariant; returns a line that says what holds, or raises Broken."""
        raise NotImplementedError

    def owners(self):
        """The heaps and their owners: (heading, rows), or None if all threads share one heap."""
        return None

    def notes(self):
        """Lines on the state of the heap that affect all figures."""
        return []


def up_to(size):
    """The power of two under which a size without a class is counted."""
    return 1 << max(size - 1, 1).bit_length()


def skipped(start, end):
    """The price of a damaged header: how many bytes are skipped up to the next valid chunk."""
    return f'{end - start} bytes from {start:#x} on are skipped; what comes behind them is counted'


FROZEN = ('frozen when the library stopped the program, or by a fork; the heap that took over is '
          'still empty')


def count(n, what):
    """`1 span`, `2 spans`, `2 classes`."""
    return f'{n} {what}' + ('' if n == 1 else 'es' if what.endswith('s') else 's')


def stretches(spans):
    """start → end of each run of spans (in address order) without a gap."""
    found, start, end = {}, None, None
    for span in spans:
        start = span.start if span.start != end else start
        found[start] = end = span.end
    return found


def owner(lock):
    """The thread (its LWP) that holds a `struct lock`, or 0."""
    mutex = lock['mutex']['__data']
    return int(mutex['__owner']) if int(mutex['__lock']) else 0


def owners_note(owners):
    """A note if threads were inside malloc when the program stopped."""
    who = ', '.join(str(each) for each in sorted(set(owners) - {0}))
    return [f'a lock is held by thread {who}: stopped inside a call, so a change may be half done'
            ] if who else []
