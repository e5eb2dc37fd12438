"""Finds the structures of glibc's malloc: main_arena, mp_, the other arenas, their heaps, the thread
caches. It needs no debug information: it recognises each by its invariants. If libc6-dbg provides a
symbol, it tries that first, and checks it in the same way.
"""

from functools import cached_property

import gdb

from .chunks import Broken
from .glibc_structs import (BINS, BIN_COUNT, FLAGS, HEADER, HEAP_MAX, HEAP_PREV, HEAP_SIZE, NEXT,
                            STATE_SIZE, TCACHE_BINS, TCACHE_CHUNK, TCACHE_ENTRIES, TCACHE_MOST, TOP,
                            Arena, Cache, Heap, Par, Words)
from .memory import PAGE, WORD, Unreadable, as_words
from .roots import writable

TLS_LOOK = 32 * 1024  # how far from a thread pointer `tcache` and `thread_arena` may lie


class Located(Words):

    def __init__(self, library, memory):
        super().__init__(memory)
        self.library = library
        self.problems = []  # what is wrong with the records
        self.ranges = writable()
        self.main_at = self._find_main(library)
        self.par = self._find_par(library)
        self.arenas = self._all_arenas()
        for arena in self.arenas:
            self._find_heaps(arena)
        self.heaps = sorted((heap for arena in self.arenas for heap in arena.heaps),
                            key=lambda heap: heap.start)

    def heap_of(self, address):
        return next((heap for heap in self.heaps if heap.start <= address < heap.end), None)

    # ── the arenas ───────────────────────────────────────────────────────────

    def _find_main(self, library):
        """The address of main_arena: of all places in libc's data, the one with most valid bins; each bin
        is a ring, and most are empty."""
        best, where = 0, 0
        places = [library.address('main_arena')] if library.address('main_arena') else []
        for start, end in library.sections('.data', '.bss'):
            try:
                words = as_words(self.memory.once(start, end - start))
            except Unreadable:
                continue
            places += self._places(words, start)
        for at in places:
            score = self._likeness(at)
            if score > best:
                best, where = score, at
        if not where:
            raise gdb.GdbError(f'no main_arena is found in {library.path}: its malloc is not one '
                               'that these commands can read')
        return where

    def _places(self, words, start):
        """Where main_arena may begin: its ring contains only itself, or one of its last bins is empty. Two
        places 16 bytes apart look the same, so of several in a row only the last is a candidate."""
        room = len(words) - STATE_SIZE // WORD
        for i in range(room):
            if words[i + NEXT // WORD] == start + i * WORD:
                yield start + i * WORD
        for number in (BIN_COUNT, BIN_COUNT - 7, BIN_COUNT - 14):
            offset = BINS // WORD + 2 * (number - 1)
            fits = [i for i in range(room)
                    if words[i + offset] == start + i * WORD + TOP + 16 * (number - 1)]
            yield from (start + i * WORD for i in fits if i + 2 not in fits)

    def _likeness(self, at):
        try:
            words = as_words(self.memory.once(at, STATE_SIZE))
        except Unreadable:
            return 0
        rings = sum(words[BINS // WORD + 2 * i] == words[BINS // WORD + 2 * i + 1] ==
                    at + TOP + 16 * i for i in range(BIN_COUNT))
        untouched = words[NEXT // WORD] == at and not any(words[1:NEXT // WORD]) and (
            words[NEXT // WORD + 2] == 1)
        return rings if rings > BIN_COUNT // 4 else 1 if untouched else 0

    def _find_par(self, library):
        """The contents of mp_, recognised by the limits of the tcache in it; or None."""
        for start, end in library.sections('.data', '.bss'):
            try:
                words = as_words(self.memory.once(start, end - start))
            except Unreadable:
                continue
            for i in range(6, len(words) - 3):
                if (words[i] == TCACHE_BINS and words[i + 1] == TCACHE_MOST and
                        words[i + 2] < 1 << 16 and words[i - 1] < 1 << 47):
                    return Par(start + i * WORD, words[i - 6:i + 3], library.numbers)
        return None

    def _arena(self, at, name):
        return Arena(at, name, as_words(self.memory.once(at, STATE_SIZE)))

    def _all_arenas(self):
        """The main arena, and the others in its ring."""
        found = {self.main_at: self._arena(self.main_at, 'main_arena')}
        found[self.main_at].is_main = True
        before, at = found[self.main_at], found[self.main_at].next
        while at not in found:
            try:
                heap = at - at % HEAP_MAX
                if at % 16 or self.word(heap) != at:
                    raise Unreadable(at)
                found[at] = self._arena(at, f'arena {at:#x}')
            except Unreadable:
                self.problems.append(Broken(
                    f'{before.name}: `next` is {at:#x}, which is no arena',
                    [(f'{before.at + NEXT:#x} next', f'{at:#018x}')],
                    'arenas behind it are not seen'))
                break
            before, at = found[at], found[at].next
        return list(found.values())

    def _find_heaps(self, arena):
        if arena.is_main:
            self._find_main_heaps(arena)
            return
        info = arena.at - arena.at % HEAP_MAX
        header = arena.at - info  # the size of heap_info, which grew in 2.35
        at, seen = arena.top - arena.top % HEAP_MAX, set()
        while at and at not in seen:
            seen.add(at)
            try:
                owner, prev, size = (self.word(at + offset) for offset in (0, HEAP_PREV, HEAP_SIZE))
            except Unreadable:
                owner = 0
            if owner != arena.at or not 0 < size <= HEAP_MAX or size % PAGE:
                self.problems.append(Broken(f'{arena.name}: its heap at {at:#x} is none',
                                            self.rows(at, 'ar_ptr', 'prev', 'size')))
                break
            arena.heaps.append(self._heap(arena, at, header, size))
            at = prev
        if info not in seen:
            size = self.try_word(info + HEAP_SIZE) or 0
            if 0 < size <= HEAP_MAX and size % PAGE == 0:
                arena.heaps.append(self._heap(arena, info, header, size))

    def _heap(self, arena, at, header, size):
        first = arena.at + STATE_SIZE if at == arena.at - header else at + header
        return Heap(arena, at, first + -first % 16, at + size)

    def _find_main_heaps(self, arena):
        """The stretch from sbrk_base on; and, if sbrk failed and memory was mapped instead, the mapping
        that contains the top."""
        unused = arena.at + TOP
        if arena.top in (0, unused) and not (self.par and self.par.sbrk_base):
            return
        base = self.par.sbrk_base if self.par else 0
        held = self._mapping(base) if base else None
        if held:
            end = held[1]
            if base <= arena.top < end:
                top_end = arena.top + (self.try_word(arena.top + WORD) or 0) & ~FLAGS
                if self._is_top_end(arena.top, top_end, end):
                    end = top_end
            arena.heaps.append(Heap(arena, base, base + -base % 16, end))
        if arena.top not in arena and arena.top != unused:
            other = self._mapping(arena.top)
            if other and arena.top % 16 == 0:
                arena.heaps.append(Heap(arena, other[0], other[0], other[1]))
            else:
                self.problems.append(Broken(
                    f'{arena.name}: `top` is {arena.top:#x}, which lies in no heap',
                    [(f'{arena.at + TOP:#x} top', f'{arena.top:#018x}')]))

    def _is_top_end(self, top, top_end, end):
        return top + HEADER <= top_end <= end and top_end % PAGE == 0

    def _mapping(self, address):
        """(start, end) of the writable memory around an address, joined where mappings touch."""
        found = next((each for each in self.ranges if each[0] <= address < each[1]), None)
        if found is None:
            return None
        start, end = found
        for low, high in self.ranges:
            end = high if low == end else end
        return start, end

    # ── the caches of threads ────────────────────────────────────────────────

    @cached_property
    def caches(self):
        """The tcache of each thread: a chunk of a certain size to which a word near the thread pointer
        points, at the same offset in all threads. If no thread pointer is known, the first chunk."""
        found = {}  # offset → [Cache]
        low, high = (self.heaps[0].start, self.heaps[-1].end) if self.heaps else (0, 0)
        for thread, pointer, words, base in self._tls:
            for i, word in enumerate(words):
                if low <= word < high and self._is_cache(word):
                    found.setdefault(base + i * WORD - pointer, []).append(Cache(thread, word))
        if found:
            return max(found.values(), key=len)
        main = self.arenas[0]
        first = main.heaps[0].first + HEADER if main.heaps else 0
        return [Cache(0, first)] if first and self._is_cache(first) else []

    @cached_property
    def _tls(self):
        """(thread, thread pointer, words around it, where they begin) of each thread."""
        found, chosen, frame = [], gdb.selected_thread(), gdb.selected_frame()
        try:
            for thread in gdb.selected_inferior().threads():
                thread.switch()
                for name, below in (('fs_base', TLS_LOOK), ('tpidr', 0)):
                    try:
                        pointer = int(gdb.newest_frame().read_register(name)) & 2 ** 64 - 1
                    except (gdb.error, ValueError):
                        continue
                    held = next((each for each in self.ranges if each[0] <= pointer < each[1]), None)
                    if held:
                        base = max(held[0], pointer - below)
                        end = min(held[1], pointer + (0 if below else TLS_LOOK))
                        base += -base % WORD
                        try:
                            found.append((thread.num, pointer,
                                          as_words(self.memory.once(base, end - base)), base))
                        except Unreadable:
                            pass
                    break
        finally:
            chosen.switch()
            frame.select()
        return found

    def threads_of(self, arena):
        """The threads that use this arena: a word near their thread pointer points to it."""
        return [thread for thread, _, words, _ in self._tls if arena.at in words]

    def _is_cache(self, block):
        if block % 16 or self.heap_of(block) is None:
            return False
        word = self.try_word(block - WORD)
        if word is None or word & ~FLAGS != TCACHE_CHUNK:
            return False
        try:
            counts, entries = self.read_cache(block)
        except Unreadable:
            return False
        good = sum(bool(n) == bool(entry) and entry % 16 == 0 for n, entry in zip(counts, entries))
        return good > TCACHE_BINS * 3 // 4

    def read_cache(self, block):
        data = self.memory.once(block, TCACHE_ENTRIES + TCACHE_BINS * WORD)
        return (memoryview(data)[:TCACHE_ENTRIES].cast('H').tolist(),
                memoryview(data)[TCACHE_ENTRIES:].cast('Q').tolist())
