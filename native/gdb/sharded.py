"""Reads the heap of sharded.c: what the commands ask, answered from its pages.

Figures come from following the free lists of the pages: what is in none of them, and not on its
way home from another thread, is live.
"""

import gdb

from .chunks import (CACHED, FREE, FRESH, FROZEN, LIVE, REGION, REMOTE, SPAN, Broken, Chunk, Place,
                     Reader, Stats, count, owner, owners_note, stretches)
from .memory import Unreadable
from .sharded_check import check
from .sharded_pages import IN_LIST, ON_ITS_WAY, VARIABLE, Pages

STATES = (LIVE, FREE, REMOTE)  # by mark
WORDS = {FRESH: 'fresh: never handed out',
         REMOTE: 'remote: freed by another thread, on its way home'}


class ShardedReader(Reader):

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self.pages = Pages(library, memory)
        regions = self.pages.regions()
        # The one in use, unless it has just taken over: whoever looks then wants the old one.
        self.number = next((i for i, region in enumerate(regions) if region.areas), 0)
        self.region = regions.pop(self.number)
        self.others = regions

    def contents(self, *areas):
        """(run, marks of its blocks) in address order, of these areas or of all. Where the list of
        a page is broken, the first of these problems is raised after the last run."""
        pages = self.pages
        problem = None
        for area in areas or self.region.areas:
            for run in pages.runs(area):
                marks = None
                if run.kind == pages.PAGE_SMALL:
                    marks, broken = pages.marks(run)
                    problem = problem or broken
                yield run, marks
        problem = problem or pages.remote[1]
        if problem:
            raise problem

    # ── what the commands ask ────────────────────────────────────────────────

    def walk(self):
        broken, huges = None, self.pages.huges()
        regions = stretches(huges)
        for each in sorted([*self.region.areas, *huges], key=lambda each: each.start):
            if each in huges:
                yield from self._huge(each, regions)
                continue
            try:
                yield from self._area(each)
            except Broken as error:
                broken = broken or error
            if each.start < each.next < each.committed:
                yield Chunk(FRESH, each.next, each.committed - each.next)
        if broken:
            raise broken

    def _area(self, area):
        if area.next > area.start:
            yield Chunk(REGION, area.start, area.committed - area.start)
        for run, marks in self.contents(area):
            yield from self._chunks(run, marks)

    def _huge(self, huge, regions):
        if huge.start in regions:
            yield Chunk(REGION, huge.start, regions[huge.start] - huge.start)
        yield Chunk(SPAN, huge.start, huge.length)
        yield Chunk(LIVE, huge.start, huge.length, huge.start, huge.length)

    def _chunks(self, run, marks):
        if run.kind == self.pages.PAGE_KEPT:
            yield Chunk(CACHED, run.start, run.length)
            return
        if run.kind == self.pages.PAGE_FREE:
            yield Chunk(CACHED if run.dirty else FRESH, run.start, run.length)
            return
        size, home = (run.size, run.home) if marks is not None else (0, run.home)
        yield Chunk(SPAN, run.start, run.length, size_class=size, owner=home)
        if marks is None:
            yield Chunk(LIVE, run.start, run.length, run.start, run.length)
            return
        for number, mark in enumerate(marks):
            at = run.start + number * size
            yield Chunk(STATES[mark], at, size, at, size, size, home)
        fresh = run.start + len(marks) * size
        if fresh < run.end:
            yield Chunk(FRESH, fresh, run.end - fresh)

    def stats(self):
        """As counted from the walk, but page by page."""
        stats, broken, end = Stats(self.overhead()), None, None
        self.shares, self.homes = {}, {}
        try:
            self.shares = {home: [0, 0, 0, 0, 0] for home in self.pages.heaps}
            self._count_region(stats)
        except Broken as error:
            broken = error
        try:
            for huge in self.pages.huges():
                stats.regions += huge.start != end
                end = huge.end
                stats.mapped += huge.length
                stats.live_blocks += 1
                stats.live_bytes += huge.length
        except Broken as error:
            broken = broken or error
        return stats, broken

    def _count_region(self, stats):
        for area in self.region.areas:
            if area.next > area.start:
                stats.add(Chunk(REGION, area.start, area.committed - area.start))
                stats.add(Chunk(FRESH, area.next, area.committed - area.next))
        for run, marks in self.contents():
            if marks is None:
                for chunk in self._chunks(run, marks):
                    stats.add(chunk)
            else:
                self._count(stats, run, marks)

    def _count(self, stats, page, marks):
        size, made = page.size, page.extended
        free, remote = marks.count(IN_LIST), marks.count(ON_ITS_WAY)
        live, fresh = made - free - remote, page.length - made * size
        stats.live_blocks += live
        stats.live_bytes += live * size
        stats.free_blocks += free + remote
        stats.free_bytes += (free + remote) * size
        stats.fresh_bytes += fresh
        stats.largest = max(stats.largest, fresh, size if free or remote else 0)
        share = self.shares[page.home]
        self.homes.update(dict.fromkeys(range(page.start >> self.pages.GRANULE_BITS,
                                              page.end >> self.pages.GRANULE_BITS), page.home))
        for i, more in enumerate((1, live, live * size, free, remote)):
            share[i] += more

    def home(self, address):
        return self.homes.get(address >> self.pages.GRANULE_BITS)

    def owners(self):
        """Asked after `stats`."""
        if not self.shares:
            return None
        rows = [(f'{home:#x}', *share, self._whose(home)) for home, share in self.shares.items()]
        return ('heap', 'pages', 'live', 'bytes', 'free', 'remote', 'of'), rows

    def _whose(self, home):
        heap = self.pages.heaps[home]
        if home == self.pages.main:
            return 'the main thread'
        if not heap.thread:
            return 'nobody: left for the next thread'
        for thread in gdb.selected_inferior().threads():
            if thread.ptid[1] == heap.thread:
                return f'thread {thread.num} (LWP {heap.thread})'
        return f'nobody: LWP {heap.thread} has ended'

    def overhead(self):
        return self.heap.type.sizeof + int(self.heap[VARIABLE['records_used']])

    def records(self):
        pages = self.pages
        table = (pages.table, pages.table + pages.mask + (1 << pages.RECORD_BITS))
        found = [table] if pages.mask else []
        found += [(at, at + pages.heap_layout.size) for at in pages.heaps]
        found += [(huge.at, huge.at + pages.huge_layout.size) for huge in pages.huges()]
        return found

    def place(self, address):
        for other in self.others:
            for area in other.areas:
                if area.start <= address < area.next:
                    return Place(f'{address:#x} lies in another region: only one is in use, and '
                                 'frees of blocks in a frozen one are ignored',
                                 [('region', f'{area.start:#x} .. {area.next:#x}')])
        for area in self.region.areas:
            if area.start - (0 if area.near else self.pages.granule) <= address < area.end:
                what = self._outside(area, address)
                return Place(f'{address:#x} lies {what}', []) if what else self._in_run(address)
        for huge in self.pages.huges():
            if huge.start <= address < huge.end:
                return Place(self._where(address, huge.start, LIVE), [
                    ('block', f'{huge.start:#x} .. {huge.end:#x}  {huge.length} bytes'),
                    ('state', LIVE), ('class', 'huge: a mapping of its own'),
                    ('record', f'{huge.at:#x}')])
        return None

    def _outside(self, area, address):
        return ('in the empty granule before the first page' if address < area.start else
                'in addresses that are reserved for the heap; no memory is behind them yet'
                if address >= area.committed else
                'in fresh memory: nothing was ever handed out from here on'
                if address >= area.next else None)

    def _where(self, address, block, state):
        into = address - block
        return f'{address:#x} is ' + (f'{into} bytes into the {state} block {block:#x}' if into
                                      else f'the start of a {state} block')

    def _in_run(self, address):
        pages = self.pages
        run = pages.run_at(address)
        if run is None:
            raise Broken(f'no record of the table leads to a run that holds {address:#x}')
        record = ('record', f'{run.at:#x}')
        if run.kind == pages.PAGE_FREE:
            kept = ('cached: freed, and its memory kept for reuse' if run.dirty else
                    'fresh: its memory is not there, or was never used')
            return Place(f'{address:#x} lies in a free run', [
                ('run', f'{run.start:#x} .. {run.end:#x}  {run.length} bytes'),
                ('state', kept), record])
        if run.kind == pages.PAGE_KEPT:
            return Place(f'{address:#x} lies in a free run', [
                ('run', f'{run.start:#x} .. {run.end:#x}  {run.length} bytes'),
                ('state', 'cached: freed, and kept by a thread for its next large block'), record])
        if run.kind == pages.PAGE_LARGE:
            return Place(self._where(address, run.start, LIVE), [
                ('block', f'{run.start:#x} .. {run.end:#x}  {run.length} bytes'),
                ('state', LIVE), ('class', 'large: a run of its own'), record])
        return self._in_page(address, run, record)

    def _in_page(self, address, page, record):
        area = next(area for area in self.region.areas if area.start <= address < area.next)
        problem = self.pages.problem(page, area)
        if problem:
            raise Broken(f'page {page.start:#x}: {problem}', self.pages.show_page(page))
        number, into = divmod(address - page.start, page.size)
        marks, broken = self.pages.marks(page)
        rows = [
            ('class', f'{page.index}: blocks of {page.size} bytes'),
            ('page', f'{page.start:#x} .. {page.end:#x}  {count(page.capacity, "block")}, '
                     f'{marks.count(0)} live'),
            ('owner', f'{self._whose(page.home)} (heap {page.home:#x})'),
            record,
        ]
        if broken:
            rows.append(('damage', str(broken)))
        if number >= page.capacity:
            return Place(f'{address:#x} is behind the last block of its page', rows)
        block, state = address - into, self._state(marks, number)
        return Place(self._where(address, block, state), [
            ('block', f'{block:#x} .. {block + page.size:#x}  {page.size} bytes'),
            ('state', WORDS.get(state, state)),
            *rows,
            ('previous', self._describe(page, marks, number - 1)),
            ('next', self._describe(page, marks, number + 1)),
        ])

    def _state(self, marks, number):
        return FRESH if number >= len(marks) else STATES[marks[number]]

    def _describe(self, page, marks, number):
        if not 0 <= number < page.capacity:
            return 'none in this page'
        return (f'{page.start + number * page.size:#x}  {self._state(marks, number)}  '
                f'{page.size} bytes')

    def free(self):
        stats, broken = self.stats()
        if broken:
            raise broken
        classes, runs = {}, []
        for run, marks in self.contents():
            if marks is not None:
                classes.setdefault(run.index, []).append((run, marks))
            elif run.kind != self.pages.PAGE_LARGE:
                runs.append(run)
        rows = [self._class_row(*each) for each in sorted(classes.items())]
        cached = sum(run.length for run in runs if self._has_memory(run))
        fresh = sum(run.length for run in runs if not self._has_memory(run))
        last = (f'{count(stats.free_blocks, "free block")}, {stats.free_bytes} bytes '
                '(fresh: blocks never handed out; remote: on their way home)')
        if runs:
            last += (f'\n{count(len(runs), "free run")} between the pages: {cached} bytes keep '
                     f'their memory, {fresh} do not')
        heading = ('class', 'block', 'pages', 'live', 'free', 'remote', 'fresh', 'free bytes')
        return heading, rows, last

    def _has_memory(self, run):
        return run.dirty or run.kind == self.pages.PAGE_KEPT

    def _class_row(self, index, pages):
        size = self.pages.sizes[index]
        live, free, remote = (sum(marks.count(mark) for _, marks in pages)
                              for mark in (0, IN_LIST, ON_ITS_WAY))
        fresh = sum(page.capacity - page.extended for page, _ in pages)
        return index, size, len(pages), live, free, remote, fresh, (free + remote) * size

    def check(self):
        return check(self)

    def notes(self):
        try:
            heaps = self.pages.heaps.values()
        except Broken:
            return []
        pointer = self.heap[VARIABLE['region']].type
        lock = gdb.Value(self.region.at).cast(pointer)['lock']
        busy = [f'the heap of {self._whose(heap.at)} is busy: stopped inside a call, so a change '
                'may be half done' for heap in heaps if heap.busy]
        frozen = [f'this heap was {FROZEN}'] if self.number else []
        return owners_note([owner(lock)]) + busy + frozen + [
            'another region: ' + ', '.join(f'{area.start:#x} .. {area.next:#x}'
                                           for area in other.areas if area.start < area.next)
            for other in self.others if other.areas]
