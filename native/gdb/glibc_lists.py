"""The lists of free chunks in glibc's malloc: tcaches, fastbins and bins, and damage on them."""

from functools import cached_property
from itertools import compress

from .glibc_locate import Located
from .glibc_structs import BIN_COUNT, FASTBINS, FLAGS, HEADER, TCACHE_ENTRIES, Bin
from .memory import ALL, WORD, Unreadable

OUTSIDE = ~0xfff0  # the bits of an offset in 64 KiB that are set outside of them and where no chunk begins
ALIGNED, SAFE_LINKING = 15, (2, 32)  # the first version that masks links in tcaches and fastbins
FEW = 1 << 16  # how many chunks a question about one place follows in fastbins and bins
NONE = bytes(1 << 12)


class Held:
    """The chunks that are on lists. `marks` has a byte for each 16 bytes of every 64 KiB in which there is one, because
    a dict of millions takes seconds: the number of its fastbin, or LISTED for a chunk whose list is in `lists`."""

    LISTED = 255

    def __init__(self):
        self.marks, self.lists, self._fastbins = {}, {}, []

    def __contains__(self, chunk):
        marks = self.marks.get(chunk >> 16)
        return marks is not None and not chunk & ALIGNED and marks[(chunk & 0xffff) >> 4] != 0

    def get(self, chunk):
        """The list that a chunk is on, or None."""
        if chunk not in self:
            return None
        mark = self.marks[chunk >> 16][(chunk & 0xffff) >> 4]
        return self.lists[chunk] if mark == self.LISTED else self._fastbins[mark - 1]

    def mark_for(self, each):
        """The mark of the chunks of a list; many arenas have more fastbins than there are marks."""
        if each.kind != 'fastbin' or len(self._fastbins) == self.LISTED - 1:
            return self.LISTED
        self._fastbins.append(each)
        return len(self._fastbins)

    def marks_at(self, chunk):
        """The marks of the 64 KiB around a chunk."""
        return self.marks.setdefault(chunk >> 16, bytearray(NONE)) if chunk >> 16 not in self.marks else (
            self.marks[chunk >> 16])

    def add(self, chunk, mark, each):
        self.marks_at(chunk)[(chunk & 0xffff) >> 4] = mark
        if mark == self.LISTED:
            self.lists[chunk] = each

    def between(self, start, end):
        """Those in [start, end), in address order."""
        return [chunk for number in range(start >> 16, (end >> 16) + 1) if number in self.marks
                for chunk in compress(range(number << 16, number + 1 << 16, 16), self.marks[number])
                if start <= chunk < end]

    def flags(self, start, end):
        """A byte for each word from `start` to `end`: not 0 for the first two words of each of them."""
        first = start >> 16
        marks = b''.join(self.marks.get(number, NONE) for number in range(first, (end >> 16) + 1))
        found = bytearray(2 * len(marks))
        found[::2] = found[1::2] = marks
        return found[start - (first << 16) >> 3:]


