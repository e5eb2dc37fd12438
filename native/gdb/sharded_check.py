"""Checks the invariants of sharded: runs tile their arenas, and lists and counts agree with them."""

from .chunks import Broken, count
from .memory import ALL
from .sharded_pages import HUGE


def check(reader):
    """Returns a line that says what holds; raises Broken at the first invariant that does not."""
    pages, region = reader.pages, reader.region
    pages.heaps, pages.huges, pages.idle()
    if pages.lists_problem:
        raise pages.lists_problem
    runs = [run for arena in pages.arenas for run in pages.runs(arena)]
    small = {run.at: run for run in runs if run.kind == pages.PAGE_SMALL}
    for page in small.values():
        _check_page(pages, page)
        problem = pages.damage_of(page, *pages.marks(page))
        if problem:
            raise problem
    _check_runs(pages, region, [run for run in runs if run.era == region.era])
    kept = {run.at: run for run in runs if run.kind == pages.PAGE_KEPT}
    for heap in pages.heaps.values():
        _check_kept(pages, heap, kept)
        _check_batches(pages, heap, small)
        if not heap.busy and not heap.lost:  # otherwise a change of its lists may be half done
            _check_heap(pages, heap, {at: page for at, page in small.items()
                                      if page.owner == heap.at})
    for before, after in zip(pages.huges, pages.huges[1:]):
        if before.end > after.start:
            raise Broken(f'the huge block {after.start:#x} begins inside the one before it, which '
                         f'ends at {before.end:#x}', pages.show(pages.huge_layout, HUGE, after.at))
    return (f'{count(len(runs), "run")} and {count(len(pages.huges), "huge block")}, '
            f'{count(len(small), "page")} of {count(len(pages.heaps), "heap")}: records, counts, '
            'stacks and lists are sound')


def _check_page(pages, page):
    tag = -(1 << 20) if page.shift else pages.heaps[page.owner].tag
    inverse = ALL // page.size + 1 + (not page.size & page.size - 1)
    limit = (page.carved - 1) * (inverse * page.size & ALL) + 1 if page.carved else 0
    for what, told, right in (('inverse', page.inverse, inverse), ('limit', page.limit, limit),
                              ('base', page.base, page.start),
                              ('origin', page.origin, tag - page.start & ALL)):
        if told != right:
            raise pages.damage(page, f'the {what} is {told:#x}, and should be {right:#x}')


def _check_runs(pages, region, runs):
    """Checks that free runs are merged, are in the bins, and agree at both ends; and the counts."""
    free = {run.at: run for run in runs if run.kind == pages.PAGE_FREE}
    for before, after in zip(runs, runs[1:]):
        if before.at in free and after.at in free and before.end == after.start and (
                (before.area, before.dirty) == (after.area, after.dirty)):
            raise Broken(f'runs {before.start:#x} and {after.start:#x} are free, neighbours, and '
                         'not merged', pages.show_page(before))
    for run in free.values():
        last = pages.page_of(run.end - 1)
        if last.at != run.at:
            raise Broken(f'free run {run.start:#x}: for its last granule the map has the record '
                         f'{last.at:#x}', pages.show_page(run))
    binned = set()
    for area, dirty, used, heads in pages.bins(region):
        own = {at: run for at, run in free.items() if (run.area, run.dirty) == (area, dirty)}
        for number, (bit, head) in enumerate(zip(used, heads)):
            if bit != bool(head):
                raise Broken(f'bin {number} of kind {area}: its bit is {bit}, its first run '
                             f'{head:#x}')
            for run in _list(pages, f'bin {number}', head, own):
                if pages.bin(run.granules) != number:
                    raise Broken(f'free run {run.start:#x}: has {run.granules} granules and lies '
                                 f'in bin {number}', pages.show_page(run))
                binned.add(run.at)
    for run in free.values():
        if run.at not in binned:
            raise Broken(f'free run {run.start:#x}: is missing from the bins',
                         pages.show_page(run))
    dirty = {at: run for at, run in free.items() if run.dirty}
    aged = list(_list(pages, 'runs by age', region.oldest, dirty, 'younger', 'older'))
    if len(aged) != len(dirty) or region.youngest != (aged[-1].at if aged else 0):
        raise Broken(f'the list of runs by age has {len(aged)} of {len(dirty)}, and the youngest '
                     f'is {region.youngest:#x}')
    granules = sum(run.granules for run in dirty.values())
    if granules != region.dirty:
        raise Broken(f'the region says that {region.dirty} granules are dirty; it is {granules}')
    busy = sum(run.granules for run in runs if run.kind == pages.PAGE_BUSY)
    granules = sum(run.granules for run in runs if run.at not in free) - busy
    if not granules <= region.used <= granules + busy:
        raise Broken(f'the region says that {region.used} granules are in use; it is {granules}')


