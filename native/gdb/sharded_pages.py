"""The memory of sharded.c as it stands: runs, pages with their free lists, heaps, and blocks on
their way home. Each step is checked before it is followed, so that it ends on every heap.

      start                      next            committed             end
      │ run │ run │ run │ … │ run │ fresh memory │ addresses without memory │   an area of a region
         │
         └─> its record in the table: two cache lines for each granule of 64 KiB
"""

from functools import cached_property

from .chunks import Broken
from .memory import ALL, Layout, Unreadable

# The names in native/sharded.c and sharded/*.h that are read here: our word → their field.
VARIABLE = {'region': 'region', 'original': 'original', 'heaps': 'heaps', 'main': 'first',
            'huges': 'huges', 'records_used': 'records_used'}
REGION = {'used': 'used', 'dirty': 'dirty', 'older': 'older'}
AREA = {'start': 'start', 'next': 'next', 'committed': 'committed', 'end': 'end'}
PAGE = {'home': 'home', 'free': 'free', 'back': 'back', 'inverse': 'inverse', 'limit': 'limit',
        'budget': 'budget', 'granules': 'granules', 'next': 'next', 'prev': 'prev',
        'key': 'key', 'kind': 'kind', 'index': 'class', 'dirty': 'dirty', 'listed': 'listed',
        'capacity': 'capacity', 'extended': 'extended'}
BLOCK = {'check': 'check', 'next': 'next'}
HEAP = {'process': 'process', 'thread': 'thread', 'busy': 'busy', 'pages': 'pages',
        'kept_granules': 'kept_granules', 'next': 'next', 'inbox': 'inbox'}
ARRAYS = {'direct': 'direct', 'current': 'current', 'partial': 'partial', 'kept': 'kept',
          'collected': 'collected', 'outgoing': 'out'}  # in a heap
COLLECTED = {'page': 'page', 'head': 'head', 'count': 'count'}
OUTGOING = {'to': 'to', 'first': 'first'}
HUGE = {'next': 'next', 'start': 'start', 'length': 'length'}
CONSTANTS = ('GRANULE_BITS', 'AREAS', 'NEAR', 'RECORD_BITS', 'ALIGNMENT', 'STEPS', 'CLASSES', 'EXACT', 'BINS',
             'WORTHWHILE', 'NEXT_BITS', 'PLACE_BITS', 'MARK', 'PAGE_SMALL', 'PAGE_REST', 'PAGE_LARGE',
             'PAGE_KEPT', 'PAGE_FREE')

IN_LIST, ON_ITS_WAY = 1, 2  # marks of blocks that are free; 0 is live
SMALL_CLASSES = 8
MESSAGES_MOST = 1 << 24


def seal(following, key):
    """What stands beside the link of a free block (block_link in sharded/page.h)."""
    return following + key & ALL


def mix(x):
    """As mix() in sharded/page.h."""
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9 & ALL
    x = (x ^ x >> 27) * 0x94d049bb133111eb & ALL
    return x ^ x >> 31


class Record:
    """A struct in the program's memory: its address, and its fields under our words."""
    near = False  # of areas: the one beside our own variables

    def __init__(self, at, words, values):
        self.at = at
        self.__dict__.update(zip(words, values))


