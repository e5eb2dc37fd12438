"""The structures of sharded.c in memory: arenas of runs, pages with their stacks, heaps, and blocks
that other threads freed. Checks each step before it follows it, so that it ends on every heap.

      start                         end
      │ run │ run │ run │ … │ run │ run │   an arena
         │
         └─ the map ─> its record: three cache lines, and the stack of a page
"""

from functools import cached_property

from .chunks import Broken, skipped
from .memory import ALL, PAGE, Layout, Unreadable

# The fields of native/sharded.c and sharded/*.h that we read here.
REGION = ('era', 'used', 'dirty', 'oldest', 'youngest', 'older')
RECORD = ('owner', 'start', 'origin', 'inverse', 'limit', 'size', 'granules', 'capacity',
          'carved', 'kind', 'class', 'shift', 'era', 'area', 'dirty', 'base', 'top', 'count', 'next',
          'prev', 'budget', 'younger', 'older', 'listed', 'goal', 'remote', 'pending', 'purged')
HEAP = ('tag', 'pages', 'batched', 'busy', 'lost', 'todo', 'next', 'pending')
HUGE = ('next', 'start', 'user', 'length')
CONSTANTS = ('GRANULE_BITS', 'ALIGNMENT', 'STEPS', 'CLASSES', 'EXACT', 'BINS', 'WORTHWHILE',
             'BATCH', 'COLORED', 'MARK', 'REMOTE_PENDING', 'REMOTE_TAKEN', 'PAGE_SMALL',
             'PAGE_LARGE', 'PAGE_KEPT', 'PAGE_FREE', 'PAGE_BUSY')

IN_STACK, FREED_REMOTELY = 1, 2  # marks of blocks that are free; 0 is live
SMALL_CLASSES = 8


class Record:
    """A struct in the program's memory: its address, and its fields."""

    def __init__(self, at, names, values):
        self.at = at
        self.__dict__.update(zip(names, values))


