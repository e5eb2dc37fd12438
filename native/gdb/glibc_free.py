"""What glibc's free would do with a pointer."""

import gdb

from .glibc_structs import FLAGS, HEADER, IN_USE, LEAST, MAPPED, TCACHE_MOST
from .memory import PAGE, WORD, Unreadable

FAST_MOST = 128  # bytes; the largest chunk of a fastbin, unless mallopt says otherwise


class Free:
    """What free of glibc 2.36 would do with a pointer: its own checks, in its own order and words. Other
    versions from 2.31 to 2.41 differ in few of them."""

    def __init__(self, arenas):
        self.arenas = arenas

    def verdict(self, address):
        """(True if free would accept the pointer, a sentence)."""
        try:
            taken, why = self._verdict(address)
            chunk = address - HEADER
            if taken and not self.arenas.word(chunk + WORD) & MAPPED and self.arenas.is_free(
                    chunk, self.arenas.size_of(chunk), True):
                held = self.arenas.near.get(chunk) or 'fastbin, as its link says'
                why += f'; but it is free already, in the {held}: glibc does not notice'
            return taken, why
        except Unreadable as error:
            return False, f'the program would crash (SIGSEGV): {error}'

    def _verdict(self, address):
        arenas, chunk = self.arenas, address - HEADER
        word = arenas.word(chunk + WORD) if address % WORD == 0 else 0
        size = word & ~FLAGS
        if word & MAPPED:
            start, total = chunk - arenas.word(chunk), arenas.word(chunk) + size
            if (start | total) % PAGE:
                return False, 'munmap_chunk(): invalid pointer'
            return True, f'its mapping of {total} bytes goes back to the system'
        if address % 16 or chunk > -size % 2 ** 64:
            return False, 'free(): invalid pointer'
        if size < LEAST or size % 16:
            return False, 'free(): invalid size'
        return self._cached(chunk, size) or self._rest(chunk, size)

    def _cached(self, chunk, size):
        arenas, thread = self.arenas, gdb.selected_thread()
        number = (size - LEAST) // 16
        cache = next((each for each in arenas.caches if thread is None or
                      each.thread in (0, thread.num)), None)
        if size - WORD > TCACHE_MOST or cache is None:
            return None
        arenas.need(whole=False)
        held = next((each for each in arenas.part if each.kind == 'tcache' and each.of is cache and
                     each.size == size), None)
        if held and chunk in held.chunks:
            return False, 'free(): double free detected in tcache 2'
        most = arenas.par.tcache_count if arenas.par else 7
        there = len(held.chunks) if held else 0
        if there >= most:
            return None
        return True, f'it goes into the tcache of {cache}: {there + 1} of {most} blocks of its size'

    def _rest(self, chunk, size):
        arenas = self.arenas
        heap, following = arenas.heap_of(chunk), chunk + size
        if heap is None:
            return False, 'it lies in no heap: what free does then is not told here'
        if size <= FAST_MOST:
            if not 2 * WORD < arenas.size_of(following) < heap.arena.system_mem:
                return False, 'free(): invalid next size (fast)'
            held = arenas.near.get(chunk)
            if held and held.kind == 'fastbin' and held.chunks[0] == chunk:
                return False, 'double free or corruption (fasttop)'
            return True, f'it goes into the fastbin of {size - WORD} bytes of {heap.arena.name}'
        return self._normal(heap, chunk, size, following)

    def _normal(self, heap, chunk, size, following):
        arenas, top = self.arenas, heap.arena.top
        if chunk == top:
            return False, 'double free or corruption (top)'
        if heap.arena.is_main and following >= top + arenas.size_of(top):
            return False, 'double free or corruption (out)'
        behind = arenas.word(following + WORD)
        if not behind & IN_USE:
            return False, 'double free or corruption (!prev)'
        if not 2 * WORD < behind & ~FLAGS < heap.arena.system_mem:
            return False, 'free(): invalid next size (normal)'
        merged, start = [], chunk
        if not arenas.word(chunk + WORD) & IN_USE:
            start = chunk - arenas.word(chunk)
            if arenas.size_of(start) != arenas.word(chunk):
                return False, 'corrupted size vs. prev_size while consolidating'
            merged.append((start, 'the free chunk before it'))
        end = following + (behind & ~FLAGS)
        if following != top and not arenas.word(end + WORD) & IN_USE:
            merged.append((following, 'the free chunk behind it'))
        for other, _ in merged:
            ahead, back = arenas.word(other + HEADER), arenas.word(other + HEADER + WORD)
            if arenas.word(ahead + HEADER + WORD) != other or arenas.word(back + HEADER) != other:
                return False, 'corrupted double-linked list'
        names = [name for _, name in merged] + (['the top chunk'] if following == top else [])
        where = 'stays there' if following == top else f'goes into the unsorted bin of {heap.arena.name}'
        return True, (f'it is merged with {" and ".join(names)}, and {where}' if names else f'it {where}')
