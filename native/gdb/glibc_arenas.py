"""The memory of glibc's malloc (2.31 to 2.41) as it stands: arenas, heaps, bins, thread caches, mapped
chunks. No debug information is needed: the structures are known by their sizes and found by what must
hold of them. A symbol of libc6-dbg is tried first, where there is one, and checked alike.

      start                                               top          end
      │ chunk │ chunk │ free chunk │ chunk │ … │ chunk │ top chunk │   the main heap (sbrk)
      │ heap_info │ malloc_state │ chunk │ …         │ top chunk │     a heap of another arena

      chunk            user                           next chunk
      │ prev_size │ size AMP │ fd      │ bk      │ …  │ prev_size │ size AMP │
        of a free                of a free chunk, in a bin
        chunk before    P: the chunk before is in use   M: has a mapping of its own   A: not main_arena

Each step is checked before it is followed, so that it ends on every heap.
"""

from functools import cached_property

import gdb

from .chunks import FREE, LIVE, Broken, skipped
from .memory import PAGE, STRETCH, WORD, Unreadable, as_words
from .roots import writable

# struct malloc_state, in bytes
MUTEX, FASTBINS, TOP, BINS, NEXT, SYSTEM_MEM, STATE_SIZE = 0, 16, 96, 112, 2160, 2184, 2200
FASTBIN_COUNT, BIN_COUNT = 10, 127
HEAP_MAX = 64 << 20  # a heap of an arena other than the main one is aligned to this
HEAP_PREV, HEAP_SIZE = 8, 16  # in struct heap_info, behind its arena
# struct tcache_perthread_struct: counts of 16 bits, then the first block of each bin
TCACHE_BINS, TCACHE_ENTRIES, TCACHE_CHUNK = 64, 128, 0x290
TCACHE_MOST, TCACHE_FULL = 1032, 7  # mp_: bytes of its largest blocks, and how many of each
TLS_LOOK = 32 * 1024  # bytes beside a thread pointer where `tcache` and `thread_arena` may lie

HEADER, LEAST = 16, 32  # bytes: from a chunk to its block, and the smallest chunk
IN_USE, MAPPED, ELSEWHERE, FLAGS = 1, 2, 4, 7
ALIGNED, SAFE_LINKING = 15, (2, 32)  # since when links in caches and fastbins are masked
SURE = 8  # headers in a row that make sense, for a place to be believed after damage
ANCHOR = 1 << 20  # bytes between places that are remembered in a heap
LOOKED = 1 << 30  # bytes that are searched for mapped chunks at most


class Heap:
    """A stretch of chunks: its first one, and where they end."""

    def __init__(self, arena, start, first, end):
        self.arena, self.start, self.first, self.end = arena, start, first, end
        self.anchors = [first]