class Pages:

    def __init__(self, library, memory):
        self.memory, self.heaps_problem, self.huges_problem = memory, None, None
        for name in CONSTANTS:
            setattr(self, name, int(library.symbol(name)))
        self.granule = 1 << self.GRANULE_BITS
        self.kinds = (self.PAGE_SMALL, self.PAGE_LARGE, self.PAGE_KEPT, self.PAGE_FREE,
                      self.PAGE_BUSY)
        self.page_none = int(library.symbol('page_none').address)
        self.variable, self.slabs = library.symbol('heap'), library.symbol('slabs')
        self.region_layout = Layout(self.variable['region'].type.target())
        self.heap_layout = Layout(self.variable['heaps'].type.target())
        self.page_layout = Layout(library.symbol('page_none').type)
        self.huge_layout = Layout(self.variable['huges']['idle'].type.target())
        self.batch_layout = Layout(self.heap_layout.field('batches').target())
        self.sizes = [self._size(index) for index in range(self.CLASSES)]
        self._arenas = library.symbol('arenas')
        page_map = library.symbol('page_map')
        self.map, layout = int(page_map), Layout(page_map.type.strip_typedefs().target())
        self.entries = self.map + layout.offset('entry')
        self.mask, = self.read(self.map, 'the map', lambda: memory.record(layout, self.map, 'mask'))

    def _size(self, index):
        """As class_size in sharded/class.h."""
        if index < SMALL_CLASSES:
            return self.ALIGNMENT * (index + 1)
        doubling, step = divmod(index - SMALL_CLASSES, self.STEPS)
        base = SMALL_CLASSES * self.ALIGNMENT << doubling
        return base + base // self.STEPS * (step + 1)

    def read(self, at, what, how):
        try:
            return how()
        except Unreadable as error:
            raise Broken(f'{what} at {at:#x} is not there: {error}') from None

    def record(self, layout, names, at, what):
        values = self.read(at, what, lambda: self.memory.record(layout, at, *names))
        return Record(at, names, values)

    def words(self, at, length, what):
        """`length` pointers or numbers of 64 bits."""
        data = self.read(at, what, lambda: self.memory.read(at, length * 8))
        return memoryview(data).cast('Q').tolist()

    def show(self, layout, names, at):
        """The fields of a struct in memory, as rows."""
        values = self.memory.record(layout, at, *names)
        return [(f'{at + layout.offset(name):#x} {name}', f'{value:#x}  {value}')
                for name, value in zip(names, values)]

    def show_page(self, page):
        return self.show(self.page_layout, RECORD, page.at)

    # ── regions, arenas and runs ─────────────────────────────────────────────

    def regions(self):
        """The region in use, then those that were frozen by a fork or when the library ended, each linked
        from the one after it."""
        regions, at = {}, int(self.variable['region'])
        while at and at not in regions:
            regions[at] = self.record(self.region_layout, REGION, at, 'the region')
            at = regions[at].older
        return list(regions.values())

    def bins(self, region):
        """(area, dirty, the bits of the bins in use, the first run of each bin)."""
        field = self.region_layout.field('free')
        layout, kinds = Layout(field.target().target()), 2 * (field.range()[1] + 1)
        used, first = layout.offset('used') // 8, layout.offset('first') // 8
        at, size = region.at + self.region_layout.offset('free'), layout.size // 8
        words = self.words(at, kinds * size, 'the bins')
        for kind in range(kinds):
            each = words[kind * size:(kind + 1) * size]
            bits = [each[used + i // 64] >> i % 64 & 1 for i in range(self.BINS)]
            yield *divmod(kind, 2), bits, each[first:first + self.BINS]

    def bin(self, granules):
        """As run_bin in sharded/region.h: one length each, then eight bins to each doubling."""
        if granules <= self.EXACT:
            return granules - 1
        log = (granules - 1).bit_length() - 1
        return min(self.EXACT + (log - 5) * 8 + ((granules - 1) >> (log - 3)) % 8, self.BINS - 1)

    @cached_property
    def arenas(self):
        """In address order."""
        at, length, room = (int(self._arenas[name]) for name in ('list', 'count', 'room'))
        if length > room:
            raise Broken(f'there are {length} arenas, and room for {room}')
        ends = iter(self.words(at, 2 * length, 'the list of arenas'))
        arenas = [Record(0, ('start', 'end'), each) for each in sorted(zip(ends, ends))]
        end = 0
        for arena in arenas:
            if not end <= arena.start < arena.end or (arena.start | arena.end) % self.granule:
                raise Broken(f'the arena from {arena.start:#x} to {arena.end:#x} overlaps another, '
                             'or ends in the middle of a granule')
            end = arena.end
        return arenas

    def page_of(self, address):
        """The record to which the map leads for this address; it may describe other memory."""
        at = self.entries + 8 * (address >> self.GRANULE_BITS & self.mask)
        distance, = self.words(at, 1, 'the map')
        return self.page(self.map + distance & ALL)

    def page(self, at):
        page = self.record(self.page_layout, RECORD, at, 'the record of a page')
        page.index = vars(page)['class']
        page.length = page.granules << self.GRANULE_BITS
        page.end = page.start + page.length
        page.filled = page.remote >> 16 & 0xffff
        return page

    def runs(self, arena, problems=None):
        """The runs of an arena in address order. Raises Broken at the first impossible one; with a list of
        `problems`, adds it there and continues."""
        at = arena.start
        while at < arena.end:
            try:
                yield (run := self._run(arena, at))
                at = run.end
            except Broken as error:
                if problems is None:
                    raise
                found = self._next_run(arena, at + self.granule)
                error.price = skipped(at, found)
                problems.append(error)
                at = found

    def _run(self, arena, at):
        run = self.page_of(at)
        problem = self.problem(run, arena, at)
        if problem:
            raise Broken(f'run {at:#x}: {problem}', self.show_page(run))
        return run

    def _next_run(self, arena, at):
        """Where the next run begins, according to its own record and the map."""
        while at < arena.end:
            try:
                return self._run(arena, at).start
            except Broken:
                at += self.granule
        return arena.end

    def problem(self, run, arena, at):
        """Why such a run is impossible, or None."""
        if run.kind not in self.kinds:
            return f'its kind is {run.kind}, but one must begin here'
        if run.start != at:
            return f'its record is that of a run at {run.start:#x}'
        if not 0 < run.length <= arena.end - at:
            return f'its length is {run.granules} granules; the arena ends at {arena.end:#x}'
        if run.kind == self.PAGE_LARGE and not 0 <= run.base - at <= self.COLORED:
            return f'its block begins at {run.base:#x}'
        if run.kind != self.PAGE_SMALL:
            return None
        if run.index >= self.CLASSES:
            return f'its class is {run.index}, of {self.CLASSES}'
        if run.size != self.sizes[run.index]:
            return f'its blocks have {run.size} bytes, those of its class {self.sizes[run.index]}'
        if run.capacity != run.length // run.size:
            return f'{run.capacity} blocks of {run.size} bytes are not {run.length}'
        if run.carved > run.capacity:
            return f'{run.carved} blocks were carved, of {run.capacity}'
        if run.count + run.filled > run.carved:
            return f'{run.count} and {run.filled} blocks are free, of {run.carved}'
        if run.owner not in self.heaps and not self.heaps_problem:
            return f'its heap is {run.owner:#x}, which is none'
        return None

    def run_at(self, arena, address):
        """The run that contains the address. The map has an entry for each granule of a short run in use,
        and for the first ones and the last of other runs."""
        for at in range(address - address % self.granule, arena.start - 1, -self.granule):
            run = self.page_of(at)
            if run.kind in self.kinds and run.start <= address < run.end:
                problem = self.problem(run, arena, run.start)
                if problem:
                    raise Broken(f'run {run.start:#x}: {problem}', self.show_page(run))
                return run
        raise Broken(f'no entry of the map leads to a run that holds {address:#x}')

    # ── which blocks of a page are free ──────────────────────────────────────

    def marks(self, page):
        """A byte for each block that was ever carved: 0, IN_STACK or FREED_REMOTELY; and a Broken if a
        listed place is impossible, or None."""
        marks, problem = bytearray(page.carved), None
        at = page.at + self.page_layout.size
        try:
            stack = memoryview(self.memory.read(at, 2 * page.capacity + 2)).cast('H')
        except Unreadable as error:
            return marks, self.damage(page, str(error))
        if page.count and not 0 <= page.top - page.base < page.length:
            return marks, self.damage(page, f'the next free block is said to be {page.top:#x}')
        top = [page.top - page.base >> page.shift] if page.count else []
        for mark, places in ((IN_STACK, top), (IN_STACK, stack[1:page.count]),
                             (FREED_REMOTELY, stack[page.capacity + 1 - page.filled:]),
                             (FREED_REMOTELY, self.batches.get(page.at, ()))):
            for place in places:
                number, rest = divmod(place << page.shift, page.size)
                if not rest and number < page.carved and not marks[number]:
                    marks[number] = mark
                    continue
                block = page.start + (place << page.shift)
                what = 'no block begins' if rest or number >= page.carved else 'one is free already'
                problem = problem or self.damage(page, f'a free block is said to be {block:#x}, '
                                                       f'where {what}')
        return marks, problem

    def remote(self, page):
        """The number of its blocks that other threads have freed: in its record, or in their batches."""
        return page.filled + len(self.batches.get(page.at, ()))

    def damage_of(self, page, marks, problem):
        """The problem of `marks`; or a Broken if a free block lacks its mark, unless its memory was
        returned to the kernel; or None."""
        if problem or not any(marks):
            return problem
        try:
            data = self.memory.once(page.start, page.carved * page.size)
        except Unreadable as error:
            return self.damage(page, str(error))
        mark = (self.MARK & ALL).to_bytes(8, 'little')
        for number, state in enumerate(marks):
            at = number * page.size
            purged = page.purged >> at // PAGE & 1 and not any(data[at:at + len(mark)])
            if state and not purged and data[at:at + len(mark)] != mark:
                return self._overwritten(page, number, marks, data)
        return None

    def _overwritten(self, page, number, marks, data):
        """Shows the block before it, too, because that may have been overrun."""
        at = number * page.size
        word, block = int.from_bytes(data[at:at + 8], 'little'), page.start + at
        rows = [(f'{block:#x}', f'{word:#018x}  should be {self.MARK & ALL:#018x}')]
        if number:
            state = 'free' if marks[number - 1] else 'live'
            rows.append(('the one before', f'{block - page.size:#x}  {state}'))
        return self.damage(page, f'the free block {block:#x} was written to after its free', rows)

    def damage(self, page, what, rows=None):
        return Broken(f'page {page.start:#x} (blocks of {page.size} bytes): {what}',
                      rows or self.show_page(page),
                      'of the page that is damaged, blocks may count as live that are free')

    @cached_property
    def batches(self):
        """The record of a page → the places of its blocks that other threads keep in batches."""
        found = {}
        for heap in self.heaps.values():
            for page, places in self.batches_of(heap):
                found.setdefault(page, []).extend(places)
        return found

    def batches_of(self, heap):
        field, layout = self.heap_layout.field('batches'), self.batch_layout
        unpack, places = layout.unpacker('page', 'left'), layout.offset('place')
        at = heap.at + self.heap_layout.offset('batches')
        data = self.read(at, 'the batches', lambda: self.memory.read(at, field.sizeof))
        for offset in range(0, len(data), layout.size):
            page, left = unpack(data, offset)
            if page and left <= self.BATCH:
                first, end = offset + places + 2 * left, offset + places + 2 * self.BATCH
                yield page, memoryview(data[first:end]).cast('H').tolist()

    # ── heaps and huge blocks ────────────────────────────────────────────────

    @cached_property
    def heaps(self):
        """Address → heap, for every thread that ever had one, as far as their list is sound."""
        heaps, at = {}, int(self.variable['heaps'])
        while at:
            try:
                if at in heaps:
                    raise Broken(f'the list of heaps leads back to {at:#x}')
                heaps[at] = self.record(self.heap_layout, HEAP, at, 'the heap')
            except Broken as error:
                error.price = 'whose blocks these are is not known of all'
                self.heaps_problem = error
                break
            at = heaps[at].next
        return heaps

    def array(self, heap, name):
        """An array of pointers in a heap."""
        length = self.heap_layout.field(name).range()[1] + 1
        return self.words(heap.at + self.heap_layout.offset(name), length, 'the heap')

    def pending(self, heap):
        """The pages of a heap, by record, of which other threads freed blocks."""
        found = {}
        for at in (heap.pending, heap.todo):
            while at:
                page = self.page(at)
                if at in found or page.owner != heap.at or not page.remote & self.REMOTE_PENDING:
                    raise Broken(f'heap {heap.at:#x}: the list of pages with remote frees leads to '
                                 f'{at:#x}, which is none of it', self.show_page(page))
                found[at] = page
                at = page.pending
        return found

    def huge(self, at):
        huge = self.record(self.huge_layout, HUGE, at, 'the record of a huge block')
        if huge.start % self.granule or huge.length % PAGE or not huge.length or not (
                0 <= huge.user - huge.start <= self.COLORED):
            raise Broken(f'the record of a huge block at {at:#x}: {huge.length} bytes at '
                         f'{huge.start:#x}', self.show(self.huge_layout, HUGE, at))
        huge.end = huge.start + huge.length
        return huge

    @cached_property
    def huges(self):
        """Blocks with a mapping of their own, in address order."""
        found, buckets = {}, self.variable['huges']['bucket']
        for at in self.words(int(buckets.address), buckets.type.range()[1] + 1, 'the huge blocks'):
            while at and at not in found:
                huge = self._huge_or_none(at)
                if huge is None:
                    break
                found[at] = huge
                at = huge.next
            else:
                if at:
                    self.huges_problem = Broken(f'the list of huge blocks leads back to {at:#x}')
        return sorted(found.values(), key=lambda huge: huge.start)

    def idle(self):
        """The mapping that waits for the next huge block, or None."""
        at = int(self.variable['huges']['idle'])
        return self._huge_or_none(at) if at else None

    def _huge_or_none(self, at):
        try:
            return self.huge(at)
        except Broken as error:
            error.price = 'huge blocks behind it on its list are not seen; all others are counted'
            self.huges_problem = self.huges_problem or error
            return None

    @property
    def lists_problem(self):
        """What is wrong with the list of heaps or those of huge blocks, or None."""
        return self.heaps_problem or self.huges_problem

    def record_granules(self):
        """The granules that contain records in use, or are kept for new ones."""
        found, next_ = set(), Layout(self.slabs['empty'].type.target())
        records = [*self.heaps, *(huge.at for huge in self.huges)]
        records += [run.at for arena in self.arenas for run in self.runs(arena, [])]
        pools = self.slabs['pools']
        records += [int(pools[i]['slab']) for i in range(pools.type.range()[1] + 1)]
        for at in (int(self.slabs['empty']), int(self.slabs['clean'])):
            while at and at not in records:
                records.append(at)
                at, = self.read(at, 'a slab of records',
                                lambda: self.memory.record(next_, at, 'next'))
        return {at - at % self.granule for at in records if at}
