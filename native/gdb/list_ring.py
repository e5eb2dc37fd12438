"""The ring of list.c in memory: chunks behind a sentinel, in address order. A walk can skip damaged ones.
"""

from bisect import bisect_right
from collections import Counter
from itertools import compress
from operator import itemgetter
from typing import NamedTuple

from .chunks import FREE, LIVE, NOT, Broken, Columns, skipped
from .memory import ALL, PAGE, STRETCH, WORD, Unreadable, as_words

ALIGNMENT = 16
NEAR = 1 << 12, 1 << 16, 1 << 20  # bytes
FIELDS = ('next', 'prev', 'size', 'free')


class Odd(Exception):
    """The fast sweep met something that the careful walk must examine."""


class Steps(dict):
    """Size → words to the next header; a huge number for a size that no chunk has."""

    def __init__(self, header):
        super().__init__()
        self._header = header

    def __missing__(self, size):
        self[size] = step = ALL if size % ALIGNMENT else size + self._header >> 3
        return step


class Arena(NamedTuple):
    address: int
    sentinel: int
    start: int
    end: int


class Ring:

    def __init__(self, memory, layout, arena, wrong=None):
        """`wrong`: the Broken because of which this may not be the arena in use, or None."""
        self.memory, self.layout, self.header_size = memory, layout, layout.size
        self.sentinel, self.start, self.end = arena.sentinel, arena.start, arena.end
        self._links = [layout.offset(link) // WORD for link in ('next', 'prev')]
        self.wrong = wrong
        self._anchors = []  # (the chunk before, a chunk), in address order
        self.skips, self._regions = {}, None  # a damaged chunk → the next valid chunk

    def headers(self, before=0, at=0):
        """(address, size, free, next) of each chunk, from the first or from `at` on. Checks a link before
        it follows it, so it ends on every heap. Raises Broken at the first bad one; `_at` is then the
        address of its chunk."""
        sentinel, end, header = self.sentinel, self.end, self.header_size
        unpack = self.layout.unpacker(*FIELDS)
        buffer, base, limit = b'', 0, -1
        self._at = 0
        if not at:
            before, at = sentinel, self._link(sentinel, 'next')
        while at != sentinel:
            offset = at - base
            if not 0 <= offset <= limit:
                self._at = at
                try:
                    buffer = self.memory.stretch(at, end)
                except Unreadable as error:
                    raise Broken(f'chunk {at:#x}: {error}') from None
                base, offset, limit = at, 0, len(buffer) - header
                self._remember(before, at)
                if limit < 0:
                    raise Broken(f'chunk {at:#x}: the arena ends at {end:#x}, inside its header')
            following, prev, size, free = unpack(buffer, offset)
            bound = end if following == sentinel else following
            edge = at + header + size
            if (prev != before or free > 1 or (size | bound) % ALIGNMENT or not edge <= bound <= end or
                    edge != bound and self._passes_over(at, edge, following)):
                self._at = at
                raise self._broken(at, before, following, prev, size, free)
            yield at, size, free, following
            before, at = at, following
        self._at = sentinel
        if self._link(sentinel, 'prev') != before:
            raise Broken(f'the last chunk is {before:#x}, but the sentinel says '
                         f'{self._link(sentinel, "prev"):#x}', self.show(sentinel))

    def sweep(self):
        """The chunks of a sound ring as Columns. Raises Odd at anything unusual."""
        found, header = Columns(), self.header_size
        for begins, _, free, end in self._stretches():
            ends, blocks = [*begins[1:], end], [at + header for at in begins]
            for kind, chosen in ((FREE, free), (LIVE, free.translate(NOT))):
                found.starts[kind].extend(compress(blocks, chosen))
                found.ends[kind].extend(compress(ends, chosen))
        found.regions = self._whole
        return found

    def tally(self):
        """(size → live chunks, size → free ones, [(start, end)]) of a sound ring. Raises Odd, too."""
        live, free = Counter(), Counter()
        for _, sizes, is_free, _ in self._stretches():
            free.update(compress(sizes, is_free))
            live.update(compress(sizes, is_free.translate(NOT)))
        return live, free, self._whole

    def _stretches(self):
        """(where the chunks begin, their sizes, a byte for each: 1 if it is free, where the last one ends) of one
        stretch of a sound ring after the other, two million chunks a second. Raises Odd at anything unusual."""
        before, steps = self.sentinel, Steps(self.header_size)
        try:
            at = self._link(before, 'next')
            self._whole = [(at, self.end)]
            while at != self.sentinel:
                self._remember(before, at)
                words = as_words(self.memory.stretch(at, self.end))
                begins, sizes, free, end = self._stretch(words, steps, before, at)
                yield begins, sizes, free, end
                before, at = begins[-1], end if end < self.end else self.sentinel
            is_whole = self._link(self.sentinel, 'prev') == before
        except (Broken, Unreadable):
            raise Odd from None
        if self.wrong or not is_whole or before == self.sentinel:
            raise Odd

    def _stretch(self, words, steps, before, at):
        """As `_stretches`, of the words from the chunk `at` on. Follows the sizes, then compares the links."""
        ahead, back, size_at, free_at = (self.layout.offset(name) // WORD for name in FIELDS)
        ends_at = max(ahead, back, size_at, free_at)
        heads, places, i = words[size_at:len(words) - ends_at + size_at], [], 0
        add = places.append
        try:
            while True:  # runs once for each chunk
                step = steps[heads[i]]
                add(i)
                i += step
        except IndexError:
            pass
        if not places or i >= ALL:
            raise Odd
        pick = itemgetter(*places, places[0])  # at least two, or it gives no tuple
        begins, end = [at + i * WORD for i in places], at + i * WORD
        following, prev, sizes, free = (pick(words[offset:])[:-1] for offset in (ahead, back, size_at, free_at))
        if max(free) > 1 or end > self.end or prev != (before, *begins[:-1]) or following != (
                *begins[1:], end if end < self.end else self.sentinel):
            raise Odd
        return begins, sizes, bytes(free), end

    def chunks(self, problems, start=0):
        """As `headers`, from the chunk that contains `start` on. Continues after damage, which it adds to
        `problems`."""
        before, at = (0, 0) if start <= self.start else self._from(start)
        problems += [self.wrong] if self.wrong else []
        while True:
            try:
                yield from self.headers(before, at)
                return
            except Broken as error:
                problems.append(error)
            bad = self._at or self.start
            found = None if bad == self.sentinel else self._resume(bad)
            if found is None:
                if bad != self.sentinel:
                    problems[-1].price = skipped(bad, max(bad, self.end))
                return
            before, at = found
            problems[-1].price = skipped(bad, at)
            self.skips[bad] = at

    def _passes_over(self, at, edge, following):
        """True if `next` skips a chunk that begins where this one ends. (If this one ends at a hole, other
        code moved the break.)"""
        try:
            back, = self.memory.record(self.layout, following, 'prev')
            return back != at and self.memory.record(self.layout, edge, 'prev')[0] == at
        except Unreadable:
            return False

    def _from(self, address):
        """(the chunk before, the chunk that contains an address)."""
        if address < self.end:
            found = self.skim(address)
            if found:
                return found[:2]
        return 0, 0

    def _resume(self, bad, last=ALL):
        """(the chunk before, the first valid chunk after this one, up to `last`), or None. A chunk is valid if it
        and the next ones link to each other and back. The old header of a chunk that was merged may look like
        one, but no chunk links back to it."""
        ahead, back = self._links
        at, end = bad + ALIGNMENT, self.end - self.header_size
        last = min(last, end)
        while at <= last:
            try:
                words = as_words(self.memory.stretch(at, last + self.header_size))
            except Unreadable:
                return None
            for i in range(0, len(words) - 3, 2):
                following, here = words[i + ahead], at + i * WORD
                if (following == self.sentinel or here < following <= end) and (
                        words[i + back] < here) and self._makes_sense(here):
                    return words[i + back], here
            at += max(len(words) // 2 * 2 - 2, 2) * WORD
        return None

    def _makes_sense(self, at):
        """True if this chunk and the next three link to each other and back."""
        for _ in range(4):
            if at == self.sentinel:
                return True
            try:
                following, size, free = self.memory.record(self.layout, at, 'next', 'size', 'free')
                if following != self.sentinel and not (self._holds(following) and following > at):
                    return False
                bound = self.end if following == self.sentinel else following
                if free > 1 or size % ALIGNMENT or at + self.header_size + size > bound or (
                        self.memory.record(self.layout, following, 'prev')[0] != at):
                    return False
            except Unreadable:
                return False
            at = following
        return True

    def _link(self, chunk, field):
        try:
            to, = self.memory.record(self.layout, chunk, field)
        except Unreadable as error:
            raise Broken(f'chunk {chunk:#x}: {error}') from None
        if to != self.sentinel and not self._holds(to):
            raise Broken(f'`{field}` of {chunk:#x} is {to:#x}, which is no chunk of this heap',
                         self.show(chunk))
        return to

    def _holds(self, chunk):
        return self.start <= chunk <= self.end - self.header_size and chunk % ALIGNMENT == 0

    def _broken(self, at, before, following, prev, size, free):
        """The first thing that is wrong with this header, in a sentence."""
        name = f'chunk {at:#x}: '
        data_end = at + self.header_size + size
        if prev != before:
            what = f'`prev` is {prev:#x}, but the chunk before it is {before:#x}'
        elif following != self.sentinel and not self._holds(following):
            what = f'`next` is {following:#x}, which is no chunk of this heap'
        elif following != self.sentinel and following <= at:
            what = f'`next` is {following:#x}, which leads back'
        elif free > 1:
            what = f'`free` is {free:#x}, and neither 0 nor 1'
        elif size % ALIGNMENT:
            what = f'`size` is {size}, which is no multiple of {ALIGNMENT}'
        elif data_end < (self.end if following == self.sentinel else following):
            what = f'`next` is {following:#x}, but a chunk begins at {data_end:#x}, where this one ends'
        elif following == self.sentinel:
            what = f'with a `size` of {size} it ends at {data_end:#x}, behind the heap'
        else:
            what = f'with a `size` of {size} it ends at {data_end:#x}, inside the next chunk'
        return Broken(name + what, [*self.show(at), *self._show_before(before)])

    def regions(self):
        """start → end of each stretch without a hole, as far as the ring is sound."""
        if self._regions is None:
            regions, start, end = {}, None, None
            for at, size, _, _ in self.chunks([]):
                if at != end and self.skips.get(end) != at:
                    start = at
                regions[start] = end = at + self.header_size + size
            self._regions = regions
        return self._regions

    # ── which chunk holds an address ─────────────────────────────────────────

    def _remember(self, before, at):
        """Keeps a sound chunk from time to time, so that later searches can begin there."""
        if not self._anchors or at > self._anchors[-1][1] + STRETCH // 2:
            self._anchors.append((before, at))

    def skim(self, address):
        """Searches from the nearest kept chunk, else from the nearer end; if the ring is broken on the way,
        from the other end."""
        i = bisect_right(self._anchors, address, key=lambda each: each[1]) - 1
        if i >= 0 and self._anchors[-1][1] + 2 * STRETCH > address:
            found = self._skim_from_start(address, *self._anchors[i])
            if found:
                return found
        found = self._skim_near(address)
        if found:
            return found
        ways = [self._skim_from_start, self._skim_from_end]
        if address - self.start > self.end - address:
            ways.reverse()
        return ways[0](address) or ways[1](address)

    def _skim_near(self, address):
        """As `skim`, from a valid chunk a little in front of the address; None if there is none. (What is
        left of a header in a block links to chunks that do not link back.)"""
        for distance in NEAR:
            start = address - distance & -ALIGNMENT
            if start <= self.start:
                break
            before, at = self._resume(start, address) or (0, 0)
            if self._holds(before) and self._link(before, 'next') == at:
                return self._skim_from_start(address, before, at)
        return None

    # A skim follows one link from chunk to chunk, and checks only whether the other link agrees, so
    # half a million chunks take a tenth of a second. That suffices to find the chunk of an address,
    # because a damaged size or state elsewhere moves no chunk.

    def _skim_from_start(self, address, before=0, at=0):
        """(the chunk before, the last one that begins at or before the address, the next chunk), or None if
        links disagree on the way."""
        (ahead, back), base, limit = self._links, 0, 0
        before = before or self.sentinel
        try:
            at = at or self._link(before, 'next')
            if at > address:
                return None
            while True:
                i = at - base >> 3
                if not 0 <= i < limit:
                    self._remember(before, at)
                    words, base = self._words(at, self.end)
                    i, limit = 0, len(words) - 3
                following = words[i + ahead]
                if words[i + back] != before or at & ALIGNMENT - 1:
                    return None
                if not at < following <= address:
                    break
                before, at = at, following
            agrees = self._link(following, 'prev') == at
        except (Broken, Unreadable, IndexError):
            return None
        return (before, at, following) if agrees and self._fits(at, following) else None

    def _skim_from_end(self, address):
        """As above, from the end; here only this chunk's own link says which chunk is before it."""
        (ahead, back), following, base, limit = self._links, self.sentinel, 0, 0
        try:
            at = self._link(following, 'prev')
            while True:
                i = at - base >> 3
                if not 0 <= i < limit:
                    words, base = self._words_before(at + self.header_size)
                    i, limit = at - base >> 3, len(words) - 3
                before = words[i + back]
                if words[i + ahead] != following or at & ALIGNMENT - 1:
                    return None
                if at <= address:
                    break
                if not self.start <= before < at:
                    return None
                following, at = at, before
        except (Broken, Unreadable, IndexError):
            return None
        return (before, at, following) if self._fits(at, following) else None

    def _words(self, start, end):
        """(the memory from `start` on as words, where they begin): as many as one read returns."""
        return as_words(self.memory.stretch(start, end)), start

    def _words_before(self, end):
        """As `_words`, but the memory up to `end`."""
        base = max(self.start, end - STRETCH)
        try:
            data = self.memory.once(base, end - base)
        except Unreadable:  # there is a hole in it
            base = max(base, (end - self.header_size) // PAGE * PAGE)
            data = self.memory.once(base, end - base)
        return as_words(data), base

    def _fits(self, at, following):
        """True if the size and the state of this chunk are possible."""
        size, free = self.memory.record(self.layout, at, 'size', 'free')
        bound = self.end if following == self.sentinel else following
        return free <= 1 and size % ALIGNMENT == 0 and at + self.header_size + size <= bound <= self.end

    # ── showing ──────────────────────────────────────────────────────────────

    def show(self, chunk):
        """The four words of a header."""
        rows = []
        for field in FIELDS:
            try:
                value, = self.memory.record(self.layout, chunk, field)
            except Unreadable:
                continue
            decimal = f'  {value}' if field in ('size', 'free') else ''
            at = chunk + self.layout.offset(field)
            rows.append((f'{at:#x} {field}', f'{value:#018x}{decimal}'))
        return rows

    def _show_before(self, before):
        """The block that ends where the broken header begins, which is the usual culprit."""
        if before == self.sentinel:
            return []
        return [('the one before', self.describe(before))]

    def describe(self, chunk):
        if chunk == self.sentinel:
            return 'none'
        try:
            size, free = self.memory.record(self.layout, chunk, 'size', 'free')
        except Unreadable as error:
            return f'{chunk:#x}: {error}'
        return f'{chunk + self.header_size:#x}  {FREE if free else LIVE}  {size} bytes'