class Arena:

    def __init__(self, at, name, words):
        self.at, self.name = at, name
        self.locked = words[MUTEX] & 0xffffffff != 0
        self.fastbins = words[FASTBINS // WORD:FASTBINS // WORD + FASTBIN_COUNT]
        self.top, self.next = words[TOP // WORD], words[NEXT // WORD]
        self.system_mem = words[SYSTEM_MEM // WORD]
        self.heaps = []
        self.is_main = False

    def bin_header(self, number):
        return self.at + TOP + number * 16 - 16

    def __contains__(self, chunk):
        return any(heap.first <= chunk < heap.end for heap in self.heaps)


class Bin:
    """A list of free chunks: `kind` is tcache, fastbin, unsorted, small or large."""

    def __init__(self, kind, of, size, at):
        self.kind, self.of, self.size, self.at = kind, of, size, at
        self.chunks = []

    def __str__(self):
        size = f' of {self.size - WORD} bytes' if self.size else ''
        kind = 'unsorted bin' if self.kind == 'unsorted' else (
            f'{self.kind} bin' if self.kind in ('small', 'large') else self.kind)
        return f'{kind}{size} of {self.of}'


class Cache:
    """The tcache of a thread; `at` is its block in the heap."""

    def __init__(self, thread, at):
        self.thread, self.at = thread, at

    def __str__(self):
        return f'thread {self.thread}' if self.thread else 'a thread'


class Arenas:

    def __init__(self, library, memory):
        self.library, self.memory = library, memory
        self._pieces = {}
        self._held = {}  # what is known of `binned` so far
        self.problems = []  # what is wrong with the records
        self._said = []  # (sentence, function that makes the rows) of what is wrong on the lists
        self.ranges = writable()
        self.main_at = self._find_main(library)
        self.par = self._find_par(library)
        self.arenas = self._all_arenas()
        for arena in self.arenas:
            self._find_heaps(arena)
        self.heaps = sorted((heap for arena in self.arenas for heap in arena.heaps),
                            key=lambda heap: heap.start)

    # ── reading ──────────────────────────────────────────────────────────────

    def word(self, address):
        view = self._pieces.get(address >> 16)
        if view is None:
            view = self._piece(address)
        if not view:
            return int.from_bytes(self.memory.read(address, WORD), 'little')
        return view[(address & 0xffff) >> 3]

    def _piece(self, address):
        """The 64 KiB around an address as words, or (); read by the MiB where that can be had."""
        for size in (STRETCH, 1 << 16):
            base = address - address % size
            try:
                words = as_words(self.memory.once(base, size))
            except Unreadable:
                continue
            for i in range(size >> 16):
                self._pieces[(base >> 16) + i] = words[i << 13:i + 1 << 13]
            return self._pieces[address >> 16]
        self._pieces[address >> 16] = ()  # a mapping begins or ends in it
        return ()

    def try_word(self, address):
        try:
            return self.word(address)
        except Unreadable:
            return None

    def size_of(self, chunk):
        return self.word(chunk + WORD) & ~FLAGS

    # ── where the arenas are ─────────────────────────────────────────────────

    def _find_main(self, library):
        """The address of main_arena: of all places in libc's data, the one where the bins look most
        like bins; each of them is a ring, and most are empty."""
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
        """Where main_arena may begin: a ring of itself alone, or one of the last bins is empty. Those
        look the same from 16 bytes on, so only the last place in a row is one."""
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
        """What mp_ says, known by the limits of the tcache in it; or None."""
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
        """The main arena, and those that its ring leads to."""
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
        header = arena.at - info  # of a heap_info, which has grown in 2.35
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
        """From sbrk_base on; and where sbrk gave no more, what was mapped instead: the mapping that
        holds the top."""
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

    def rows(self, at, *names):
        """Words as they stand in memory."""
        rows = []
        for i, name in enumerate(names):
            word = self.try_word(at + i * WORD)
            if word is not None:
                rows.append((f'{at + i * WORD:#x} {name}', f'{word:#018x}  {text_of(word)}'.rstrip()))
        return rows

    # ── chunks, one after the other ──────────────────────────────────────────

    def heap_of(self, address):
        return next((heap for heap in self.heaps if heap.start <= address < heap.end), None)

    def chunks(self, heap, start=0, problems=None):
        """(chunk, size, whether the next one says that it is in use) in address order, from the one
        that holds `start` on. Goes on behind damage; what is wrong is added to `problems`."""
        problems = [] if problems is None else problems
        top, main, end = heap.arena.top, heap.arena.is_main, heap.end
        at, before = heap.first, 0
        if start > heap.first:  # from the chunk before: the one asked for may deny that it is in use
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
                broken = self._top_problem(heap, at, word)
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

    def _odd(self, heap, before, at, size, word, behind, said, used):
        """Looks closer at a chunk that is free, or does not say whose it is: (Broken or None, whether
        it counts as in use)."""
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
        """Is the chunk on a list of those that count as free?"""
        held = self.binned.get(chunk)
        return held is not None and held.kind not in ('tcache', 'fastbin')

    def _is_loose(self, at, heap):
        """Does nothing that looks like a chunk begin here?"""
        return at != heap.arena.top and not self._leads(heap, at, 2)

    def _top_problem(self, heap, at, word):
        size = word & ~FLAGS
        if word & IN_USE and not word & (MAPPED | 8) and at + size == heap.end and size >= HEADER:
            return None
        return Broken(f'the top chunk {at:#x}: its size word is {word:#x}, but its heap ends at '
                      f'{heap.end:#x}, {heap.end - at} bytes behind it', self.shown(at, 0))

    def _is_fence(self, heap, at, size):
        """At the end of a heap that goes on elsewhere stand chunks that are too small."""
        if not heap.arena.is_main:
            return heap.end - at <= 2 * HEADER
        behind = self.try_word(at + HEADER + WORD)
        return size == HEADER and behind is not None and (
            behind & ~FLAGS == HEADER or self._is_fence_end(at))

    def _is_fence_end(self, at):
        before = self.try_word(at - HEADER + WORD)
        return before is not None and before & ~FLAGS == HEADER

    def _torn(self, heap, before, at, following, problems):
        """Where the chunk `at` ends, none begins that makes sense: (the first chunk that is damaged, where
        chunks can be followed again). Either that header was overwritten or the size of `at` was, and
        then another begins inside of it."""
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
        """As `_torn`, of a header whose size is impossible, with the chunk before it, or 0."""
        if before:
            return self._torn(heap, 0, before, at, problems)[1]
        found = self._find_chain(heap, at + 16, heap.end) or heap.end
        problems.append(Broken(f'chunk {at:#x}: its header was overwritten, its size word is {word:#x}',
                               self.shown(at), skipped(at, found)))
        return found

    def _find_chain(self, heap, start, end):
        """The first place in [start, end) from which SURE headers in a row make sense."""
        at, top = start + -start % 16, heap.arena.top
        known = sorted(chunk for chunk in self.binned if start <= chunk < end)
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
        """Do so many headers in a row make sense, up to the top at most?"""
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
        """The chunk that holds an address: from size to size, and nothing else is looked at, so ten
        million take a second; where that leads nowhere, with care."""
        anchors, end = heap.anchors, heap.end
        number = min((address - heap.first) // ANCHOR, len(anchors) - 1)
        while anchors[number] > address:
            number -= 1
        at = anchors[number]
        while True:
            try:
                words = as_words(self.memory.stretch(at, min(end, at + STRETCH)))
            except Unreadable:
                return self._walk_to(heap, address)
            i, j, limit, target = 1, 1, len(words), address - at >> 3
            while j < limit:
                i = j
                step = words[i] >> 3
                if step < 4 or step & 1:
                    return self._walk_to(heap, address)
                j += step
                if j - 1 > target:
                    return at + (i - 1) * WORD
            if j == 1 or at + (j - 1) * WORD >= end:
                return self._walk_to(heap, address)
            at += (j - 1) * WORD
            while at >= heap.first + len(anchors) * ANCHOR:
                anchors.append(at)

    def _walk_to(self, heap, address):
        last = heap.first
        for at, size, _ in self.chunks(heap):
            if at > address:
                break
            last = at
        return last

    def chunk_before(self, heap, chunk):
        """The chunk in front of this one, or 0."""
        if chunk <= heap.first:
            return 0
        found = self._skim(heap, chunk - 1)
        return found if found < chunk else 0

    # ── lists of free chunks ─────────────────────────────────────────────────

    @cached_property
    def caches(self):
        """The tcache of each thread: a chunk of one size that a word beside the thread pointer, the
        same for all threads, leads to. Where no thread pointer is known, the first chunk."""
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
        """Which threads have this arena: a word beside their thread pointer says so."""
        return [thread for thread, _, words, _ in self._tls if arena.at in words]

    def _is_cache(self, block):
        if block % 16 or self.heap_of(block) is None:
            return False
        word = self.try_word(block - WORD)
        if word is None or word & ~FLAGS != TCACHE_CHUNK:
            return False
        try:
            counts, entries = self._cache(block)
        except Unreadable:
            return False
        good = sum(bool(n) == bool(entry) and entry % 16 == 0 for n, entry in zip(counts, entries))
        return good > TCACHE_BINS * 3 // 4

    def _cache(self, block):
        data = self.memory.once(block, TCACHE_ENTRIES + TCACHE_BINS * WORD)
        return (memoryview(data)[:TCACHE_ENTRIES].cast('H').tolist(),
                memoryview(data)[TCACHE_ENTRIES:].cast('Q').tolist())

    @cached_property
    def lists(self):
        """Every list of free chunks that is not empty. What is wrong with one is in `found`."""
        found = []
        for cache in self.caches:
            try:
                counts, entries = self._cache(cache.at)
            except Unreadable:
                continue
            for i, (n, entry) in enumerate(zip(counts, entries)):
                if entry or n:
                    each = Bin('tcache', cache, 32 + 16 * i, cache.at + TCACHE_ENTRIES + i * WORD)
                    self._follow(each, entry, HEADER)
                    found.append(each)
                    if len(each.chunks) != n:
                        self._say(each, f'its count is {n}, but {len(each.chunks)} blocks are on it',
                                  lambda at=each.at: self.rows(at, 'first'))
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

    @cached_property
    def found(self):
        """What is wrong with the records and on the lists, as Broken. Describing a chunk asks which
        list it is on, so this waits until those are known."""
        self.lists
        return self.problems + [
            Broken(what, rows(), 'blocks behind the damage on a list may count as live')
            for what, rows in self._said]

    def _say(self, each, what, rows=lambda: ()):
        self._said.append((f'{each}: {what}', rows))

    def _follow(self, each, first, offset):
        """A list with one link: from block to block in a tcache (`offset` 16), from chunk to chunk in a
        fastbin (0)."""
        masked = self.library.numbers >= SAFE_LINKING
        pieces, add, held = self._pieces, each.chunks.append, self._held
        at, back, size, number, view = first, 0, each.size, -1, ()
        low, high = (self.heaps[0].start, self.heaps[-1].end) if self.heaps else (0, 0)
        aligned, flags, header = ALIGNED, FLAGS, HEADER  # as locals: this loop runs a million times
        while at:
            chunk = at - offset
            if at & aligned or not low <= chunk < high or chunk in held:
                self._broken_link(each, back, at, 'is on a list already' if chunk in held else
                                  'is no chunk of this heap')
                return
            i = chunk >> 3 & 8191
            if chunk >> 16 != number:
                number = chunk >> 16
                view = pieces[number] if number in pieces else self._piece(chunk)
            if view and i < 8190:
                head, word = view[i + 1], view[i + 2]
            else:
                try:
                    head, word = self.word(chunk + WORD), self.word(chunk + HEADER)
                except Unreadable:
                    self._broken_link(each, back, at, 'cannot be read')
                    return
            if head ^ size > flags:
                self._say(each, f'the free chunk {chunk:#x} on it has the size word {head:#x}',
                          lambda chunk=chunk: self.shown(chunk))
            held[chunk] = each
            add(chunk)
            back, at = chunk, word ^ chunk + header >> 12 if masked else word

    def _broken_link(self, each, chunk, to, why):
        if not chunk:
            self._say(each, f'its first entry is {to:#x}, which {why}',
                      lambda: self.rows(each.at, 'first'))
            return
        self._say(each, f'the link in the free block {chunk + HEADER:#x} leads to {to:#x}, which {why}:'
                  ' the block was written to after its free',
                  lambda: self.shown(chunk, None, 'link', 'key'))

    def _follow_ring(self, each, header):
        """From the front; where that breaks, the rest from the back."""
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
        self._say(each, f'{said} is {at:#x}, which {why}', lambda: (
            self.shown(culprit, None, 'fd', 'bk') if heap else self.rows(header + HEADER, 'fd', 'bk')))

    def _check_keys(self, lists):
        """All blocks in caches bear the same key behind the link (2.29 to 2.33: of their own cache)."""
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
                      lambda chunk=chunk: self.shown(chunk, None, 'link', 'key'))

    @cached_property
    def binned(self):
        """Free chunk → the list that it is on."""
        self.lists
        return self._held

    # ── chunks with a mapping of their own ───────────────────────────────────

    @cached_property
    def mapped(self):
        """(start of the mapping, chunk, end) of each, in address order: the writable memory is searched
        for their headers until as many are found as mp_ counts."""
        wanted = self.par.n_mmaps if self.par else 0
        if not wanted:
            return []
        found, looked = [], 0
        for start, end in self.ranges:
            if any(heap.start < end and start < heap.end for heap in self.heaps):
                continue
            at = start
            while at < end and len(found) < wanted and looked < LOOKED:
                try:
                    data = self.memory.stretch(at, end)
                except Unreadable:
                    at += PAGE
                    continue
                limit, base, words = at + len(data), at, as_words(data)
                while at < limit:
                    chunk, size = self._mapped_at(words, base, at, end)
                    if size:
                        found.append((at, chunk, chunk + size))
                        at = chunk + size
                        if len(found) >= wanted:
                            break
                    else:
                        at += PAGE
                looked += len(data)
        return found

    def _mapped_at(self, words, base, at, end):
        """(chunk, size) where a mapping begins with one, else size 0. An aligned block has its header
        further in, which says how far, behind one that tells of the whole."""
        i, limit = at - base >> 3, len(words) - 1
        whole = words[i + 1] & ~FLAGS if i < limit else 0
        if i < limit and (words[i], words[i + 1] & FLAGS) == (0, MAPPED) and whole and (
                whole % PAGE == 0 and at + whole <= end):
            for lead in (*(2 ** k - HEADER for k in range(5, 12)),
                         *range(PAGE - HEADER, min(whole, (limit - i) * WORD), PAGE)):
                j = i + (lead >> 3)
                if j < limit and words[j] == lead and words[j + 1] == whole - lead | MAPPED:
                    return at + lead, whole - lead
            return at, whole
        return 0, 0

    # ── showing ──────────────────────────────────────────────────────────────

    def shown(self, chunk, before=None, *links):
        """A chunk as it stands in memory, and whose data ends where it begins: the usual suspect."""
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
        if chunk in self.binned:
            return FREE
        behind = self.try_word(chunk + size + WORD)
        said = self.try_word(chunk + size)
        return FREE if behind is not None and not behind & IN_USE and said == size else LIVE


class Par:
    """What is needed of mp_ (struct malloc_par), known by where its tcache_bins lies; `words` begin
    six before that. 2.35 has put an int in front of n_mmaps."""

    def __init__(self, at, words, numbers):
        self.at, self.length = at - 6 * WORD, 10 * WORD
        self.n_mmaps = words[0] >> 32 if numbers >= (2, 35) else words[1] & 0xffffffff
        self.mapped_bytes, self.sbrk_base = words[3], words[5]
        self.tcache_count = words[8]


def text_of(word):
    """The bytes of a word as text, where they look like some: the usual overflow is a string."""
    data = word.to_bytes(WORD, 'little').rstrip(b'\0')
    return f'"{data.decode()}"' if len(data) > 3 and all(32 <= byte < 127 for byte in data) else ''

