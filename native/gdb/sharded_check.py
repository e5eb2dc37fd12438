"""The invariants of sharded: the runs tile their region, lists and counts agree with them."""

from .chunks import Broken, count


def check(reader):
    """A line that says what holds; raises Broken at the first that does not."""
    pages, region = reader.pages, reader.region
    runs, frees = [], {}
    for run, marks in reader.contents():
        runs.append(run)
        if marks is not None:
            frees[run.at] = (run, marks)
    small = {at: page for at, (page, _) in frees.items()}
    for page in small.values():
        _check_page(pages, page)
    _check_runs(pages, region, runs)
    frozen = _frozen(reader)
    for heap in pages.heaps.values() if frozen is not None else ():
        own = {at: each for at, each in (*frozen.items(), *frees.items())
               if each[0].home == heap.at}
        _check_heap(pages, heap, own)
    _check_kept(pages, {run.at: run for run in runs if run.kind == pages.PAGE_KEPT})
    huges = pages.huges()
    for before, after in zip(huges, huges[1:]):
        if before.end > after.start:
            raise Broken(f'the huge block {after.start:#x} begins inside the one before it, which '
                         f'ends at {before.end:#x}')
    return (f'{count(len(runs), "run")} and {count(len(huges), "huge block")}, '
            f'{count(len(small), "page")} of {count(len(pages.heaps), "heap")}: records, counts, '
            'free lists and messages are sound')


def _frozen(reader):
    """(page, marks) of the other regions, by record: heaps may have some there. None where one of
    these cannot be followed, as whoever was inside at the fork left it half done."""
    pages = reader.pages
    try:
        return {run.at: (run, pages.marks(run)[0]) for region in reader.others
                for area in region.areas for run in pages.runs(area)
                if run.kind == pages.PAGE_SMALL}
    except Broken:
        return None


def _check_page(pages, page):
    rest = page.inverse * page.size % 2 ** 32
    first = min(page.extended, (pages.granule - 1) // page.size + 1)
    problem = (
        f'the inverse {page.inverse:#x} is none of {page.size}'
        if not 0 < rest <= page.size else
        f'the limit is {page.limit:#x}, for {page.extended} blocks it is {(first - 1) * rest:#x}'
        if first and page.limit != (first - 1) * rest else None)
    if problem:
        raise Broken(f'page {page.start:#x} (blocks of {page.size} bytes): {problem}',
                     pages.show_page(page))


def _check_budget(pages, page, free):
    """Of a page that is not current: frees until it is empty, or worth to be used again."""
    whole = page.extended if page.listed else max(page.extended // pages.WORTHWHILE, 1)
    if page.budget + free != whole:
        raise Broken(f'page {page.start:#x} (blocks of {page.size} bytes): a budget of '
                     f'{page.budget} and {free} free are not {whole} blocks',
                     pages.show_page(page))


def _check_runs(pages, region, runs):
    """Free runs are merged, in the bins, and their ends agree; the counts are right."""
    free = {run.at: run for run in runs if run.kind == pages.PAGE_FREE}
    for before, after in zip(runs, runs[1:]):
        if before.at in free and after.at in free and before.end == after.start:
            raise Broken(f'runs {before.start:#x} and {after.start:#x} are free, neighbours, and '
                         'not merged', pages.show_page(before))
    for run in free.values():
        last = pages.page(run.at + (run.granules - 1 << pages.RECORD_BITS))
        if last.kind != pages.PAGE_FREE or last.granules != run.granules:
            raise Broken(f'free run {run.start:#x}: its last record disagrees about its length',
                         [*pages.show_page(run), *pages.show_page(last)])
    binned = set()
    for area in region.areas:
        own = {at: run for at, run in free.items() if area.start <= run.start < area.next}
        for number, head in enumerate(pages.bins(area)):
            for run in _list(pages, f'bin {number}', head, own):
                if pages.bin(run.granules) != number:
                    raise Broken(f'free run {run.start:#x}: has {run.granules} granules and lies '
                                 f'in bin {number}', pages.show_page(run))
                binned.add(run.at)
    for run in free.values():
        if run.at not in binned:
            raise Broken(f'free run {run.start:#x}: is missing from the bins',
                         pages.show_page(run))
    used = sum(run.granules for run in runs if run.at not in free)
    dirty = sum(run.granules for run in free.values() if run.dirty)
    for what, counted, told in (('in use', used, region.used), ('dirty', dirty, region.dirty)):
        if counted != told:
            raise Broken(f'the region says that {told} granules are {what}; it is {counted}')


def _list(pages, name, head, among):
    """The pages of a list; each is one of `among`, comes once, and is linked both ways."""
    before, seen = 0, set()
    while head:
        at = pages.table + (head << pages.RECORD_BITS)
        page = among.get(at)
        why = ('is none of it' if page is None else 'comes twice' if at in seen else
               f'has {page.prev} as `prev`, not {before}' if page.prev != before else None)
        if why:
            raise Broken(f'the list of {name}: the record {at:#x} {why}',
                         pages.show_page(page) if page else [])
        seen.add(at)
        yield page
        before, head = head, page.next


def _check_kept(pages, kept):
    """A run that a thread keeps is of the length that it is kept for, and kept by one."""
    seen = set()
    for heap in pages.heaps.values():
        granules = 0
        for length, number in enumerate(pages.numbers(heap, 'kept'), 1):
            at = pages.table + (number << pages.RECORD_BITS)
            run = kept.get(at)
            if number and (run is None or at in seen or run.granules != length):
                raise Broken(f'heap {heap.at:#x}: keeps {at:#x} as a run of {length} granules, '
                             'which it is not', pages.show_page(run) if run else [])
            if number:
                seen.add(at)
                granules += length
        if granules != heap.kept_granules and not heap.busy:
            raise Broken(f'heap {heap.at:#x}: says that it keeps {heap.kept_granules} granules, '
                         f'but keeps {granules}')


def _check_heap(pages, heap, frees):
    own = {at: page for at, (page, _) in frees.items()}
    name = f'heap {heap.at:#x}'
    if heap.pages != len(own) and not heap.busy:
        raise Broken(f'{name}: counts {heap.pages} pages, but has {len(own)}')
    current = pages.numbers(heap, 'current')
    for index, at in enumerate(current):
        if at != pages.page_none and (at not in own or own[at].index < index):
            raise Broken(f'{name}: the current page of class {index}, {at:#x}, is none of its own '
                         'with blocks so large', pages.show_page(own[at]) if at in own else [])
    for step, at in enumerate(pages.numbers(heap, 'direct')):
        index = next(i for i, size in enumerate(pages.sizes) if size >= step * pages.ALIGNMENT)
        if at != current[index]:
            raise Broken(f'{name}: for {step * pages.ALIGNMENT} bytes it leads to {at:#x}, but the '
                         f'current page of class {index} is {current[index]:#x}')
    listed = set()
    for index, head in enumerate(pages.numbers(heap, 'partial')):
        for page in _list(pages, f'class {index} of {name}', head, own):
            if page.index != index or not page.listed:
                raise Broken(f'page {page.start:#x}: lies in the list of class {index}, but is of '
                             f'class {page.index}', pages.show_page(page))
            listed.add(page.at)
    for page in own.values():
        if page.listed and page.at not in listed:
            raise Broken(f'page {page.start:#x}: is missing from the list of class {page.index}',
                         pages.show_page(page))
        if current[page.index] != page.at:
            _check_budget(pages, page, frees[page.at][1].count(1))
