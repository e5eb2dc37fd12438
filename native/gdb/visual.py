"""`heap vis`, `heap telescope`, `heap try-free`, `heap vmmap`: raw memory, annotated with what it is for
the malloc."""

import gdb

from . import library
from .chunks import CONTAINERS, FREE, LIVE, REGION, REMOTE, Broken
from .command import Command, number, open_heap
from .memory import WORD, Unreadable, as_words
from .printing import colours, print_broken, print_notes, print_rows
from .roots import Roots, writable

LINE, LINES, CHUNKS, WORDS, STEPS, TEXT = 16, 8, 8, 8, 5, 24
SHADES = {LIVE: 32, FREE: 31, REMOTE: 35, 'fresh': 2, 'cached': 36, 'header': 34}
OWN = 34  # the colour of the malloc's own words in a chunk


def shaded(text, shade):
    return f'\x1b[{shade}m{text}\x1b[0m' if colours() else text


def at_least_one(text):
    count = number(text)
    if count <= 0:
        raise gdb.GdbError('COUNT is a number above 0')
    return count


def as_text(data):
    return ''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in data)


class HeapVis(Command):
    """The bytes of chunks, with headers, links, marks and canaries named: heap vis [ADDR [COUNT]].

Begins with the chunk that contains ADDR (without ADDR, with the first) and shows COUNT chunks (8 unless
given), sixteen bytes a line; of a long chunk only the first and the last lines. Coloured on a terminal:
live green, free red, the malloc's own words blue."""

    usage = ' [ADDR [COUNT]]'

    def __init__(self):
        super().__init__('heap vis')

    def run(self, argv):
        self.arguments(argv, 2)
        start = number(argv[0]) & 2 ** 64 - 1 if argv else 0
        most = at_least_one(argv[1]) if len(argv) > 1 else CHUNKS
        ours, heap = open_heap()
        shown = 0
        try:
            for chunk in heap.walk(start):
                if shown == most or argv and not shown and chunk.start > start:
                    break
                if chunk.kind in CONTAINERS:
                    continue
                show_chunk(heap, chunk)
                shown += 1
        finally:
            if not shown and argv:
                raise gdb.GdbError(f'{start:#x} lies outside of the heap of {ours.variant}')
        print_notes(heap)


def show_chunk(heap, chunk):
    names = {}
    for at, name in heap.fields(chunk):
        names.setdefault(at, name)
    site = heap.site(chunk.user) if chunk.user else ''
    size = f' {chunk.usable} bytes at {chunk.user:#x}' if chunk.user else f' {chunk.extent} bytes'
    gdb.write(f'{chunk.kind}{size}{f", allocated by {site}" if site else ""}\n')
    start, end = chunk.start - chunk.start % LINE, chunk.end
    lines = range(start, end, LINE)
    if len(lines) > LINES:
        half = LINES // 2
        for part in (lines[:half], lines[-half:]):
            if part is not lines[:half] and part[0] != lines[0]:
                gdb.write(f'  …  {(len(lines) - LINES) * LINE} bytes more\n')
            for at in part:
                show_line(heap, chunk, at, names)
    else:
        for at in lines:
            show_line(heap, chunk, at, names)


def show_line(heap, chunk, at, names):
    try:
        data = heap.memory.read(at, LINE)
    except Unreadable as error:
        gdb.write(f'  {at:#x}  {error}\n')
        return
    words, said = [], []
    for i in (0, WORD):
        name = names.get(at + i)
        words.append(shaded(data[i:i + WORD][::-1].hex(), OWN if name else SHADES.get(chunk.kind, 0)))
        said += [name] if name else []
    gdb.write(f'  {at:#x}  {" ".join(words)}  {as_text(data)}  {", ".join(said)}'.rstrip() + '\n')


class HeapTryFree(Command):
    """What free would do with a pointer, and why, without doing it: heap try-free ADDR.

If free would end the program, shows glibc's own message or, for our mallocs, the reason that the
library would print."""

    usage = ' ADDR'

    def __init__(self):
        super().__init__('heap try-free')

    def invoke(self, argument, from_tty):
        self.one_expression(argument, from_tty)

    def run(self, argv):
        if not argv:
            raise gdb.GdbError('heap try-free needs an address: `heap try-free p`')
        address = number(argv[0]) & 2 ** 64 - 1
        ours, heap = open_heap()
        if not address:
            gdb.write('free(NULL) does nothing\n')
            return
        if ours.variant == 'dumb':
            gdb.write('free does nothing: dumb never takes a block back\n')
            return
        taken, why = heap.try_free(address)
        gdb.write(f'free({address:#x}) would {"succeed" if taken else "fail"}: {why}\n')
        print_notes(heap)


