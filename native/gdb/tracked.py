"""The heap of a malloc that no reader knows, by the table of `--track`: which blocks the program has. What else
the malloc keeps, its free lists above all, is not known, and said so.

    region   ████ block █ block    ██████ block   …    what lies in between is not told: free blocks, headers

Where the malloc mapped its memory through the dynamic linker, the table knows the regions; else they reach
from the first block of a mapping to its last.
"""

from bisect import bisect_right
from collections import Counter
from functools import cached_property
from itertools import islice
from operator import gt

from .chunks import LIVE, REGION, Broken, Chunk, Columns, Place, Reader, Stats, count, up_to
from .memory import PAGE
from .roots import writable

STEP = 16  # bytes
MANY = 1 << 16  # blocks: of more, not each is looked for in its place
FAR = 64 << 10  # bytes that are searched for a block one by one; behind them, the table is sorted


class TrackedReader(Reader):
    """Not in a module called like a malloc: it is for all of them."""

    knows_free = False

    def __init__(self, ours, memory, known):
        super().__init__(ours, memory)
        self.known = known
        if hasattr(ours, 'own'):
            ours.own = list(ours.sections('.data', '.bss'))

    # ── regions ──────────────────────────────────────────────────────────────

    @cached_property
    def regions(self):
        """(start, end) in address order."""
        maps = writable()
        found = joined(sorted(part for start, end in self.known.ranges for part in clipped(maps, start, end)))
        return joined(sorted(found + self._around_blocks(maps, found))) if self.known.outside else found

    def _around_blocks(self, maps, known):
        """From the first to the last block of each mapping, where nobody saw it being mapped."""
        ends, starts = {}, [start for start, _ in known]
        for addresses, sizes in self.known.columns('address', 'size'):
            for page in {address // PAGE for address in addresses}:
                ends[page * PAGE] = (page + 1) * PAGE
            for address, size in zip(addresses, sizes):
                if size > PAGE:
                    at = address - address % PAGE
                    ends[at] = max(ends.get(at, 0), -(-(address + size) // PAGE) * PAGE)
        hulls = {}
        for start, end in ends.items():
            i = bisect_right(starts, start) - 1
            if i >= 0 and start < known[i][1]:
                continue
            held = bisect_right(maps, (start, 1 << 64)) - 1
            if held >= 0 and start < maps[held][1]:
                low, high = hulls.get(held, (start, end))
                hulls[held] = min(low, start), max(high, end)
        return [(low, min(high, maps[held][1])) for held, (low, high) in hulls.items()]

    # ── blocks ───────────────────────────────────────────────────────────────

    def lowest(self):
        return self.regions[0][0] if self.regions else None

    def walk(self, start=0):
        self.known.require_sound()
        for region in self.regions:
            if region[1] > start:
                yield Chunk(REGION, region[0], region[1] - region[0])
                yield from self._blocks(*region, start)

    def _blocks(self, low, high, start):
        """The blocks of a region that end behind `start`; the next ones without sorting the table."""
        if 'by_address' not in vars(self.known) and start > low:
            at = self._holder(start, low)
            at = at.start if at else start
            empty = 0
            while at < high and empty < FAR:
                empty += STEP
                for block in self.known.near(at):
                    if block.end > start and block.start >= at:
                        yield chunk(block.start, block.size)
                        start, empty = block.end, 0
                at = max(start, at + STEP) // STEP * STEP
        starts, sizes = self.known.by_address
        i = bisect_right(starts, max(start, low))
        i -= i > 0 and starts[i - 1] >= low and starts[i - 1] + max(sizes[i - 1], 1) > start
        while i < len(starts) and starts[i] < high:
            yield chunk(starts[i], sizes[i])
            i += 1

    def _holder(self, address, low):
        """The block that holds an address, or None."""
        if 'by_address' not in vars(self.known):
            for at in range(address, max(low, address - FAR) - STEP, -STEP):
                for block in reversed(self.known.near(at)):
                    if block.start <= address:
                        return block if address < block.end else None
        starts, sizes = self.known.by_address
        i = bisect_right(starts, address) - 1
        return self.known.find(starts[i]) if i >= 0 and address < starts[i] + max(sizes[i], 1) else None

    @cached_property
    def columns(self):
        found = Columns()
        try:
            found.starts[LIVE], found.ends[LIVE] = self.known.by_address[0], self.known.ends()
            found.regions = self.regions
        except Broken as broken:
            found = Columns().ended([broken])
        return found

    def stats(self):
        stats = Stats()
        try:
            self.known.require_sound()
            stats.live_blocks, stats.live_bytes = self.known.used, self.known.bytes
            stats.regions, stats.mapped = len(self.regions), sum(end - start for start, end in self.regions)
        except Broken as broken:
            return stats, broken
        return stats, None

    def sizes(self):
        found, counted = {}, Counter()
        try:
            for sizes, in self.known.columns('size'):
                counted.update(sizes)
        except Broken as broken:
            return {}, broken
        for size, n in counted.items():
            row = found.setdefault(up_to(size), [0, 0, 0, 0])
            row[0] += n
            row[1] += n * size
        return found, None

    def records(self):
        return self.known.records()

    # ── what the commands ask ────────────────────────────────────────────────

    def site(self, address):
        return self.known.site(address)

    def callers(self, address):
        return self.known.callers(address)

    def place(self, address):
        region = next((each for each in self.regions if each[0] <= address < each[1]), None)
        if region is None:
            return None
        block = self._holder(address, region[0])
        rows = [('region', f'{region[0]:#x} .. {region[1]:#x}  {region[1] - region[0]} bytes')]
        if block is None:
            return Place(f'{address:#x} lies in no live block: in a free one, or in what the malloc keeps', rows)
        into = address - block.start
        where = f'{into} bytes into the live block {block.start:#x}' if into else 'the start of a live block'
        return Place(f'{address:#x} is {where}', [
            ('block', f'{block.start:#x} .. {block.start + block.size:#x}  {block.size} bytes'),
            *self.known.callers(block.start), *rows])

    def try_free(self, address):
        block = self.known.find(address) if address else None
        if block:
            return True, f'{address:#x} is a live block of {block.size} bytes'
        region = next((each for each in self.regions if each[0] <= address < each[1]), None)
        holder = self._holder(address, region[0]) if region else None
        if holder:
            return False, (f'{address:#x} is not a block: it lies {address - holder.start} bytes into '
                           f'{holder.start:#x} (live, {holder.size} bytes)')
        return False, f'{address:#x} is no live block: it was freed, or never handed out'

    def free(self):
        return (), [], 'what is free is not known: the free lists of this malloc are its own', None

    def check(self):
        starts, ends = self.known.by_address[0], self.known.ends()
        self._check_table(starts, ends)
        if any(map(gt, ends, islice(starts, 1, None))):
            i = next(i for i in range(len(starts)) if ends[i] > starts[i + 1])
            raise Broken(f'the live blocks {starts[i]:#x} and {starts[i + 1]:#x} overlap: the malloc handed out '
                         'memory that was in use', self._both(starts[i], starts[i + 1]))
        return (f'{count(len(starts), "live block")}, none of which overlaps another; what this malloc keeps '
                'beside them is not known')

    def _check_table(self, starts, ends):
        counted, there = (self.known.used, self.known.bytes), (len(starts), sum(self.known.by_address[1]))
        if counted != there and not self.known.holder:
            raise Broken('the table of --track is overwritten: it counts %d blocks of %d bytes, and has %d of %d' %
                         (*counted, *there))
        i = 0
        for low, high in self.regions:
            if i < len(starts) and starts[i] < low:
                break
            i = bisect_right(starts, high - 1)
            if i and ends[i - 1] > high:
                i -= 1
                break
        if i < len(starts):
            raise Broken(f'the table of --track is overwritten: {starts[i]:#x}, of {ends[i] - starts[i]} bytes, lies '
                         'in no writable memory')
        lost = next((at for at in starts if not self.known.find(at)), 0) if len(starts) < MANY else 0
        if lost:
            raise Broken(f'the table of --track is overwritten: {lost:#x} is not where it is looked for')

    def _both(self, *blocks):
        rows = []
        for at in blocks:
            block = self.known.find(at)
            rows += [(f'{at:#x}', f'{block.size} bytes')] if block else []
            rows += self.known.callers(at)
        return rows

    def notes(self):
        return ['by the table of --track: blocks are as the program asked for them, and what is free is not known',
                *self.known.notes()]


def chunk(start, size):
    return Chunk(LIVE, start, max(size, 1), start, size)


def clipped(maps, start, end):
    """What of [start, end) is writable."""
    i = max(bisect_right(maps, (start, 1 << 64)) - 1, 0)
    while i < len(maps) and maps[i][0] < end:
        low, high = max(maps[i][0], start), min(maps[i][1], end)
        if low < high:
            yield low, high
        i += 1


def joined(ranges):
    """Sorted ranges, without overlap."""
    found = []
    for start, end in ranges:
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found
