"""Reads the heap of glibc's malloc, 2.31 to 2.41: answers the commands from its arenas.

In what we show, a chunk begins with its size word: the word before that belongs to the data of the
previous block while that is in use. Sizes are the bytes that the caller may use, as malloc_usable_size
returns them.
"""

import re
from bisect import bisect_left
from collections import Counter
from copy import copy
from functools import cached_property
from itertools import compress

from .chunks import (FREE, FRESH, HEADER as OWN, LIVE, REGION, Broken, Chunk, Columns, Place,
                     Reader, Stats, count, up_to)
from .glibc_arenas import Arenas, Odd
from .glibc_free import Free
from .glibc_structs import (FLAGS, HEADER, IN_USE, LEAST, STATE_SIZE, TCACHE_CHUNK, TCACHE_MOST,
                            flags_of)
from .memory import WORD, Unreadable

VERSION = re.compile(rb'GNU C Library [^\n]{0,120}? release version (\d+)\.(\d+)')
OLDEST, NEWEST = (2, 31), (2, 41)
EXACT = TCACHE_MOST  # bytes; sizes up to here have a list each
MANY = 1 << 12  # chunks; of more, all lists are read
UNMARKED = bytes([1]) + bytes(255)  # for `translate`: 0 to 1, and all else to 0


