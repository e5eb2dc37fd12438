"""Reads the heap of dumb.c, which records only where it begins and ends."""

from .chunks import LIVE, REGION, Broken, Chunk, Place, Reader, owner, owners_note
from .library import is_core
from .roots import writable

MOST = 1 << 36  # the most bytes of a heap that a core may omit at its end


class DumbReader(Reader):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self.heap = library.symbol('heap')
        self.start, self.end = int(self.heap['start']), int(self.heap['end'])
        self.block = int(self.heap['block'])
        self.last = self._mapped()  # the end of its readable part

    def _mapped(self):
        at, ranges = self.start, writable()
        for start, end in ranges:
            if start <= at < end:
                at = end
        if is_core():  # a core omits memory that was never written
            at = min([start for start, _ in ranges if start > at] + [at + MOST])
        return min(at, self.end)

    def walk(self, start=0):
        extent = self.last - self.start
        if extent > 0 and self.last > start:
            yield Chunk(REGION, self.start, extent)
            yield Chunk(LIVE, self.start, extent, self.start, extent)
        if not self.start <= self.last == self.end:
            raise self._wrong()

    def place(self, address):
        if not self.start <= address < self.last:
            return None
        into = address - self.start
        number, rest = divmod(into, self.block or 1)
        return Place(f'{address:#x} lies {into} bytes into the heap of dumb, which remembers no '
                     'blocks', [
            ('heap', f'{self.start:#x} .. {self.end:#x}'),
            ('block', f'{address - rest:#x}, {self.block} bytes: number {number}, unless an '
                      'aligned request or the program itself moved the break'),
            ('state', 'live: nothing is ever taken back'),
        ])

    def free(self):
        return None, [], 'nothing is free: dumb never takes a block back', None

    def check(self):
        if not self.start <= self.last == self.end:
            raise self._wrong()
        if self.block % 16:
            raise Broken(f'the size of a block, {self.block}, is no multiple of 16')
        return f'{self.end - self.start} bytes handed out in blocks of {self.block}'

    def notes(self):
        return [*owners_note([owner(self.heap['lock'])]),
                'dumb remembers no blocks: all that it ever handed out counts as one live block']

    def _wrong(self):
        what = (f'the heap starts at {self.start:#x} and ends before that, at {self.end:#x}'
                if self.end < self.start else
                f'the heap is said to end at {self.end:#x}, but its memory ends at {self.last:#x}')
        return Broken(what, [('heap.start', f'{self.start:#x}'), ('heap.end', f'{self.end:#x}')],
                      f'only what can be read, up to {max(self.start, self.last):#x}, is counted')
