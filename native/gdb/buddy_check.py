"""The invariants of buddy: tags, lists, and buddies that should be one block."""

from itertools import compress

from .buddy_tags import Odd
from .chunks import Broken, count
from .memory import WORD, Unreadable, as_words

LINKS = ('next', 'prev')


def check(heap):
    """What holds of a BuddyReader's heap; raises Broken at what does not."""
    problems = []
    for region in heap.regions(problems):
        arena, = heap.memory.record(heap.region_layout, region.record, 'arena')
        if arena != heap.arena and not problems:
            problems.append(Broken(f'region {region.record:#x}: its arena is {arena:#x}, and should be '
                                   f'{heap.arena:#x}', heap.show(region.record)))
    try:
        blocks = in_bulk(heap) if not problems else one_by_one(heap)
    except Odd:
        blocks = one_by_one(heap)
    if problems:
        raise problems[0]
    return f'{count(blocks, "block")}: tags and lists are sound, and no two free buddies are left unmerged'


def in_bulk(heap):
    """How many blocks there are. Raises Odd where `one_by_one` has to find out what is wrong."""
    blocks, lists, known = 0, {}, heap.known
    for region in heap.regions([]):
        for at, large, tags in known.sweep(region):
            if not large:
                blocks += add_free(heap, at, tags, lists)
                continue
            blocks += 1
            order = large & ~heap.free_bit
            if large == order:
                continue
            free = lists.setdefault(order, {})
            free[at] = heap.memory.record(heap.links, at, *LINKS)
            if order < region.order and at ^ 1 << order in free:
                raise Odd
    for order in range(heap.orders):
        follow(heap, order, lists.get(order, {}))
    return blocks


def add_free(heap, at, tags, lists):
    """Adds the free blocks of a chunk and their links, which lie at their start; returns how many blocks there
    are."""
    known, (starts, all_tags) = heap.known, heap.known.blocks(at, tags)
    free = [tag for tag in set(all_tags) if tag & heap.free_bit]
    try:
        words = as_words(heap.memory.once(at, 1 << heap.chunk)) if free else ()
    except Unreadable:
        raise Odd from None
    for tag in free:
        if known.unmerged(tags, tag):
            raise Odd
        found = list(compress(starts, all_tags.translate(known.only(tag))))
        at_word = [start - at >> 3 for start in found]
        links = zip(map(words.__getitem__, at_word), map(words[1:].__getitem__, at_word))
        lists.setdefault(tag & ~heap.free_bit, {}).update(zip(found, links))
    return len(starts)


def follow(heap, order, links):
    """Raises Odd unless the list of an order holds each of these free blocks once, and no other."""
    at, before = head_of(heap, order), 0
    for _ in range(len(links)):
        following, prev = links.get(at, (0, None))
        if prev != before:
            raise Odd
        before, at = at, following
    if at:
        raise Odd


def one_by_one(heap):
    """As `in_bulk`; raises Broken at what is wrong."""
    blocks, lists, problems = 0, {}, []
    for region, at, tag in heap.tagged(problems):
        if problems:
            break
        blocks += 1
        order = tag & ~heap.free_bit
        check_inside(heap, region, at, order)
        if tag != order:
            lists.setdefault(order, set()).add(at)
            buddy = at ^ 1 << order
            if order < region.order and heap.tag(region, buddy) == tag:
                raise Broken(f'blocks {at:#x} and {buddy:#x} are free, buddies, and not merged')
    if problems:
        raise problems[0]
    for order in range(heap.orders):
        check_list(heap, order, lists.get(order, set()))
    return blocks


def check_inside(heap, region, start, order):
    """Inside of a block all tags are 0; of one larger than a chunk, those of its first."""
    at = heap.where(region, start)
    tags = heap.memory.read(at + 1, (1 << min(order, heap.chunk) - heap.least) - 1)
    rest = tags.lstrip(b'\0')
    if rest:
        raise Broken(f'block {start:#x}: it has {1 << order} bytes, but a tag says that another '
                     'begins inside', [(f'{at + 1 + len(tags) - len(rest):#x} tag', f'{rest[0]:#04x}')])


def check_list(heap, order, blocks):
    """The list of an order holds each free block of it once, and no other."""
    at, before, listed = head_of(heap, order), 0, set()
    while at:
        if at not in blocks or at in listed:
            why = 'comes twice' if at in listed else 'is no free block of it'
            raise Broken(f'the list of free blocks of {1 << order} bytes: {at:#x} {why}',
                         [('the one before', f'{before:#x}')])
        following, prev = heap.memory.record(heap.links, at, *LINKS)
        if prev != before:
            raise Broken(f'block {at:#x} was written to after its free: its `prev` is {prev:#x},'
                         f' but the block before it in the list is {before:#x}')
        listed.add(at)
        before, at = at, following
    for lost in sorted(blocks - listed):
        raise Broken(f'block {lost:#x} is free, and missing from the list of its order')


def head_of(heap, order):
    at = heap.arena + heap.arena_layout.offset('free') + WORD * order
    return int.from_bytes(heap.memory.read(at, WORD), 'little')