class HeapTelescope(Command):
    """Words from an address on, and what they point to: heap telescope ADDR [COUNT].

Follows each word that is an address, at most five steps, and shows where each step leads: to a block, a
variable, a stack; and text, if there is any."""

    usage = ' ADDR [COUNT]'

    def __init__(self):
        super().__init__('heap telescope')

    def run(self, argv):
        self.arguments(argv, 2)
        if not argv:
            raise gdb.GdbError('heap telescope needs an address: `heap telescope p`')
        start = number(argv[0]) & 2 ** 64 - 1
        most = at_least_one(argv[1]) if len(argv) > 1 else WORDS
        _, heap = open_heap()
        where = Where(heap)
        for at in range(start, start + most * WORD, WORD):
            steps, value = [], where.word(at)
            if value is None:
                raise gdb.GdbError(f'the memory at {at:#x} cannot be read')
            seen = {at}
            while len(steps) < STEPS:
                steps.append(where.spelled(value))
                if value in seen or value % WORD or where.word(value) is None or (
                        where.text(value)):
                    break
                seen.add(value)
                value = where.word(value)
            gdb.write(f'  {at:#x}  +{at - start:#04x}  {" → ".join(steps)}\n')


class Where:
    """Describes what is at an address."""

    def __init__(self, heap):
        self.heap, self.ranges = heap, writable()
        self.stacks = Roots(heap.memory, []).stacks

    def word(self, address):
        try:
            return as_words(self.heap.memory.read(address, WORD))[0]
        except Unreadable:
            return None

    def text(self, address):
        """The bytes at an address, if they look like text."""
        try:
            data = self.heap.memory.read(address, TEXT).split(b'\0')[0]
        except Unreadable:
            return ''
        return f'"{data.decode()}"' if len(data) > 3 and all(32 <= byte < 127 for byte in data) else ''

    def spelled(self, value):
        said = ' '.join(filter(None, (self.place(value), self.text(value))))
        return f'{value:#x}' + (f' ({said})' if said else '')

    def place(self, value):
        if self.word(value) is None:
            return ''
        try:
            for chunk in self.heap.walk(value):
                if chunk.kind in CONTAINERS and chunk.start <= value:
                    continue
                if chunk.user and chunk.start <= value < chunk.end:
                    into = value - chunk.user
                    return f'{chunk.kind} block {chunk.user:#x}{f"{into:+d}" if into else ""}'
                break
        except Broken:
            pass
        held = next((each for each in self.ranges if each[0] <= value < each[1]), None)
        symbol = gdb.execute(f'info symbol {value:#x}', to_string=True).split(' in section ')
        if len(symbol) == 2:
            return symbol[0].replace(' + ', '+')
        threads = [thread for pointer, thread in self.stacks if held and held[0] <= pointer < held[1]]
        return f'stack of thread {threads[0]}' if threads else ''


class HeapVmmap(Command):
    """The mappings of the process, and the memory of the malloc and the threads in them.

For a core, shows the writable mappings that it contains."""

    def __init__(self):
        super().__init__('heap vmmap')

    def run(self, argv):
        self.arguments(argv, 0)
        _, heap = open_heap()
        regions, broken = [], None
        try:
            regions += [(chunk.start, chunk.end) for chunk in heap.walk() if chunk.kind == REGION]
        except Broken as error:
            broken = error
        parts = [('heap', regions), ('records of the malloc', heap.records())]
        stacks = Roots(heap.memory, []).stacks
        rows = []
        for start, end, rights, name in mappings():
            held = [f'{what} {sum(min(end, b) - max(start, a) for a, b in ranges if a < end and b > start)}'
                    for what, ranges in parts if any(a < end and b > start for a, b in ranges)]
            held += [f'stack of thread {thread}' for at, thread in stacks if start <= at < end]
            rows.append((f'{start:#x}', f'{end:#x}', end - start, rights, ', '.join(held), name))
        print_rows(('from', 'to', 'bytes', '', 'holds', 'file'), rows)
        print_notes(heap)
        if broken:
            gdb.write(f'  {broken.price}\n')
            print_broken(broken)


def mappings():
    """(start, end, rights, file) in address order."""
    if library.is_core():
        return [(start, end, 'rw', '') for start, end in writable()]
    found = []
    with open(f'/proc/{gdb.selected_inferior().pid}/maps', encoding='utf-8', errors='replace') as maps:
        for line in maps:
            words = line.split(None, 5)
            start, end = (int(each, 16) for each in words[0].split('-'))
            found.append((start, end, words[1], words[5].strip() if len(words) > 5 else ''))
    return found


for command in (HeapVis, HeapTryFree, HeapTelescope, HeapVmmap):
    command()