class GlibcReader(Reader):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self._find_version()
        self.arenas = Arenas(library, memory)
        main, par = self.arenas.main_at, self.arenas.par
        library.own = [(main, main + STATE_SIZE)] + (
            [(par.at, par.at + par.length)] if par else [])

    def _find_version(self):
        library = self.library
        for start, end in library.sections('.rodata'):
            try:
                found = VERSION.search(self.memory.once(start, end - start))
            except Unreadable:
                continue
            if found:
                library.numbers = int(found[1]), int(found[2])
        known = library.numbers != (0, 0)
        library.version = 'glibc ' + '.'.join(map(str, library.numbers)) if known else (
            'glibc of an unknown version')
        if not known:
            library.numbers = NEWEST

    # ── what the commands ask ────────────────────────────────────────────────

    def walk(self, start=0):
        arenas = self.arenas
        arenas.need(whole=not start)
        problems = list(arenas.damage)
        for at, heap, mapped in self._parts():
            end = heap.end if heap else mapped[2]
            if end <= start:
                continue
            yield Chunk(REGION, at, end - at)
            if mapped:
                yield self._mapped(*mapped)
            else:
                yield from self._heap(heap, start, problems)
        for problem in problems or arenas.damage:
            raise problem

    def lowest(self):
        return next((part[0] for part in self._parts()), None)

    def _parts(self):
        """(start, Heap or None, mapped chunk or None) in address order."""
        parts = [(heap.start, heap, None) for heap in self.arenas.heaps]
        parts += [(each[0], None, each) for each in self.arenas.mapped]
        return sorted(parts, key=lambda part: part[0])

    def _mapped(self, start, chunk, end):
        user = chunk + HEADER
        return Chunk(LIVE, start, end - start, user, end - user)

    def _heap(self, heap, start, problems):
        arenas, owner, top = self.arenas, heap.arena.at, heap.arena.top
        caches = {cache.at - HEADER for cache in arenas.caches}
        if heap.start < heap.first and start < heap.first:
            yield Chunk(OWN, heap.start, heap.first - heap.start)
        for n, (at, size, used) in enumerate(arenas.chunks(heap, start, problems)):
            if n == MANY:
                arenas.need(whole=True)
            if at == top:
                yield Chunk(FRESH, at, size)
            elif size < LEAST or at in caches:
                yield Chunk(OWN, at, size)
            else:
                usable = size - WORD
                yield Chunk(FREE if arenas.is_free(at, size, used) else LIVE, at, size, at + HEADER,
                            usable, usable if usable <= EXACT else 0, owner)

    @cached_property
    def columns(self):
        found = Columns()
        if self.arenas.found:
            return self.walked()
        try:
            for at, heap, mapped in self._parts():
                found.regions.append((at, heap.end if heap else mapped[2]))
                if heap:
                    self._add_heap(found, heap)
                else:
                    found.add(self._mapped(*mapped))
        except Odd:
            return self.walked()
        return found

    def _add_heap(self, columns, heap):
        arenas, binned, top = self.arenas, self.arenas.binned, heap.arena.top
        starts, ends = columns.starts, columns.ends
        own = [(heap.start, heap.first)] if heap.start < heap.first else []
        for base, words, used, gone in arenas.sweep(heap):
            begins = [base + HEADER + place * WORD for place in used]
            stops = [at + (word | FLAGS) - (HEADER - 1) for at, word in zip(begins, map(words.__getitem__, used))]
            free = bytes(map(binned.flags(base + WORD, base + WORD * len(words)).__getitem__, used))
            live = free.translate(UNMARKED)
            starts[LIVE].extend(compress(begins, live))
            ends[LIVE].extend(compress(stops, live))
            starts[FREE].extend(sorted([*compress(begins, free), *(chunk + HEADER for chunk, _ in gone)]))
            ends[FREE].extend(sorted([*compress(stops, free), *(chunk + size + WORD for chunk, size in gone)]))
        if heap.swept == top and arenas.top_problem(heap):
            raise Odd
        for cache in arenas.caches:
            i = bisect_left(starts[LIVE], cache.at)
            if heap.start <= cache.at < heap.end and i < len(starts[LIVE]) and starts[LIVE][i] == cache.at:
                own.append((starts[LIVE].pop(i), ends[LIVE].pop(i)))
        if heap.swept == top:
            columns.add(Chunk(FRESH, top, heap.end - top))
        elif heap.swept < heap.end:
            own.append((heap.swept, heap.end))
        for start, end in sorted(own):
            columns.add(Chunk(OWN, start, end - start))

    def _tally(self, heap, problems):
        """(size → live chunks, size → free ones, bytes of other records) of a heap."""
        words, free, own = Counter(), Counter(), 0
        try:
            for _, view, used, gone in self.arenas.sweep(heap):
                words.update(map(view.__getitem__, used))
                free.update(size for _, size in gone)
            live = Counter()
            for word, n in words.items():
                live[word & ~FLAGS] += n
            return live, free, 0 if heap.swept == heap.arena.top else heap.end - heap.swept
        except Odd:
            live, free = Counter(), Counter()
        for at, size, used in self.arenas.chunks(heap, 0, problems):
            if at == heap.arena.top:
                continue
            if size < LEAST:
                own += size
            else:
                (live if used else free)[size] += 1
        return live, free, own

    @cached_property
    def _counted(self):
        """({size of a chunk: [live, free]}, Stats without those, problems)."""
        arenas, stats, sizes = self.arenas, Stats(self.overhead()), {}
        problems, self.shares = list(arenas.found), {}
        for heap in arenas.heaps:
            stats.add(Chunk(REGION, heap.start, heap.end - heap.start))
            live, free, own = self._tally(heap, problems)
            stats.header_bytes += own + heap.first - heap.start
            share = self.shares.setdefault(heap.arena.at, [0, 0, 0, 0, 0])
            share[0] += 1
            for size, n in live.items():
                sizes.setdefault(size, [0, 0])[0] += n
                share[1] += n
                share[2] += n * (size - WORD)
            for size, n in free.items():
                sizes.setdefault(size, [0, 0])[1] += n
                share[3] += n
                share[4] += n * (size - WORD)
            top = heap.arena.top
            if heap.first <= top < heap.end:
                stats.add(Chunk(FRESH, top, heap.end - top))
        for each in arenas.lists:  # the flags in the next chunk still say that these are in use
            if each.kind in ('tcache', 'fastbin'):
                row = sizes.setdefault(each.size, [0, 0])
                row[0] -= len(each.chunks)
                row[1] += len(each.chunks)
                self._move(each)
        for cache in arenas.caches:
            sizes.setdefault(TCACHE_CHUNK, [0, 0])[0] -= 1
            stats.header_bytes += TCACHE_CHUNK
            share = self.shares[arenas.heap_of(cache.at).arena.at]
            share[1] -= 1
            share[2] -= TCACHE_CHUNK - WORD
        return sizes, stats, problems

    def _move(self, each):
        """Moves the chunks of a list in the shares from live to free."""
        if each.kind == 'fastbin' or len(self.shares) == 1:
            numbers = [(each.arena or self.arenas.arenas[0], len(each.chunks))]
        else:
            numbers = Counter(heap.arena for heap in map(self.arenas.heap_of, each.chunks) if heap).items()
        for arena, n in numbers:
            share = self.shares.setdefault(arena.at, [0, 0, 0, 0, 0])
            share[1] -= n
            share[2] -= n * (each.size - WORD)
            share[3] += n
            share[4] += n * (each.size - WORD)

    def stats(self):
        sizes, counted, problems = self._counted
        stats = copy(counted)
        for size, (live, free) in sizes.items():
            usable = size - WORD
            stats.live_blocks += live
            stats.live_bytes += live * usable
            stats.free_blocks += free
            stats.free_bytes += free * usable
            stats.header_bytes += (live + free) * WORD
            if free:
                stats.largest = max(stats.largest, usable)
        for start, chunk, end in self.arenas.mapped:
            stats.add(Chunk(REGION, start, end - start))
            stats.add(self._mapped(start, chunk, end))
        return stats, problems[0] if problems else None

    def sizes(self):
        counted, _, problems = self._counted
        found = {}
        for size, (live, free) in counted.items():
            usable = size - WORD
            row = found.setdefault(usable if usable <= EXACT else up_to(usable), [0, 0, 0, 0])
            for i, n in ((0, live), (2, free)):
                row[i] += n
                row[i + 1] += n * usable
        for mapped in self.arenas.mapped:
            usable = self._mapped(*mapped).usable
            row = found.setdefault(up_to(usable), [0, 0, 0, 0])
            row[0] += 1
            row[1] += usable
        return {size: row for size, row in found.items() if any(row)}, (
            problems[0] if problems else None)

    def owners(self):
        """Call after `stats`, which computes the shares."""
        rows = []
        for arena in self.arenas.arenas:
            share = self.shares.get(arena.at)
            if share:
                threads = ', '.join(map(str, self.arenas.threads_of(arena)))
                rows.append((arena.name, *share, f'{arena.top:#x}', threads or 'none'))
        return (('arena', 'heaps', 'live', 'bytes', 'free', 'free bytes', 'top', 'of threads'),
                rows) if rows else None

    def fields(self, chunk):
        at = chunk.user - HEADER if chunk.user else chunk.start
        held = self.arenas.near.get(at)
        kind = held.kind if held else 'fastbin' if chunk.usable + WORD in self.arenas.cut else ''
        links = {'tcache': ('link', 'key'), 'fastbin': ('link',)}.get(kind, ('fd', 'bk')) if chunk.kind == FREE else ()
        return [(at + i * WORD, name) for i, name in enumerate(('prev_size', 'size', *links))]

    def try_free(self, address):
        return Free(self.arenas).verdict(address)

    def header(self, chunk):
        return chunk.user - WORD, WORD

    def place(self, address):
        arenas = self.arenas
        for start, chunk, end in arenas.mapped:
            if start <= address < end:
                return self._mapped_place(address, start, chunk, end)
        heap = arenas.heap_of(address)
        if heap is None:
            return None
        if address < heap.first:
            return Place(f'{address:#x} lies in the records of {heap.arena.name}', [
                ('heap', f'{heap.start:#x} .. {heap.end:#x}')])
        problems = []
        chunk, size, used, before = self._chunk_at(heap, address, problems)
        if chunk is None:
            if not problems:
                raise Broken(f'no chunk holds {address:#x}')
            return Place(f'{address:#x} lies behind a header that is damaged, so what its block is '
                         'cannot be told', [('damage', str(problems[-1])), *problems[-1].rows])
        return self._chunk_place(address, heap, chunk, size, used, before, problems)

    def _chunk_at(self, heap, address, problems):
        """(chunk, its size, True if it is in use, the chunk before). The word before a size word belongs
        to the previous block while that is in use."""
        before = 0
        for chunk, size, used in self.arenas.chunks(heap, address, problems):
            if address < chunk:
                break
            if address < chunk + size:
                before = before or self.arenas.chunk_before(heap, chunk)
                if address < chunk + WORD and before and chunk != heap.arena.top and (
                        self.arenas.word(chunk + WORD) & IN_USE):
                    return before, chunk - before, True, self.arenas.chunk_before(heap, before)
                return chunk, size, used, before
            before = chunk
        return None, 0, False, 0

    def _mapped_place(self, address, start, chunk, end):
        block = chunk + HEADER
        where = self._where(address, chunk, block, LIVE)
        return Place(f'{address:#x} is {where}', [
            ('block', f'{block:#x} .. {end:#x}  {end - block} bytes'),
            ('chunk', f'{chunk:#x} .. {end:#x}  {end - chunk} bytes with its header'),
            ('state', LIVE), ('class', 'a mapping of its own'),
            ('flags', flags_of(self.arenas.word(chunk + WORD)))])

    def _where(self, address, chunk, block, state):
        return (f'the start of a {state} block' if address == block else
                f'{address - block} bytes into the {state} block {block:#x}' if address > block else
                f'{address - chunk} bytes into the header of the {state} block {block:#x}')

    def _chunk_place(self, address, heap, chunk, size, used, before, problems):
        arenas, arena, block = self.arenas, heap.arena, chunk + HEADER
        rows = [('chunk', f'{chunk:#x} .. {chunk + size:#x}  {size} bytes with its header'),
                ('arena', arena.name)]
        near = [('previous', arenas.describe(before) if before else 'none')]
        if problems:
            near.append(('damage', str(problems[0])))
        if chunk == arena.top:
            return Place(f'{address:#x} lies in the top chunk: never handed out, or merged into it '
                         'when it was freed', [*rows, ('state', 'fresh'), *near])
        if size < LEAST:
            return Place(f'{address:#x} lies in the end of a heap that goes on elsewhere', rows)
        near.append(('next', arenas.describe(chunk + size)))
        if any(chunk == cache.at - HEADER for cache in arenas.caches):
            return Place(f'{address:#x} lies in the tcache of a thread, a record of the malloc', [
                *rows, *near])
        held = arenas.near.get(chunk)
        state = FREE if arenas.is_free(chunk, size, used) else LIVE
        usable = size - WORD
        return Place(f'{address:#x} is {self._where(address, chunk, block, state)}', [
            ('block', f'{block:#x} .. {block + usable:#x}  {usable} bytes'), *rows[:1],
            ('state', state if state == LIVE else f'free, in the {held}' if held else
             'free' if arenas.cut else 'free, and in no list'),
            ('flags', flags_of(arenas.word(chunk + WORD))), *rows[1:], *near])

    def free(self):
        lists, rows, blocks, size = self.arenas.lists, [], 0, 0
        problems = list(self.arenas.found)
        for each in lists:
            n, usable = len(each.chunks), each.size - WORD
            total = n * usable if each.size else sum(map(self.arenas.size_of, each.chunks)) - n * WORD
            rows.append((each.kind, usable if each.size else '', str(each.of), n, total,
                         f'{each.chunks[0] + HEADER:#x}' if each.chunks else ''))
            blocks, size = blocks + n, size + total
        tops = sum(heap.end - heap.arena.top for heap in self.arenas.heaps
                   if heap.first <= heap.arena.top < heap.end)
        return (('list', 'bytes', 'of', 'blocks', 'in all', 'first'), rows,
                f'{count(blocks, "free block")}, {size} bytes; {tops} more bytes in the top chunks',
                problems[0] if problems else None)

    lists = ('tcache', 'fastbin', 'unsorted', 'small', 'large')

    def listed(self, kind):
        arenas, rows = self.arenas, []
        for each in arenas.lists:
            if each.kind == kind:
                rows += [(str(each), i, f'{chunk + HEADER:#x}', arenas.size_of(chunk) - WORD)
                         for i, chunk in enumerate(each.chunks, 1)]
        return rows, next(iter(arenas.found), None)

    def check(self):
        arenas, chunks = self.arenas, 0
        lists = arenas.lists
        problems = list(arenas.found)
        for heap in arenas.heaps:
            chunks += self._check_heap(heap, problems)
        mapped = sum(end - start for start, _, end in arenas.mapped)
        par = arenas.par
        if par and (len(arenas.mapped), mapped) != (par.n_mmaps, par.mapped_bytes):
            problems.append(Broken(
                f'mp_ counts {par.n_mmaps} mapped chunks with {par.mapped_bytes} bytes, but '
                f'{len(arenas.mapped)} with {mapped} are found: a header is damaged'))
        if problems:
            raise problems[0]
        return (f'{count(chunks, "chunk")} in {count(len(arenas.arenas), "arena")}, '
                f'{count(len(arenas.mapped), "mapped chunk")}, {count(len(lists), "list")} of free '
                'ones: sizes, flags, links, keys and counts are sound')

    def _check_heap(self, heap, problems):
        """Checks each chunk of a heap, fast if all are sound; returns how many there are."""
        arenas, chunks, before, binned = self.arenas, 1, -1, self.arenas.binned.lists
        try:
            for _, _, used, gone in arenas.sweep(heap):
                chunks += len(used) + len(gone)
                for at, size in gone:
                    if at not in binned or at == before:
                        raise Odd
                    before = at + size
            broken = arenas.top_problem(heap) if heap.swept == heap.arena.top else None
            problems += [broken] if broken else []
            return chunks
        except Odd:
            return self._check_carefully(heap, problems)

    def _check_carefully(self, heap, problems):
        arenas, chunks, before = self.arenas, 0, None
        for at, size, used in arenas.chunks(heap, 0, problems):
            chunks += 1
            if at == heap.arena.top or size < LEAST:
                before = None
                continue
            if not used and at not in arenas.binned:
                problems.append(Broken(f'chunk {at:#x}: is free, and in no list',
                                       arenas.shown(at, before[0] if before else 0)))
            if before and not used and not before[1]:
                problems.append(Broken(f'chunks {before[0]:#x} and {at:#x} are free, neighbours, '
                                       'and not merged', arenas.shown(at, before[0])))
            before = at, used
        return chunks

    def notes(self):
        arenas, numbers = self.arenas, self.library.numbers
        notes = [f'{arena.name} is locked: stopped inside a call, so a change may be half done'
                 for arena in arenas.arenas if arena.locked]
        if not OLDEST <= numbers <= NEWEST:
            notes.append(f'{self.library.version} is not one of those that this reader was made for '
                         '(2.31 to 2.41)')
        if arenas.is_judged:
            notes.append('the lists of free blocks are long, and were not followed to their ends: blocks count as free '
                         'if their links look like it; after `heap check` this is certain')
        if arenas.par is None:
            notes.append('mp_ is not found: mapped chunks are not shown')
        return notes