class Lists(Located):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self._begin(ALL)

    def _begin(self, most):
        self.held = Held()  # `binned`, as far as it is known yet
        self.said = []  # damage on the lists: (sentence, function that makes the rows from the Arenas)
        self.part = []  # the lists
        self.cut = set()  # the sizes of lists that were not followed to their ends; 0 for those of all sizes
        self.is_judged = False  # see `is_free`
        self._left = most

    @cached_property
    def lists(self):
        """Every list of free chunks that is not empty. Damage goes into `found`."""
        self._read(ALL)
        return self.part

    @cached_property
    def binned(self):
        """All free chunks that are on a list."""
        self.need(whole=True)
        return self.held

    @property
    def near(self):
        """As `binned`, for a question about one place: does not follow long lists to their ends."""
        if 'lists' not in vars(self) and not self.cut:
            self._read(FEW)
            if not self.cut:
                self.lists = self.part
        return self.held

    def need(self, whole):
        """Reads the lists unless they are known: all of them, or what a question about one place needs."""
        return self.lists if whole else self.near

    def is_free(self, chunk, size, used):
        """Is a chunk free? `used` is what the flag in the next one says. If the lists of its size are too long for a
        question about one place, its own link decides."""
        if not used or chunk in self.near:
            return True
        if size not in self.cut:
            return False
        self.is_judged = True
        masked, word = self.library.numbers >= SAFE_LINKING, self.try_word(chunk + HEADER) or 0
        to = word ^ chunk + HEADER >> 12 if masked else word
        if not to:
            return masked
        return not to & ALIGNED and self.heap_of(to) is not None and (self.try_word(to + WORD) or 0) ^ size <= FLAGS

    def _read(self, most):
        self._begin(most)
        for cache in self.caches:
            try:
                counts, entries = self.read_cache(cache.at)
            except Unreadable:
                continue
            for i, (n, entry) in enumerate(zip(counts, entries)):
                if entry or n:
                    each = Bin('tcache', cache, 32 + 16 * i, cache.at + TCACHE_ENTRIES + i * WORD)
                    self._follow(each, entry, HEADER)
                    self.part.append(each)
                    if len(each.chunks) != n:
                        self._say(each, f'its count is {n}, but {len(each.chunks)} blocks are on it',
                                  lambda _, at=each.at: self.rows(at, 'first'))
        self._check_keys(self.part)
        for arena in self.arenas:
            self.part += self._lists_of(arena)

    def _lists_of(self, arena):
        found = []
        for i, first in enumerate(arena.fastbins):
            if first:
                each = Bin('fastbin', arena.name, 32 + 16 * i, arena.at + FASTBINS + i * WORD)
                each.arena = arena
                self._follow(each, first, 0)
                found.append(each)
        if not arena.heaps:
            return found
        for number in range(1, BIN_COUNT + 1):
            header = arena.bin_header(number)
            if self.word(header + HEADER) == header:
                continue
            kind = 'unsorted' if number == 1 else 'small' if number < 64 else 'large'
            each = Bin(kind, arena.name, number * 16 if kind == 'small' else 0, header)
            self._follow_ring(each, header)
            found.append(each)
        return found

    def _say(self, each, what, rows):
        self.said.append((f'{each}: {what}', rows))

    def _follow(self, each, first, offset):
        """Follows a singly linked list: from block to block in a tcache (`offset` 16), from chunk to chunk
        in a fastbin (0)."""
        at, back, size, held, mark = first, 0, each.size, self.held, self.held.mark_for(each)
        low, high = (self.heaps[0].start, self.heaps[-1].end) if self.heaps else (0, 0)
        shift = 12 if self.library.numbers >= SAFE_LINKING else 64
        while at:
            chunk = at - offset
            if at & ALIGNED or not low <= chunk < high or chunk in held:
                self._broken_link(each, back, at, 'is on a list already' if chunk in held else
                                  'is no chunk of this heap')
                return
            if self._left <= 0 and not offset:
                self.cut.add(size)
                return
            run, to = self._run(size, chunk, mark, shift) if not offset else ([], 0)
            if not run:
                try:
                    head, word = self.word(chunk + WORD), self.word(chunk + HEADER)
                except Unreadable:
                    self._broken_link(each, back, at, 'cannot be read')
                    return
                if head ^ size > FLAGS:
                    self._say(each, f'the free chunk {chunk:#x} on it has the size word {head:#x}',
                              lambda arenas, chunk=chunk: arenas.shown(chunk))
                run, to = [chunk], word ^ chunk + HEADER >> shift
            if len(run) == 1 or mark == held.LISTED:
                for chunk in run:
                    held.add(chunk, mark, each)
            each.chunks += run
            self._left -= 0 if offset else len(run)
            back, at = run[-1], to

    def _run(self, size, here, mark, shift):
        """(the chunks of a fastbin from this one on that lie within 64 KiB and are on no other list, where the last link
        leads). Marks them. Empty if the first one is unusual. This loop runs for each of a million chunks."""
        base, run, to = here & ~0xffff, [], here
        view = self._pieces[base >> 16] if base >> 16 in self._pieces else self._piece(here)
        if not view:
            return run, to
        heads, links, marks, add = view[1:-1:2], view[2::2], self.held.marks_at(here), run.append
        try:
            while True:
                i = here ^ base  # negative at the end of the list
                if i & OUTSIDE:
                    break
                i >>= 4
                if heads[i] ^ size > 7 or marks[i]:
                    break
                marks[i] = mark
                add(here)
                here = links[i] ^ here + 16 >> shift
        except IndexError:
            pass  # the link of the last chunk lies in the next 64 KiB
        return run, here

    def _broken_link(self, each, chunk, to, why):
        if not chunk:
            self._say(each, f'its first entry is {to:#x}, which {why}',
                      lambda _: self.rows(each.at, 'first'))
            return
        self._say(each, f'the link in the free block {chunk + HEADER:#x} leads to {to:#x}, which {why}:'
                  ' the block was written to after its free',
                  lambda arenas: arenas.shown(chunk, None, 'link', 'key'))

    def _follow_ring(self, each, header):
        """Follows a ring from the front; if that breaks, the rest from the back."""
        for forward, back in ((HEADER, HEADER + WORD), (HEADER + WORD, HEADER)):
            before, at = header, self.word(header + forward)
            while at != header:
                if self._left <= 0:
                    self.cut.add(0)
                    return
                why = self._ring_problem(each, before, at, back)
                if why:
                    if forward == HEADER:
                        self._broken_ring(each, header, before, at, why)
                    break
                self._left -= 1
                self.held.add(at, Held.LISTED, each)
                each.chunks.append(at)
                before, at = at, self.word(at + forward)
            else:
                return

    def _ring_problem(self, each, before, at, back):
        if at & ALIGNED or self.heap_of(at) is None or self.try_word(at + HEADER + WORD) is None:
            return 'is no chunk of this heap'
        if at in self.held:
            return 'is on a list already'
        if self.word(at + back) != before:
            return f'leads back to {self.word(at + back):#x}'
        if each.size and self.size_of(at) != each.size:
            return f'has the size word {self.word(at + WORD):#x}'
        return None

    def _broken_ring(self, each, header, before, at, why):
        inside = self.heap_of(at) if at % 16 == 0 else None
        culprit = at if inside and 'is no' not in why else before
        heap = self.heap_of(culprit)
        said = 'its first chunk' if before == header else f'`fd` of the free chunk {before:#x}'
        self._say(each, f'{said} is {at:#x}, which {why}', lambda arenas: (
            arenas.shown(culprit, None, 'fd', 'bk') if heap else
            arenas.rows(header + HEADER, 'fd', 'bk')))

    def _check_keys(self, lists):
        """All blocks in tcaches have the same key after the link (2.29 to 2.33: the address of their cache)."""
        keys = {}
        for each in lists:
            for chunk in each.chunks:
                key = self.try_word(chunk + HEADER + WORD)
                keys.setdefault(key, []).append((each, chunk))
        own = {cache.at for cache in self.caches}
        if len(keys) < 2:
            return
        common = max(keys, key=lambda key: len(keys[key]))
        if common in own or len(keys[common]) < 2:
            good = own if common in own else set(keys)
        else:
            good = {common}
        for key in keys.keys() - good:
            each, chunk = keys[key][0]
            self._say(each, f'the key of the free block {chunk + HEADER:#x} is {key:#x}: the block was '
                      'written to after its free',
                      lambda arenas, chunk=chunk: arenas.shown(chunk, None, 'link', 'key'))
