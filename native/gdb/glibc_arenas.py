"""Walks the chunks of glibc's arenas, and finds where the walk can resume after damage. It checks each
step before it follows it, so that it ends on every heap.
"""

from functools import cached_property

from .chunks import FREE, LIVE, Broken, skipped
from .glibc_lists import Lists
from .glibc_mapped import find_mapped
from .glibc_structs import ELSEWHERE, FLAGS, HEADER, IN_USE, LEAST, MAPPED
from .memory import ALL, PAGE, STRETCH, WORD, Unreadable, as_words

SURE = 8  # consecutive valid headers needed to resume at a place after damage
FAR = 64 << 20  # how far before an address the search for its chunk begins: further than a block in a heap is long


class Odd(Exception):
    """The fast sweep met something that the careful walk must examine."""


class Steps(dict):
    """Size word → words to the next chunk; a huge number for a word that no live chunk of this arena has."""

    def __init__(self, bad):
        super().__init__()
        self._bad = bad

    def __missing__(self, word):
        size = word & ~FLAGS
        self[word] = step = size >> 3 if size >= LEAST and not word & self._bad else ALL
        return step


class Arenas(Lists):

    _searching = False

    @cached_property
    def mapped(self):
        """(start of the mapping, chunk, end) of each chunk that has one, in address order."""
        return find_mapped(self)

    @property
    def damage(self):
        """`found`, as far as it is known yet."""
        return self.found if 'lists' in vars(self) else self.problems

    @cached_property
    def found(self):
        """What is wrong with the records and on the lists, as Broken. Computed after the lists, because
        the description of a chunk says which list it is on."""
        self.need(whole=True)
        return self.problems + [
            Broken(what, rows(self), 'blocks behind the damage on a list may count as live')
            for what, rows in self.said]

    def chunks(self, heap, start=0, problems=None):
        """(chunk, size, True if the next one says that it is in use) in address order, from the chunk
        that contains `start` on. Continues after damage, which it adds to `problems`."""
        problems = [] if problems is None else problems
        top, main, end = heap.arena.top, heap.arena.is_main, heap.end
        at, before = heap.first, 0
        if start > heap.first:  # begins one chunk earlier, whose use the flags of this one tell
            at = self._skim(heap, start)
            at = self.chunk_before(heap, at) or at
        words, base, limit = (), 0, 0
        while at < end:
            i = at - base >> 3
            if not 0 <= i < limit:
                try:
                    words, base = as_words(self.memory.stretch(at, end)), at
                except Unreadable as error:
                    problems.append(Broken(f'chunk {at:#x}: {error}'))
                    return
                i, limit = 0, len(words) - 1
                if limit < 1:
                    return
            word = words[i + 1]
            size = word & ~FLAGS
            following = at + size
            if at == top:
                broken = self.top_problem(heap)
                if broken:
                    problems.append(broken)
                yield at, end - at, True
                return
            if not size & 8 and LEAST <= size and following + HEADER <= end and not word & MAPPED:
                j = i + (size >> 3)
                behind = words[j + 1] if j < limit else self.try_word(following + WORD)
                if behind is None:
                    problems.append(Broken(f'chunk {at:#x}: its end at {following:#x} is not there'))
                    return
                used = behind & IN_USE == 1
                if not used or bool(word & ELSEWHERE) == main:
                    said = words[j] if j < limit else self.word(following)
                    broken, used = self._odd(heap, before, at, size, word, behind, said, used)
                    if broken and self._is_loose(following, heap):
                        lost, found = self._torn(heap, before, at, following, problems)
                        if lost == following and following > start:
                            yield at, size, True
                        before, at = 0, found
                        continue
                    if broken:
                        problems.append(broken)
                if following > start:
                    yield at, size, used
                before, at = at, following
                continue
            if size in (0, HEADER) and self._is_fence(heap, at, size):
                yield at, HEADER, True
                before, at = at, at + HEADER
                continue
            skipped = self._after(heap, before, at, problems, word)
            before, at = 0, skipped

    def sweep(self, heap):
        """(base, words, places of chunks in use, [(chunk, size) of the free ones]) of each stretch of a heap, at
        three million chunks a second. The size word of a place is words[place], its chunk begins at
        base + 8 * place. Raises Odd at anything unusual; else `heap.swept` is where the last chunk ends."""
        top, end, at, is_main = heap.arena.top, heap.end, heap.first, heap.arena.is_main
        steps = Steps(MAPPED | 8 | (ELSEWHERE if is_main else 0))
        while at != top and (is_main or end - at > 2 * HEADER):
            heap.remember(at)
            try:
                words = as_words(self.memory.stretch(at, end))
            except Unreadable:
                raise Odd from None
            used, gone = [], []
            i, word, add = 1, words[1], used.append
            try:
                while True:  # runs once for each chunk
                    j = i + steps[word]
                    behind = words[j]
                    if behind & 1:
                        add(i)
                    elif words[j - 1] == word & ~FLAGS:
                        gone.append((at + (i - 1) * WORD, word & ~FLAGS))
                    else:
                        raise Odd
                    i, word = j, behind
            except IndexError:
                pass  # the next chunk begins behind this stretch
            base, here = at - WORD, at + (i - 1) * WORD
            if here == at != top:  # longer than a stretch
                here += self._long(at, word, steps, end, used, gone)
            if not is_main and not all(each & ELSEWHERE for each in set(map(words.__getitem__, used))):
                raise Odd
            at = here
            yield base, words, used, gone
        heap.swept = at

    def _long(self, at, word, steps, end, used, gone):
        size = steps[word] * WORD
        behind = self.try_word(at + size + WORD) if at + size + HEADER <= end else None
        if behind is None or not behind & IN_USE and self.word(at + size) != size:
            raise Odd
        if behind & IN_USE:
            used.append(1)
        else:
            gone.append((at, size))
        return size

    def _odd(self, heap, before, at, size, word, behind, said, used):
        """Examines a chunk that is free, or whose arena flag is wrong: (Broken or None, True if it
        counts as in use)."""
        following, main = at + size, heap.arena.is_main
        if used:
            if not main and not word & ELSEWHERE or main and word & ELSEWHERE:
                if at in self.binned:
                    return None, used
                return Broken(f'chunk {at:#x}: its size word {word:#x} says that it is of '
                              f'{"another arena" if main else "main_arena"}',
                              self.shown(at, before)), used
            return None, used
        if said == size:
            return None, used
        return Broken(
            f'chunk {following:#x}: says that the chunk before it is free and has {said} bytes, '
            f'but that one, {at:#x}, has {size}', self.shown(following, at)), (
                not self.in_ring(at))

    def in_ring(self, chunk):
        """True if the chunk is in a bin whose chunks are marked as free (not tcache or fastbin)."""
        held = self.binned.get(chunk)
        return held is not None and held.kind not in ('tcache', 'fastbin')

    def _is_loose(self, at, heap):
        """True if no valid chunk begins here."""
        return at != heap.arena.top and not self._leads(heap, at, 2)

    def top_problem(self, heap):
        """What is wrong with the top chunk, which lies in this heap, or None."""
        at, word = heap.arena.top, self.try_word(heap.arena.top + WORD) or 0
        size = word & ~FLAGS
        if word & IN_USE and not word & (MAPPED | 8) and at + size == heap.end and size >= HEADER:
            return None
        return Broken(f'the top chunk {at:#x}: its size word is {word:#x}, but its heap ends at '
                      f'{heap.end:#x}, {heap.end - at} bytes behind it', self.shown(at, 0))

    def _is_fence(self, heap, at, size):
        """True for the undersized chunks at the end of a heap that continues elsewhere."""
        if not heap.arena.is_main:
            return heap.end - at <= 2 * HEADER
        behind = self.try_word(at + HEADER + WORD)
        return size == HEADER and behind is not None and (
            behind & ~FLAGS == HEADER or self._is_fence_end(at))

    def _is_fence_end(self, at):
        before = self.try_word(at - HEADER + WORD)
        return before is not None and before & ~FLAGS == HEADER

    def _torn(self, heap, before, at, following, problems):
        """Call if no valid chunk begins where the chunk `at` ends. Returns (the first damaged chunk, where
        the walk can resume). Either the next header was overwritten, or the size of `at`; in the second
        case a chunk begins inside it."""
        found, word = self._find_chain(heap, at + LEAST, following), self.word(following + WORD)
        if found is not None:
            lost, rows = at, self.shown(at, before or None)
            what = (f'chunk {at:#x}: its size word is {self.word(at + WORD):#x}, with which it ends at '
                    f'{following:#x}, where no chunk begins; one begins at {found:#x}')
        else:
            found = self._find_chain(heap, following + 16, heap.end) or heap.end
            lost, rows = following, self.shown(following, at)
            what = f'chunk {following:#x}: its header was overwritten, its size word is {word:#x}'
        problems.append(Broken(what, rows, skipped(lost, found)))
        return lost, found

    def _after(self, heap, before, at, problems, word):
        """As `_torn`, for a header with an impossible size; `before` is the chunk before it, or 0."""
        if before:
            return self._torn(heap, 0, before, at, problems)[1]
        found = self._find_chain(heap, at + 16, heap.end) or heap.end
        problems.append(Broken(f'chunk {at:#x}: its header was overwritten, its size word is {word:#x}',
                               self.shown(at), skipped(at, found)))
        return found

    def _find_chain(self, heap, start, end, known=None):
        """The first place in [start, end) from which SURE consecutive headers are valid, or where one of the `known`
        chunks begins."""
        at, top = start + -start % 16, heap.arena.top
        known = self.binned.between(start, end) if known is None else known
        while at < end:
            try:
                words = as_words(self.memory.stretch(at, end))
            except Unreadable:
                at += PAGE - at % PAGE
                continue
            for i in range(1, len(words), 2):
                size = words[i] & ~FLAGS
                here = at + (i - 1) * WORD
                if here == top or known and here == known[0]:
                    return here
                if LEAST <= size <= heap.end - here and not words[i] & (8 | MAPPED) and (
                        self._leads(heap, here, SURE)):
                    return here
            at += max(len(words) * WORD & ~15, 16)
        return None

    def _leads(self, heap, at, steps):
        """True if `steps` consecutive headers are valid, or all up to the top."""
        main, top = heap.arena.is_main, heap.arena.top
        for _ in range(steps):
            if at == top or heap.end - at <= 2 * HEADER and not main:
                return True
            if not heap.first <= at < heap.end - HEADER:
                return False
            word = self.try_word(at + WORD)
            if word is None or word & (8 | MAPPED):
                return False
            size = word & ~FLAGS
            if size == HEADER and self._is_fence(heap, at, size):
                return True
            if not LEAST <= size <= heap.end - at - HEADER:
                return False
            behind = self.try_word(at + size + WORD)
            if behind is None or not behind & IN_USE and self.try_word(at + size) != size:
                return False
            at += size
        return True

    def _skim(self, heap, address):
        """The chunk that contains an address. Follows only the sizes, ten million a second; if that fails,
        walks carefully."""
        at, end, steps = heap.anchor(address), heap.end, self._steps
        if address - at > 2 * FAR:
            at = self._before(heap, address) or at
        while True:
            try:
                words = as_words(self.memory.stretch(at, min(end, at + STRETCH)))[:(address - at >> 3) + 2]
            except Unreadable:
                return self._walk_to(heap, address)
            i = j = 1
            try:
                while True:
                    i, j = j, j + steps[words[j]]
            except IndexError:
                pass
            following = at + (j - 1) * WORD
            if j >= ALL or j == 1 or following >= end and address >= end:
                return self._walk_to(heap, address)
            if following > address:
                return at + (i - 1) * WORD
            at = following
            heap.remember(at)

    @cached_property
    def _steps(self):
        return Steps(MAPPED | 8)

    def _before(self, heap, address):
        """A chunk that begins FAR before an address, or None. What looks like one there may lie in a large block, but
        that ends long before the address; or in a large free chunk, which keeps the headers of those that it was
        merged from."""
        start, top = address - FAR, heap.arena.top
        if heap.first <= top < heap.end:
            start = min(start, top - FAR)
        self.need(whole=False)
        if 0 in self.cut or start < heap.first or any(
                chunk < address and chunk + self.size_of(chunk) > start for chunk in self._vast):
            return None
        return self._find_chain(heap, start, start + STRETCH, ())

    @cached_property
    def _vast(self):
        """The free chunks of a MiB and more."""
        return [chunk for each in self.part if each.kind in ('unsorted', 'large') for chunk in each.chunks
                if self.size_of(chunk) >= STRETCH]

    def _walk_to(self, heap, address):
        last = heap.first
        self._searching = True
        try:
            for at, size, _ in self.chunks(heap):
                if at > address:
                    break
                last = at
        finally:
            self._searching = False
        return last

    def chunk_before(self, heap, chunk):
        """The chunk in front of this one, or 0."""
        if chunk <= heap.first:
            return 0
        found = self._skim(heap, chunk - 1)
        return found if found < chunk else 0

    # ── showing ──────────────────────────────────────────────────────────────

    def shown(self, chunk, before=None, *links):
        """The words of a chunk, and the block before it, which is the usual culprit."""
        if self._searching:  # for a chunk before another: the caller of that shows it
            return []
        if before is None:
            heap = self.heap_of(chunk)
            before = self.chunk_before(heap, chunk) if heap else 0
        rows = self.rows(chunk, 'prev_size', 'size', *links)
        if before:
            rows.append(('the one before', self.describe(before)))
        return rows

    def describe(self, chunk):
        word = self.try_word(chunk + WORD)
        if word is None:
            return f'{chunk:#x}: cannot be read'
        heap = self.heap_of(chunk)
        size = word & ~FLAGS
        if heap and chunk == heap.arena.top:
            return f'{chunk:#x}  top  {size} bytes'
        return f'{chunk + HEADER:#x}  {self.state(chunk, size)}  {max(size - WORD, 0)} bytes'

    def state(self, chunk, size):
        behind = self.try_word(chunk + size + WORD)
        said = self.try_word(chunk + size)
        used = behind is None or behind & IN_USE == 1 or said != size
        return FREE if self.is_free(chunk, size, used) else LIVE
