"""The invariants of buddy: tags, lists, and free buddies that should be one block (two halves of a chunk need not:
arena_free in buddy.c may keep them apart)."""

from collections import Counter

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
    return f'{count(blocks, "block")}: tags and lists are sound, and free buddies are merged'


def in_bulk(heap):
    """How many blocks there are. Raises Odd where `one_by_one` has to find out what is wrong."""
    blocks, free, chunks, known = 0, Counter(), {}, heap.known
    for region in heap.regions([]):
        for at, large, tags in known.sweep(region):
            chunks[at >> heap.chunk] = tags
            blocks += len(tags) - tags.count(0)
            for tag in (large,) if large else known.tags():
                if not tag & heap.free_bit or tag not in tags:
                    continue
                order = tag & ~heap.free_bit
                free[order] += tags.count(tag)
                buddy = chunks.get((at ^ 1 << order) >> heap.chunk, b'\0')
                merges = order < region.order and order != heap.chunk - 1
                if merges and (buddy[0] == tag if large else known.unmerged(tags, tag)):
                    raise Odd
    views = {}
    for order in range(heap.orders):
        follow(heap, order, free[order], chunks, views)
    return blocks


def follow(heap, order, length, chunks, views):
    """Raises Odd unless the list of an order has `length` blocks with the right tags: then it has all of them,
    because none comes twice if each links back to the one before it."""
    at, before, current, inside = head_of(heap, order), 0, -1, (1 << heap.chunk) - 1
    tag, shift, tags, words = order | heap.free_bit, heap.least, b'', ()
    for _ in range(length):
        number, i = at >> heap.chunk, at & inside
        if number != current:
            current, tags, words = number, chunks.get(number, b'\0'), view(heap, number, views)
        if i & (1 << shift) - 1 or i >> shift >= len(tags) or tags[i >> shift] != tag:
            raise Odd
        following, prev = (words[i >> 3], words[(i >> 3) + 1]) if words else (
            heap.memory.record(heap.links, at, *LINKS))
        if prev != before:
            raise Odd
        before, at = at, following
    if at:
        raise Odd


def view(heap, number, views):
    """The memory of a chunk as words; () if not all of it is there."""
    if number not in views:
        try:
            views[number] = as_words(heap.memory.once(number << heap.chunk, 1 << heap.chunk))
        except Unreadable:
            views[number] = ()
    return views[number]


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
            if order < region.order and order != heap.chunk - 1 and heap.tag(region, buddy) == tag:
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
