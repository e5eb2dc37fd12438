"""Reads the heap of sharded.c: answers the commands from the records of its runs.

Figures come from the records alone. Blocks of a page that are on its stack, or in a batch of another
thread, are free; all others that were carved are live.
"""

import gdb

from .chunks import (CACHED, FREE, FRESH, HEADER, LIVE, REGION, REMOTE, SPAN, Broken, Chunk, Place,
                     Reader, Run, Stats, count, owner, owners_note, stretches, up_to)
from .library import own_id
from .sharded_check import check
from .sharded_pages import Pages

STATES = (LIVE, FREE, REMOTE)  # by mark
WORDS = {FRESH: 'fresh: never handed out',
         REMOTE: 'remote: freed by another thread, and not yet taken over by the owner'}
FROZEN = 'frozen by a fork or by the end of the library: its memory never goes back'
OWNER_DIED, OWNER = 0x40000000, 0x3fffffff  # in the futex of a robust mutex


class ShardedReader(Reader):
    bulk = {'in_runs': True}
    others = ()  # `pages.arenas` covers all regions

    def __init__(self, library, memory):
        super().__init__(library, memory)
        self.heap = library.symbol('heap')
        self.pages = Pages(library, memory)
        self.region, *self.older = self.pages.regions()

    # ── what the commands ask ────────────────────────────────────────────────

    def walk(self, start=0, in_runs=False):
        pages, problems = self.pages, []
        parts = sorted([*pages.arenas, *pages.huges], key=lambda each: each.start)
        regions = stretches(parts)
        for part in parts:
            if part.end <= start:
                continue
            if part.start in regions:
                yield Chunk(REGION, part.start, regions[part.start] - part.start)
            if part.at:
                yield Chunk(SPAN, part.start, part.length)
                yield from self._large(part.start, part.user, part.end, start)
                continue
            for run in pages.runs(part, problems):
                if run.end <= start:
                    continue
                if run.kind == pages.PAGE_SMALL:
                    yield from self._page(run, self._marks(run, problems), start, in_runs)
                else:
                    yield from self._run(run, start)
        if pages.lists_problem or problems:
            raise pages.lists_problem or problems[0]

    def _marks(self, page, problems):
        marks, problem = self.pages.marks(page)
        problems += [problem] if problem else []
        return marks

    def _large(self, start, block, end, shown=0):
        if start < block and block > shown:
            yield Chunk(HEADER, start, block - start)
        yield Chunk(LIVE, block, end - block, block, end - block)

    def _run(self, run, shown=0):
        if run.kind == self.pages.PAGE_LARGE:
            yield Chunk(SPAN, run.start, run.length)
            yield from self._large(run.start, run.base, run.end, shown)
        else:
            yield Chunk(FRESH if self._is_clean(run) else CACHED, run.start, run.length)

    def _is_clean(self, run):
        return run.kind == self.pages.PAGE_FREE and not run.dirty

    def _page(self, page, marks, start, in_runs):
        size, heap = page.size, page.owner
        yield Chunk(SPAN, page.start, page.length, size_class=size, owner=heap)
        first = max(start - page.start, 0) // size
        at = page.start + first * size
        if in_runs:
            yield Run(at, size, marks)
            at += size * len(marks)
        for mark in marks[first:] if not in_runs else ():
            yield Chunk(STATES[mark], at, size, at, size, size, heap)
            at += size
        if at < page.end:
            yield Chunk(FRESH, at, page.end - at)

    def _runs(self, problems=None):
        return (run for arena in self.pages.arenas for run in self.pages.runs(arena, problems))

    def stats(self):
        stats, problems = Stats(self.overhead()), []
        self.shares, self.owned = {}, {}
        try:
            self.shares = {heap: [0, 0, 0, 0, 0] for heap in self.pages.heaps}
            for part in (*self.pages.arenas, *self.pages.huges):
                stats.add(Chunk(REGION, part.start, part.end - part.start))
            for huge in self.pages.huges:
                for chunk in self._large(huge.start, huge.user, huge.end):
                    stats.add(chunk)
            for run in self._runs(problems):
                if run.kind == self.pages.PAGE_SMALL:
                    self._count(stats, run)
                else:
                    for chunk in self._run(run):
                        stats.add(chunk)
        except Broken as error:
            problems.append(error)
        problem = self.pages.lists_problem or (problems[0] if problems else None)
        return stats, problem

    def sizes(self):
        found, problems, pages = {}, [], self.pages

        def add(size, i, n, usable):
            row = found.setdefault(size, [0, 0, 0, 0])
            row[i] += n
            row[i + 1] += n * usable

        try:
            larges = [(huge.user, huge.end) for huge in pages.huges]
            for run in self._runs(problems):
                if run.kind == pages.PAGE_SMALL:
                    free = run.count + pages.remote(run)
                    add(run.size, 0, run.carved - free, run.size)
                    add(run.size, 2, free, run.size)
                elif run.kind == pages.PAGE_LARGE:
                    larges.append((run.base, run.end))
            for start, end in larges:
                add(up_to(end - start), 0, 1, end - start)
        except Broken as error:
            problems.append(error)
        return {size: row for size, row in found.items() if any(row)}, (
            pages.lists_problem or (problems[0] if problems else None))

    def _count(self, stats, page):
        size, free, remote = page.size, page.count, self.pages.remote(page)
        live, fresh = page.carved - free - remote, page.length - page.carved * size
        stats.live_blocks += live
        stats.live_bytes += live * size
        stats.free_blocks += free + remote
        stats.free_bytes += (free + remote) * size
        stats.fresh_bytes += fresh
        stats.largest = max(stats.largest, fresh, size if free or remote else 0)
        bits = self.pages.GRANULE_BITS
        self.owned.update(dict.fromkeys(range(page.start >> bits, page.end >> bits), page.owner))
        share = self.shares.setdefault(page.owner, [0, 0, 0, 0, 0])
        for i, more in enumerate((1, live, live * size, free, remote)):
            share[i] += more

    @property
    def most_owned(self):
        return self.pages.sizes[-1]

    def owner_at(self, address):
        return self.owned.get(address >> self.pages.GRANULE_BITS)

    def owners(self):
        """Call after `stats`, which computes the shares."""
        if not self.shares:
            return None
        rows = [(f'{heap:#x}', *share, self._whose(heap)) for heap, share in self.shares.items()]
        return ('heap', 'pages', 'live', 'bytes', 'free', 'remote', 'of'), rows

    def _whose(self, at):
        if at not in self.pages.heaps:
            return 'unknown: the list of heaps is damaged'
        if self.pages.heaps[at].lost:
            return 'nobody: stopped inside of malloc by a fork, or by the end of its thread'
        heap = gdb.Value(at).cast(self.heap['heaps'].type)
        life = heap['life']['__data']
        word, last = int(life['__lock']), int(life['__owner'])
        if word & OWNER_DIED:
            return f'nobody: LWP {last} has ended'
        if not word & OWNER:
            return 'nobody: abandoned, for the next thread to adopt'
        for thread in gdb.selected_inferior().threads():
            if own_id(thread) == last:
                return ('the main thread' if thread.ptid[0] == thread.ptid[1] else
                        f'thread {thread.num} (LWP {last})')
        return f'LWP {last}, which is no thread of this process'

    def overhead(self):
        structs = (self.heap.type, *(self.heap[name].type.target() for name in ('region', 'heaps')))
        return sum(each.sizeof for each in structs) + int(self.pages.slabs['bytes'])

    def fields(self, chunk):
        if chunk.kind not in (FREE, REMOTE):
            return []
        return [(chunk.user, 'mark'), (chunk.user + 8, 'mark')]

    def records(self):
        pages = self.pages
        found = [(pages.map, pages.entries + 8 * (pages.mask + 1))]
        try:
            idle = pages.idle()
            found += [(idle.start, idle.end)] if idle else []
            found += [(at, at + pages.granule) for at in pages.record_granules()]
        except Broken:
            pass  # the caller also walks the heap, and reports the damage
        return found

    def place(self, address):
        pages = self.pages
        for arena in pages.arenas:
            if arena.start <= address < arena.end:
                return self._in_run(address, pages.run_at(arena, address))
        for huge in pages.huges:
            if huge.start <= address < huge.end:
                return Place(self._where(address, huge.user, LIVE), [
                    ('block', f'{huge.user:#x} .. {huge.end:#x}  {huge.end - huge.user} bytes'),
                    ('state', LIVE), ('class', 'huge: a mapping of its own'),
                    ('record', f'{huge.at:#x}')])
        idle = pages.idle()
        if idle and idle.start <= address < idle.end:
            return Place(f'{address:#x} lies in a mapping that is kept for the next huge block', [
                ('mapping', f'{idle.start:#x} .. {idle.end:#x}  {idle.length} bytes'),
                ('state', 'cached: freed, and its memory kept for reuse')])
        return None

    def _where(self, address, block, state):
        into = address - block
        return f'{address:#x} is ' + (
            f'{into} bytes into the {state} block {block:#x}' if into > 0 else
            f'{-into} bytes before the {state} block {block:#x}' if into else
            f'the start of a {state} block')

    def _in_run(self, address, run):
        pages = self.pages
        rows = [('record', f'{run.at:#x}')]
        if run.era != self.region.era:
            rows.append(('region', FROZEN))
        if run.kind == pages.PAGE_SMALL:
            return self._in_page(address, run, rows)
        if run.kind == pages.PAGE_LARGE:
            return Place(self._where(address, run.base, LIVE), [
                ('block', f'{run.base:#x} .. {run.end:#x}  {run.end - run.base} bytes'),
                ('state', LIVE), ('class', 'large: a run of its own'), *rows])
        state = ('fresh: its memory is not there, or was never used' if self._is_clean(run) else
                 'cached: freed, and its memory kept for reuse' if run.kind == pages.PAGE_FREE else
                 'cached: freed, and kept by a thread for its next large block'
                 if run.kind == pages.PAGE_KEPT else
                 'cached: a thread is about to hand it out, or to give its memory back')
        return Place(f'{address:#x} lies in a free run', [
            ('run', f'{run.start:#x} .. {run.end:#x}  {run.length} bytes'),
            ('state', state), *rows])

    def _in_page(self, address, page, rows):
        number, into = divmod(address - page.start, page.size)
        marks, broken = self.pages.marks(page)
        broken = self.pages.damage_of(page, marks, broken)
        rows = [
            ('class', f'{page.index}: blocks of {page.size} bytes'),
            ('page', f'{page.start:#x} .. {page.end:#x}  {count(page.capacity, "block")}, '
                     f'{marks.count(0)} live'),
            ('owner', f'{self._whose(page.owner)} (heap {page.owner:#x})'), *rows]
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
        classes, runs = {}, {True: [], False: []}  # of runs: clean or not
        for run in self._runs([]):
            if run.kind == self.pages.PAGE_SMALL:
                classes.setdefault(run.index, []).append(run)
            elif run.kind != self.pages.PAGE_LARGE:
                runs[self._is_clean(run)].append(run.length)
        rows = [self._class_row(*each) for each in sorted(classes.items())]
        last = (f'{count(stats.free_blocks, "free block")}, {stats.free_bytes} bytes '
                '(fresh: blocks never handed out; remote: freed by other threads)')
        if runs[True] or runs[False]:
            last += (f'\n{count(len(runs[True] + runs[False]), "free run")} between the pages: '
                     f'{sum(runs[False])} bytes keep their memory, {sum(runs[True])} do not')
        heading = ('class', 'block', 'pages', 'live', 'free', 'remote', 'fresh', 'free bytes')
        return heading, rows, last, broken

    def _class_row(self, index, pages):
        size, free = self.pages.sizes[index], sum(page.count for page in pages)
        remote = sum(map(self.pages.remote, pages))
        live = sum(page.carved for page in pages) - free - remote
        fresh = sum(page.capacity - page.carved for page in pages)
        return index, size, len(pages), live, free, remote, fresh, (free + remote) * size

    def check(self):
        return check(self)

    def notes(self):
        try:
            heaps = self.pages.heaps.values()
        except Broken:
            return []
        pointer = self.heap['region'].type
        lock = gdb.Value(self.region.at).cast(pointer)['lock']
        busy = [f'the heap of {self._whose(heap.at)} is busy: stopped inside a call, so a change '
                'may be half done' for heap in heaps if heap.busy and not heap.lost]
        times = len(self.older)
        frozen = [f'this heap was frozen when the library stopped the program, or by a fork '
                  f'({count(times, "time")}): memory from before never goes back'] if times else []
        return owners_note([owner(lock)]) + busy + frozen
