"""The lists of free chunks in glibc's malloc: tcaches, fastbins and bins, and damage on them."""

from functools import cached_property

from .glibc_locate import Located
from .glibc_structs import BIN_COUNT, FASTBINS, FLAGS, HEADER, TCACHE_ENTRIES, Bin
from .memory import WORD, Unreadable

# Of an offset in 64 KiB: these bits are set outside of them and where no chunk begins; the link of a chunk at LAST
# lies behind them.
OUTSIDE, LAST = ~0xfff0, 0xfff0
ALIGNED, SAFE_LINKING = 15, (2, 32)  # the first version that masks links in tcaches and fastbins


class Lists(Located):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self._held = {}  # `binned`, as far as it is known yet
        self.said = []  # damage on the lists: (sentence, function that makes the rows from the Arenas)

    @cached_property
    def lists(self):
        """Every list of free chunks that is not empty. Damage goes into `found`."""
        found = []
        for cache in self.caches:
            try:
                counts, entries = self.read_cache(cache.at)
            except Unreadable:
                continue
            for i, (n, entry) in enumerate(zip(counts, entries)):
                if entry or n:
                    each = Bin('tcache', cache, 32 + 16 * i, cache.at + TCACHE_ENTRIES + i * WORD)
                    self._follow(each, entry, HEADER)
                    found.append(each)
                    if len(each.chunks) != n:
                        self._say(each, f'its count is {n}, but {len(each.chunks)} blocks are on it',
                                  lambda _, at=each.at: self.rows(at, 'first'))
        for arena in self.arenas:
            found += self._lists_of(arena)
        self._check_keys([each for each in found if each.kind == 'tcache'])
        return found

    def _lists_of(self, arena):
        found = []
        for i, first in enumerate(arena.fastbins):
            if first:
                each = Bin('fastbin', arena.name, 32 + 16 * i, arena.at + FASTBINS + i * WORD)
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
        masked = self.library.numbers >= SAFE_LINKING
        at, back, size, held = first, 0, each.size, self._held
        low, high = (self.heaps[0].start, self.heaps[-1].end) if self.heaps else (0, 0)
        while at:
            chunk = at - offset
            if at & ALIGNED or not low <= chunk < high or chunk in held:
                self._broken_link(each, back, at, 'is on a list already' if chunk in held else
                                  'is no chunk of this heap')
                return
            once, run, at = self._run(each, chunk, offset, masked)
            if not run:
                try:
                    head, word = self.word(chunk + WORD), self.word(chunk + HEADER)
                except Unreadable:
                    self._broken_link(each, back, at, 'cannot be read')
                    return
                if head ^ size > FLAGS:
                    self._say(each, f'the free chunk {chunk:#x} on it has the size word {head:#x}',
                              lambda arenas, chunk=chunk: arenas.shown(chunk))
                run, once = [chunk], {chunk: each}
                at = word ^ chunk + HEADER >> 12 if masked else word
            held.update(once)
            each.chunks += run
            back = run[-1]

    def _run(self, each, chunk, offset, masked):
        """(the run as keys, the run, where its last link leads): the run is the chunks of a singly linked list
        from this one on, as far as they lie within 64 KiB and are on no other list. Empty if the first one is
        unusual. This loop runs for each of a million chunks, so it checks little."""
        base = chunk & ~0xffff
        view = self._pieces[base >> 16] if base >> 16 in self._pieces else self._piece(chunk)
        size, run, at, here, shift = each.size, [], chunk + offset, chunk, 12 if masked else 64
        if not view:
            return {}, run, at
        add = run.append
        for _ in range(1 + (1 << 16) // size):  # bounded, because the list may have a cycle
            i = here ^ base  # negative at the end of the list
            if i & OUTSIDE or view[(i >> 3) + 1] ^ size > 7 or i == LAST:
                break
            add(here)
            at = view[(i >> 3) + 2] ^ here + 16 >> shift
            here = at - offset
        once = dict.fromkeys(run, each)
        if run and (len(once) != len(run) or not self._held.keys().isdisjoint(once)):
            return once, [], chunk + offset  # the caller goes step by step, to where the cycle closes
        return once, run, at

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
                why = self._ring_problem(each, before, at, back)
                if why:
                    if forward == HEADER:
                        self._broken_ring(each, header, before, at, why)
                    break
                self._held[at] = each
                each.chunks.append(at)
                before, at = at, self.word(at + forward)
            else:
                return

    def _ring_problem(self, each, before, at, back):
        if at & ALIGNED or self.heap_of(at) is None or self.try_word(at + HEADER + WORD) is None:
            return 'is no chunk of this heap'
        if at in self._held:
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

    @cached_property
    def binned(self):
        """Free chunk → the list that it is on."""
        self.lists
        return self._held