class Pages:

    def __init__(self, library, memory):
        self.memory = memory
        for name in CONSTANTS:
            setattr(self, name, int(library.symbol(name)))
        self.granule = 1 << self.GRANULE_BITS
        self.starts = (self.PAGE_SMALL, self.PAGE_LARGE, self.PAGE_KEPT, self.PAGE_FREE)
        self.table = int(library.symbol('table'))
        self.mask = int(library.symbol('table_mask'))
        self.window = int(library.symbol('window'))
        self.list_end = int(library.symbol('list_end').address)
        self.page_none = int(library.symbol('page_none').address)
        self.variable = library.symbol('heap')
        self.main = int(self.variable[VARIABLE['main']].address)
        region, heap = (self.variable[VARIABLE[word]].type for word in ('original', 'main'))
        bucket = self.variable[VARIABLE['huges']]['bucket'].type.target()
        self.region_layout, self.heap_layout = Layout(region), Layout(heap)
        self.area_layout = Layout(region['areas'].type.target())
        self.page_layout = Layout(library.symbol('page_none').type)
        self.block_layout = Layout(library.symbol('list_end').type)
        self.huge_layout = Layout(bucket.target())
        self.sizes = [self._size(index) for index in range(self.CLASSES)]

    def _size(self, index):
        """As class_size in sharded/class.h."""
        if index < SMALL_CLASSES:
            return self.ALIGNMENT * (index + 1)
        doubling, step = divmod(index - SMALL_CLASSES, self.STEPS)
        base = SMALL_CLASSES * self.ALIGNMENT << doubling
        return base + base // self.STEPS * (step + 1)

    def record(self, layout, fields, at, what):
        try:
            values = self.memory.record(layout, at, *fields.values())
        except Unreadable as error:
            raise Broken(f'{what} at {at:#x} is not there: {error}') from None
        return Record(at, fields, values)

    def show(self, layout, fields, at):
        """A struct as it stands in memory, in rows."""
        record = self.record(layout, fields, at, 'the record')
        return [(f'{at + layout.offset(name):#x} {name}', f'{value:#x}  {value}')
                for word, name in fields.items() for value in [getattr(record, word)]]

    def show_page(self, page):
        return self.show(self.page_layout, PAGE, page.at)

    # ── regions, runs and pages ──────────────────────────────────────────────

    def regions(self):
        """The region in use, then those that a fork or the library's own end froze, each of which
        leads to the one before."""
        regions, at = {}, int(self.variable[VARIABLE['region']])
        original = int(self.variable[VARIABLE['original']].address)
        while at and at not in regions:
            regions[at] = self._region(at)
            at = regions[at].older
        if original not in regions:
            regions[original] = self._region(original)
        regions = list(regions.values())
        self.bounds = [(area.start, area.next) for region in regions for area in region.areas]
        return regions

    def _region(self, at):
        """With its areas that have addresses, in address order."""
        region = self.record(self.region_layout, REGION, at, 'the region')
        first, each = at + self.region_layout.offset('areas'), self.area_layout.size
        areas = [self.record(self.area_layout, AREA, first + i * each, 'an area of the region')
                 for i in range(self.AREAS)]
        areas[self.NEAR].near = True
        region.areas = sorted((area for area in areas if area.start), key=lambda area: area.start)
        return region

    def record_of(self, address):
        return self.table + (address >> (self.GRANULE_BITS - self.RECORD_BITS) & self.mask)

    def page(self, at):
        """The record at `at`, with the memory that it is about."""
        page = self.record(self.page_layout, PAGE, at, 'the record of a page')
        number = (at - self.table) >> self.RECORD_BITS
        page.start = self.window + (number << self.GRANULE_BITS)
        page.length = page.granules << self.GRANULE_BITS
        page.end = page.start + page.length
        page.size = self.sizes[page.index] if page.index < self.CLASSES else 0
        return page

    def runs(self, area):
        """The runs of an area in address order; Broken at the first impossible one."""
        at = area.start
        if not at <= area.next <= area.committed <= area.end:
            raise Broken('the region is not in order', self.show(self.area_layout, AREA, area.at))
        while at < area.next:
            run = self.page(self.record_of(at))
            problem = self.problem(run, area)
            if problem:
                raise Broken(f'run {at:#x}: {problem}', self.show_page(run))
            yield run
            at = run.end

    def problem(self, run, area):
        """Why it can be no run, or None."""
        if run.kind not in self.starts:
            return f'its kind is {run.kind}, but one must begin here'
        if not 0 < run.length <= area.next - run.start:
            return f'its length is {run.granules} granules; the region ends at {area.next:#x}'
        if run.kind != self.PAGE_SMALL:
            return None
        if not run.size:
            return f'its class is {run.index}, of {self.CLASSES}'
        if run.capacity != run.length // run.size:
            return f'{run.capacity} blocks of {run.size} bytes are not {run.length}'
        if run.extended > run.capacity:
            return f'{run.extended} blocks were made, of {run.capacity}'
        if run.home not in self.heaps:
            return f'its heap is {run.home:#x}, which is none'
        return None

    def bins(self, area):
        """The number of the first free run in each bin."""
        at = area.at + self.area_layout.offset('bins')
        return memoryview(self.memory.read(at, self.BINS * 4)).cast('I').tolist()

    def bin(self, granules):
        """As run_bin in sharded/region.h: one length each, then four bins to each doubling."""
        if granules <= self.EXACT:
            return granules - 1
        log = (granules - 1).bit_length() - 1
        return self.EXACT + (log - 5) * 4 + ((granules - 1) >> (log - 2)) % 4

    def run_at(self, address):
        """The run of which the address is a part, or None. Inside a long run, records say
        nothing: it begins where the last one before says so."""
        bounds = next((each for each in self.bounds if each[0] <= address < each[1]), None)
        if bounds is None:
            return None
        at = self.record_of(address)
        page = self.page(at)
        if page.kind == self.PAGE_REST:
            page = self.page(self.table + (page.next << self.RECORD_BITS))
        elif page.kind == self.PAGE_FREE and self._is_last(page, bounds[1]):
            page = self.page(at - (page.granules - 1 << self.RECORD_BITS))
        while page.kind not in self.starts and page.start > bounds[0]:
            page = self.page(page.at - (1 << self.RECORD_BITS))
        return page if page.kind in self.starts and page.start <= address < page.end else None

    def _is_last(self, page, end):
        """Both ends of a free run say how long it is; behind the last one a run in use begins."""
        behind = page.start + self.granule
        return behind >= end or self.page(self.record_of(behind)).kind in (
            self.PAGE_SMALL, self.PAGE_LARGE, self.PAGE_KEPT)

    # ── which blocks of a page are free ──────────────────────────────────────

    def marks(self, page):
        """A byte for each block that was ever made: 0, IN_LIST or ON_ITS_WAY; and the Broken
        that cut it short, or None."""
        marks = bytearray(page.extended)
        problem = self._mark_lists(page, marks)
        for block in self.remote[0].get(page.at, ()):
            number = (block - page.start) // page.size
            if marks[number] and not problem:
                problem = self._damage(page, f'the block {block:#x} is free twice')
            marks[number] = ON_ITS_WAY
        return marks, problem

    def _mark_lists(self, page, marks):
        lists = [at for at in (page.free, page.back) if at not in (0, self.list_end)]
        if not lists:
            return None
        try:
            words = memoryview(self.memory.once(page.start, page.extended * page.size)).cast('Q')
        except Unreadable as error:
            return self._damage(page, str(error))
        problems = [self._mark_list(page, marks, at, words) for at in lists]
        return next(filter(None, problems), None)

    def _mark_list(self, page, marks, at, words):
        end, start, size = self.list_end, page.start, page.size
        while at != end:
            offset = at - start
            number, rest = divmod(offset, size)
            if rest or not 0 <= number < page.extended:
                return self._damage(page, f'its list leads to {at:#x}, where no block begins')
            if marks[number]:
                return self._damage(page, f'the block {at:#x} comes twice in its list')
            marks[number] = IN_LIST
            check, following = words[offset >> 3], words[(offset >> 3) + 1]
            if check != seal(following, page.key):
                return self._overwritten(page, at, number, marks)
            at = following
        return None

    def _damage(self, page, what, rows=None):
        return Broken(f'page {page.start:#x} (blocks of {page.size} bytes): {what}',
                      rows or self.show_page(page),
                      'of the page that is damaged, what lies behind in its list counts as live')

    def _overwritten(self, page, block, number, marks):
        """With the block in front of it, as that may have run over its end."""
        check, following = self.memory.record(self.block_layout, block, *BLOCK.values())
        rows = [(f'{block:#x}', f'{check:#018x}  check: should be '
                                f'{seal(following, page.key):#018x}'),
                (f'{block + 8:#x}', f'{following:#018x}  next')]
        if number:
            state = 'free' if marks[number - 1] else 'live, unless it comes behind in the list'
            rows.append(('the one before', f'{block - page.size:#x}  {state}'))
        return self._damage(page, f'the free block {block:#x} was written to after its free', rows)

    # ── blocks on their way home ─────────────────────────────────────────────

    @cached_property
    def remote(self):
        """The record of a page → its blocks that other threads freed and that have not come home;
        and the Broken that cut it short, or None."""
        problem, found = None, {}
        for heap in self.heaps.values():
            senders = [lambda: self._messages(heap.inbox, heap.at)]
            senders += [lambda each=each: self._collected(each)
                        for each in self.array(heap, 'collected', COLLECTED)]
            senders += [lambda each=each: self._messages(each.first, each.to)
                        for each in self.array(heap, 'outgoing', OUTGOING)]
            for blocks in senders:
                try:
                    for page, block in blocks():
                        found.setdefault(page.at, []).append(block)
                except Broken as broken:
                    problem = problem or broken
        return found, problem

    def _collected(self, collected):
        """What a thread has collected of one page of another heap."""
        if collected.page:
            page = self.page(collected.page)
            if page.kind != self.PAGE_SMALL:
                raise self._lost(collected.head, f'for {page.start:#x}, which is no page')
            yield from self._chain(page, collected.head, collected.count, None)

    def _messages(self, message, to):
        """The blocks in a list of messages to a heap: see message_write in sharded/owner.h."""
        seen = 0
        while message and seen < MESSAGES_MOST:
            page = self.run_at(message)
            if page is None or page.kind != self.PAGE_SMALL or page.home != to:
                raise self._lost(message, f'which is no block of the heap {to:#x}')
            check, word = self._block(page, message)
            if check != self.MARK << 48 | mix(word ^ page.key) >> 16:
                raise self._lost(message, 'which was written to after its free')
            place = word >> self.NEXT_BITS & (1 << self.PLACE_BITS) - 1
            blocks = word >> self.NEXT_BITS + self.PLACE_BITS
            yield from self._chain(page, page.start + place * self.ALIGNMENT, blocks, message)
            message = (word & (1 << self.NEXT_BITS) - 1) * self.ALIGNMENT
            seen += blocks

    def _chain(self, page, at, count, last):
        """`count` linked blocks of a page; `last`, if given, ends them, and carries a message."""
        for i in range(count):
            check, following = self._block(page, at)
            ends = i == count - 1 and last is not None
            if ends and at != last:
                raise self._lost(at, f'but the message of {count} blocks ends at {last:#x}')
            if not ends and check != seal(following, page.key):
                raise self._lost(at, 'which was written to after its free')
            yield page, at
            at = following

    def _block(self, page, at):
        number, rest = divmod(at - page.start, page.size or 1)
        if rest or not 0 <= number < page.extended:
            raise self._lost(at, 'where no block begins')
        return self.memory.record(self.block_layout, at, *BLOCK.values())

    def _lost(self, at, what):
        return Broken(f'blocks on their way home lead to {at:#x}, {what}', [],
                      'blocks that lie behind the damage on their way home count as live')

    # ── heaps and huge blocks ────────────────────────────────────────────────

    @cached_property
    def heaps(self):
        """Address → Heap, of every thread that ever had one."""
        heaps, at = {}, int(self.variable[VARIABLE['heaps']])
        while at:
            if at in heaps:
                raise Broken(f'the list of heaps leads back to {at:#x}')
            heaps[at] = self.record(self.heap_layout, HEAP, at, 'the heap')
            at = heaps[at].next
        return heaps

    def array(self, heap, word, fields=None):
        """An array of a heap: Records, or integers where `fields` is not given."""
        name = ARRAYS[word]
        type_ = self.heap_layout.field(name)
        length = type_.range()[1] + 1
        at, size = heap.at + self.heap_layout.offset(name), type_.target().sizeof
        if not fields:
            return self.memory.read(at, length * size), size
        layout = Layout(type_.target())
        unpack, data = layout.unpacker(*fields.values()), self.memory.read(at, length * size)
        return [Record(at + i * size, fields, unpack(data, i * size)) for i in range(length)]

    def numbers(self, heap, word):
        data, size = self.array(heap, word)
        return memoryview(data).cast({4: 'I', 8: 'Q'}[size]).tolist()

    def huges(self):
        """Blocks with a mapping of their own, in address order."""
        found = {}
        buckets = self.variable[VARIABLE['huges']]['bucket']
        at = int(buckets.address)
        length = buckets.type.range()[1] + 1
        for bucket in memoryview(self.memory.read(at, length * 8)).cast('Q'):
            while bucket:
                if bucket in found:
                    raise Broken(f'the list of huge blocks leads back to {bucket:#x}')
                huge = self.record(self.huge_layout, HUGE, bucket, 'the record of a huge block')
                if huge.start % self.granule or huge.length % self.granule or not huge.length:
                    raise Broken(f'the record of a huge block at {bucket:#x}: {huge.length} bytes '
                                 f'at {huge.start:#x}',
                                 self.show(self.huge_layout, HUGE, bucket))
                huge.end = huge.start + huge.length
                found[bucket] = huge
                bucket = huge.next
        return sorted(found.values(), key=lambda huge: huge.start)
