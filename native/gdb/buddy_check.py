"""The invariants of buddy: tags, lists, and buddies that should be one block."""

from .buddy_tags import Odd
from .chunks import Broken, count
from .memory import PIECE, WORD, Unreadable, as_words

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
        blocks, lists = in_bulk(heap) if not problems else one_by_one(heap)
    except Odd:
        blocks, lists = one_by_one(heap)
    if problems:
        raise problems[0]
    pieces = {}
    for order in range(heap.orders):
        check_list(heap, order, lists.get(order, set()), pieces)
    return f'{count(blocks, "block")}: tags and lists are sound, and no two free buddies are left unmerged'


def in_bulk(heap):
    """(how many blocks there are, order → the free ones). Raises Odd where one has to look closer."""
    blocks, lists, known = 0, {}, heap.known
    for region in heap.regions([]):
        for at, large, tags in known.sweep(region):
            blocks += len(tags) - tags.count(0)
            for tag in (large,) if large else known.tags():
                order = tag & ~heap.free_bit
                if tag != order and (large or tag in tags):
                    found = [at] if large else known.starts(at, tags, tag)
                    free = lists.setdefault(order, set())
                    free.update(found)
                    if order < region.order and not free.isdisjoint([each ^ 1 << order for each in found]):
                        raise Odd
    return blocks, lists


def one_by_one(heap):
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
    return blocks, lists


def check_inside(heap, region, start, order):
    """Inside of a block all tags are 0; of one larger than a chunk, those of its first."""
    at = heap.where(region, start)
    tags = heap.memory.read(at + 1, (1 << min(order, heap.chunk) - heap.least) - 1)
    rest = tags.lstrip(b'\0')
    if rest:
        raise Broken(f'block {start:#x}: it has {1 << order} bytes, but a tag says that another '
                     'begins inside', [(f'{at + 1 + len(tags) - len(rest):#x} tag', f'{rest[0]:#04x}')])


def check_list(heap, order, blocks, pieces):
    """The list of an order holds each free block of it once, and no other."""
    head = heap.arena + heap.arena_layout.offset('free') + WORD * order
    at, before, listed = int.from_bytes(heap.memory.read(head, WORD), 'little'), 0, set()
    while at:
        if at not in blocks or at in listed:
            why = 'comes twice' if at in listed else 'is no free block of it'
            raise Broken(f'the list of free blocks of {1 << order} bytes: {at:#x} {why}',
                         [('the one before', f'{before:#x}')])
        following, prev = links(heap, at, pieces)
        if prev != before:
            raise Broken(f'block {at:#x} was written to after its free: its `prev` is {prev:#x},'
                         f' but the block before it in the list is {before:#x}')
        listed.add(at)
        before, at = at, following
    for lost in sorted(blocks - listed):
        raise Broken(f'block {lost:#x} is free, and missing from the list of its order')


def links(heap, at, pieces):
    """The links of a free block, which lie at its start (`struct block`), from memory read in pieces."""
    number, offset = divmod(at, PIECE)
    if number not in pieces:
        try:
            pieces[number] = as_words(heap.memory.once(number * PIECE, PIECE))
        except Unreadable:
            pieces[number] = None  # a mapping begins or ends in it
    words = pieces[number]
    if words is None or at % (2 * WORD):
        return heap.memory.record(heap.links, at, *LINKS)
    return words[offset >> 3], words[(offset >> 3) + 1]
