"""The chunks of glibc's malloc that have a mapping of their own."""

from .glibc_structs import FLAGS, HEADER, MAPPED
from .memory import PAGE, WORD, Unreadable, as_words

LOOKED = 1 << 30  # the most bytes to search for mapped chunks


def find_mapped(arenas):
    """(start of the mapping, chunk, end) of each, in address order. Searches the writable memory for
    their headers, until it has found as many as mp_ counts."""
    wanted = arenas.par.n_mmaps if arenas.par else 0
    if not wanted:
        return []
    found, looked = [], 0
    for start, end in arenas.ranges:
        if any(heap.start < end and start < heap.end for heap in arenas.heaps):
            continue
        at = start
        while at < end and len(found) < wanted and looked < LOOKED:
            try:
                data = arenas.memory.stretch(at, end)
            except Unreadable:
                at += PAGE
                continue
            limit, base, words = at + len(data), at, as_words(data)
            while at < limit:
                chunk, size = _mapped_at(words, base, at, end)
                if size:
                    found.append((at, chunk, chunk + size))
                    at = chunk + size
                    if len(found) >= wanted:
                        break
                else:
                    at += PAGE
            looked += len(data)
    return found


def _mapped_at(words, base, at, end):
    """(chunk, size) if a mapping begins with a mapped chunk, else size 0. The header of an aligned block
    lies further in and says how far; before it stands one with the size of the whole mapping."""
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