def _list(pages, name, head, among, forward='next', back='prev'):
    """Yields the pages of a list; checks that each is one of `among`, occurs once, and is linked both
    ways."""
    before, seen = 0, set()
    while head:
        page = among.get(head)
        why = ('is none of it' if page is None else 'comes twice' if head in seen else
               f'has {getattr(page, back):#x} as `{back}`, not {before:#x}'
               if getattr(page, back) != before else None)
        if why:
            raise Broken(f'the list of {name}: the record {head:#x} {why}',
                         pages.show_page(page) if page else [])
        seen.add(head)
        yield page
        before, head = head, getattr(page, forward)


def _check_kept(pages, heap, kept):
    """Checks that each run that a thread keeps has the right length, and that only one thread keeps it."""
    for granules, at in enumerate(pages.array(heap, 'kept'), 1):
        run = kept.pop(at, None)
        if at and (run is None or run.granules != granules):
            raise Broken(f'heap {heap.at:#x}: keeps {at:#x} as a run of {granules} granules, '
                         'which it is not', pages.show_page(run) if run else [])


def _check_batches(pages, heap, small):
    held = 0
    for at, places in pages.batches_of(heap):
        if at not in small:
            raise Broken(f'heap {heap.at:#x}: a batch is for the page {at:#x}, which is none')
        held += len(places) * small[at].size
    if held != heap.batched and not heap.busy:
        raise Broken(f'heap {heap.at:#x}: says that its batches hold {heap.batched} bytes; it is '
                     f'{held}')


def _check_heap(pages, heap, own):
    name = f'heap {heap.at:#x}'
    gone = {at for at, page in pages.pending(heap).items() if page.remote & pages.REMOTE_TAKEN}
    if heap.pages != len(own) + len(gone):
        raise Broken(f'{name}: counts {heap.pages} pages, but has {len(own) + len(gone)}')
    current = pages.array(heap, 'current')
    for index, at in enumerate(current):
        if at != pages.page_none and (at not in own or own[at].index < index):
            raise Broken(f'{name}: the current page of class {index}, {at:#x}, is none of its own '
                         'with blocks so large', pages.show_page(own[at]) if at in own else [])
    for step, at in enumerate(pages.array(heap, 'direct')):
        index = next(i for i, size in enumerate(pages.sizes) if size >= step * pages.ALIGNMENT)
        if at != current[index]:
            raise Broken(f'{name}: for {step * pages.ALIGNMENT} bytes it leads to {at:#x}, but the '
                         f'current page of class {index} is {current[index]:#x}')
    for index, at in enumerate(pages.array(heap, 'fresh')):
        if at and at not in gone and (at not in own or own[at].index != index):
            raise Broken(f'{name}: the fresh page of class {index}, {at:#x}, is none of its own')
    listed = set()
    for index, head in enumerate(pages.array(heap, 'partial')):
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
            _check_budget(pages, page)


def _check_budget(pages, page):
    """Checks the budget of a page that is not current: the number of frees until its goal. A thread
    stopped inside free may have counted the block, but not yet the free."""
    whole = page.goal
    if not whole <= page.budget + page.count <= whole + 1:
        raise pages.damage(page, f'a budget of {page.budget} and {page.count} free are not {whole} '
                                 'blocks')
