"""`heap map`: the heap as a picture, a character for each page or for each 16 bytes."""

from bisect import bisect_left, bisect_right

import gdb

from .chunks import CACHED, FREE, FRESH, HEADER, LIVE, REGION, REMOTE, SPAN, Broken
from .command import Command, number, open_heap
from .printing import colours, print_broken, print_notes

PAGE, UNIT, WIDTH = 4096, 16, 64
BITS = {LIVE: 1, FREE: 2, REMOTE: 4, CACHED: 8, FRESH: 16, HEADER: 32}
PAGES = (('#', 'live', 32), ('+', 'live and free', 33), ('-', 'free', 31), ('r', 'on its way', 35),
         ('c', 'cached', 36), ('.', 'fresh', 2), ('h', 'headers', 34))
UNITS = (('@', 'a live block begins', 32), ('#', 'live', 32), ('=', 'a free block begins', 31),
         ('-', 'free', 31), ('r', 'on its way', 35), ('c', 'cached', 36), ('.', 'fresh', 2),
         ('h', 'header', 34))


class HeapMap(Command):
    """The heap as a picture: heap map [ADDR [BYTES]].

Without ADDR, draws a character for each page of 4 KiB, and folds repeated lines; from ADDR on, for
BYTES (4096 unless given), a character for each 16 bytes. Coloured on a terminal (`set style enabled
off` turns that off)."""

    usage = ' [ADDR [BYTES]]'

    def __init__(self):
        super().__init__('heap map')

    def run(self, argv):
        self.arguments(argv, 2)
        start = number(argv[0]) if argv else None
        length = number(argv[1]) if len(argv) > 1 else PAGE
        if length <= 0:
            raise gdb.GdbError('BYTES is a number above 0')
        ours, heap = open_heap()
        if start is None:
            broken = draw_pages(heap)
        else:
            first = start - start % UNIT
            broken, found = draw_units(heap, first, first + length)
            if not found and not broken:
                raise gdb.GdbError(f'{start:#x} lies outside of the heap of {ours.variant}')
        print_notes(heap)
        if broken:
            gdb.write(f'  {broken.price}\n')
            print_broken(broken)


def draw_pages(heap):
    """Draws each region, a character a page; returns the Broken because of which it is incomplete, or
    None."""
    columns = heap.columns
    for start, end in columns.regions:
        draw_region(columns, start, end)
    if columns.regions:
        legend(PAGES)
    elif not columns.broken:
        gdb.write('the heap is empty\n')
    return columns.broken


def mark(cells, bit, starts, ends, first, end):
    """Sets a bit in the cells of the pages from `first` on that one of these ranges touches. Searches for the
    ranges of each page, because there are far more ranges than pages; where there are fewer, the reverse."""
    i = max(bisect_right(starts, first) - 1, 0)
    last = bisect_left(starts, end)
    if last - i < len(cells):
        for start, stop in zip(starts[i:last], ends[i:last]):
            spread(cells, bit, max(start, first) - first, max(min(stop, end), start + 1) - first)
        return
    for page in range(len(cells)):
        at = first + page * PAGE
        i = bisect_left(starts, at + PAGE, i, last) - 1
        if i >= 0 and (starts[i] >= at or ends[i] > at):
            cells[page] |= bit
        i = max(i, 0)


def spread(cells, bit, start, end):
    a, b = start // PAGE, -(-end // PAGE)
    if a < b:
        cells[a] |= bit
        cells[b - 1] |= bit
        cells[a + 1:b - 1] = bytes([bit]) * (b - a - 2)  # no other chunk is in these pages


def page_character(bits):
    if bits & BITS[LIVE]:
        return '+' if bits & (BITS[FREE] | BITS[REMOTE] | BITS[FRESH]) else '#'
    for kind, character in ((REMOTE, 'r'), (FREE, '-'), (CACHED, 'c'), (FRESH, '.'), (HEADER, 'h')):
        if bits & BITS[kind]:
            return character
    return ' '


def draw_region(columns, start, end):
    gdb.write(f'region {start:#x} .. {end:#x}  {end - start} bytes\n')
    first = start - start % PAGE
    cells = bytearray(-(-(end - first) // PAGE))
    for kind, bit in BITS.items():
        mark(cells, bit, columns.starts[kind], columns.ends[kind], first, end)
    mark(cells, BITS[HEADER], *columns.whole, first, end)
    draw_lines(first, ''.join(map(page_character, cells)), PAGE, PAGES)


def draw_units(heap, start, end):
    """Draws [start, end), a character for 16 bytes; returns (Broken or None, True if any of it is heap)."""
    characters, broken = [' '] * (-(-(end - start) // UNIT)), None
    try:
        for chunk in heap.walk(start):
            if chunk.kind in (REGION, SPAN):
                continue
            if chunk.start >= end:
                break
            fill_units(characters, chunk, start)
    except Broken as error:
        broken = error
    found = any(character != ' ' for character in characters)
    if found:
        draw_lines(start, ''.join(characters), UNIT, UNITS)
        legend(UNITS)
    return broken, found


def fill_units(characters, chunk, start):
    begins, inside = {LIVE: '@#', FREE: '=-', REMOTE: 'rr', CACHED: 'cc', FRESH: '..',
                      HEADER: 'hh'}[chunk.kind]
    user = chunk.user or chunk.start
    first = max((chunk.start - start) // UNIT, 0)
    last = min((chunk.end - start) // UNIT, len(characters))
    for i in range(first, last):
        at = start + i * UNIT
        characters[i] = 'h' if at < user else begins if at == user else inside


def draw_lines(start, characters, unit, palette):
    before, folded = None, 0
    for i in range(0, len(characters), WIDTH):
        line = characters[i:i + WIDTH]
        last = i + WIDTH >= len(characters)
        if line == before and len(set(line)) == 1 and not last:
            folded += 1
            continue
        if folded:
            gdb.write(f'  {"":18}*  {folded} more such lines\n')
        before, folded = line, 0
        gdb.write(f'  0x{start + i * unit:016x}  {paint(line, palette)}\n')


def paint(line, palette):
    if not colours():
        return line
    shades, text, shade = {character: code for character, _, code in palette}, '', None
    for character in line:
        if shades.get(character) != shade:
            shade = shades.get(character)
            text += f'\x1b[0m\x1b[{shade}m' if shade else '\x1b[0m'
        text += character
    return text + '\x1b[0m'


def legend(palette):
    words = [f'{paint(character, palette)} {what}' for character, what, _ in palette]
    gdb.write(f'  {", ".join(words)}\n')


HeapMap()
