"""The structures of glibc's malloc (2.31 to 2.41), given as offsets, and access to their words.

      start                                               top          end
      │ chunk │ chunk │ free chunk │ chunk │ … │ chunk │ top chunk │   the main heap (sbrk)
      │ heap_info │ malloc_state │ chunk │ …         │ top chunk │     a heap of another arena

      chunk            user                           next chunk
      │ prev_size │ size AMP │ fd      │ bk      │ …  │ prev_size │ size AMP │
        of a free                of a free chunk, in a bin
        chunk before    P: the chunk before is in use   M: has a mapping of its own   A: not main_arena
"""

from .memory import STRETCH, WORD, Unreadable, as_words

# struct malloc_state, in bytes
MUTEX, FASTBINS, TOP, BINS, NEXT, SYSTEM_MEM, STATE_SIZE = 0, 16, 96, 112, 2160, 2184, 2200
FASTBIN_COUNT, BIN_COUNT = 10, 127
HEAP_MAX = 64 << 20  # a heap of an arena other than the main one is aligned to this
HEAP_PREV, HEAP_SIZE = 8, 16  # in struct heap_info, behind its arena
# struct tcache_perthread_struct: counts of 16 bits, then the first block of each bin
TCACHE_BINS, TCACHE_ENTRIES, TCACHE_CHUNK = 64, 128, 0x290
TCACHE_MOST, TCACHE_FULL = 1032, 7  # mp_: bytes of its largest blocks, and how many of each

HEADER, LEAST = 16, 32  # bytes: from a chunk to its block, and the smallest chunk
IN_USE, MAPPED, ELSEWHERE, FLAGS = 1, 2, 4, 7


class Heap:
    """A stretch of chunks: the first one, and the end. Keeps the address of about one chunk in each MiB,
    so that later walks can begin there."""

    ANCHOR = 1 << 20

    def __init__(self, arena, start, first, end):
        self.arena, self.start, self.first, self.end = arena, start, first, end
        self._anchors = {0: first}
        self.swept = 0  # where the last chunk ends, as Arenas.sweep found

    def remember(self, chunk):
        """Notes that a chunk begins here."""
        self._anchors.setdefault((chunk - self.first) // self.ANCHOR, chunk)

    def anchor(self, address):
        """The last known chunk that begins at an address or before it."""
        number = (address - self.first) // self.ANCHOR
        while self._anchors.get(number, address + 1) > address:
            number -= 1
        return self._anchors[number]


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
        self.chunks, self.arena = [], None

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


class Par:
    """The fields that we need of mp_ (struct malloc_par), located by its tcache_bins; `words` begin six
    words before that. 2.35 added an int before n_mmaps."""

    def __init__(self, at, words, numbers):
        self.at, self.length = at - 6 * WORD, 10 * WORD
        self.n_mmaps = words[0] >> 32 if numbers >= (2, 35) else words[1] & 0xffffffff
        self.mapped_bytes, self.sbrk_base = words[3], words[5]
        self.tcache_count = words[8]


class Words:
    """The words of the program's memory."""

    def __init__(self, memory):
        self.memory = memory
        self._pieces = {}

    def word(self, address):
        view = self._pieces.get(address >> 16)
        if view is None:
            view = self._piece(address)
        if not view:
            return int.from_bytes(self.memory.read(address, WORD), 'little')
        return view[(address & 0xffff) >> 3]

    def _piece(self, address):
        """The 64 KiB around an address as words, or (); reads a MiB at once if possible."""
        for size in (STRETCH, 1 << 16):
            base = address - address % size
            try:
                words = as_words(self.memory.once(base, size))
            except Unreadable:
                continue
            for i in range(size >> 16):
                self._pieces[(base >> 16) + i] = words[i << 13:i + 1 << 13]
            return self._pieces[address >> 16]
        self._pieces[address >> 16] = ()  # a mapping begins or ends here
        return ()

    def try_word(self, address):
        try:
            return self.word(address)
        except Unreadable:
            return None

    def size_of(self, chunk):
        return self.word(chunk + WORD) & ~FLAGS

    def rows(self, at, *names):
        """Words as they stand in memory."""
        rows = []
        for i, name in enumerate(names):
            word = self.try_word(at + i * WORD)
            if word is not None:
                rows.append((f'{at + i * WORD:#x} {name}', f'{word:#018x}  {text_of(word)}'.rstrip()))
        return rows


def text_of(word):
    """The bytes of a word as text if they are printable, because most overflows are strings."""
    data = word.to_bytes(WORD, 'little').rstrip(b'\0')
    return f'"{data.decode()}"' if len(data) > 3 and all(32 <= byte < 127 for byte in data) else ''


def flags_of(word):
    """What the flags in a size word say."""
    names = (IN_USE, 'the chunk before is in use'), (MAPPED, 'mapped'), (ELSEWHERE, 'not of main_arena')
    said = ', '.join(name for bit, name in names if word & bit) or 'none'
    return f'{said}  (size word {word:#x})'
