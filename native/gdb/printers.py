"""Pretty printers: `print heap` and its parts look like the pictures at the head of each variant.

They apply to types of our own libraries only, because a program may have a `struct chunk`, too.
`set print pretty on` (gdbinit) puts each part on a line; `print/r heap` shows the raw fields. In
pictures of blocks, `#` is live, `-` free, `.` fresh.
"""

import gdb

from . import library

WORD_BITS = 64
MOST = 64  # the most blocks in a picture of a span or a page
RING = 32  # the most chunks of list to show
SMALL_PAGE = 1  # of enum page_kind


class Printed:
    """A line (or None), and the (name, value) pairs below it."""

    def __init__(self, line, parts=None):
        self._line = line
        if parts is not None:
            self.children = lambda: iter(parts)

    def to_string(self):
        return self._line


def parts(value, *but):
    """The fields except those in `but`; shows a pointer to bytes as an address, not as a string."""
    return [(field.name, plain(value[field.name]))
            for field in value.type.strip_typedefs().fields() if field.name not in but]


def plain(value):
    type_ = value.type.strip_typedefs()
    if type_.code == gdb.TYPE_CODE_INT and type_.sizeof == 1:
        return int(value)
    if type_.code == gdb.TYPE_CODE_PTR and type_.target().sizeof == 1:
        return value.cast(gdb.lookup_type('void').pointer())
    return value


def static(value, name):
    """A static variable of the library that defines the value's type."""
    return value.type.strip_typedefs().objfile.lookup_static_symbol(name).value()


def picture(states, capacity):
    """Blocks in address order, in the style of the variants' pictures: |##--#....|"""
    return f'|{"".join(states)}{"…" if capacity > MOST else ""}|'


def filled(array, empty=0):
    """(index, element) of an array of pointers or numbers, without those that are 0 or `empty`."""
    low, high = array.type.strip_typedefs().range()
    return [(f'[{i}]', array[i]) for i in range(low, high + 1) if int(array[i]) not in (0, empty)]


def lock(value):
    mutex = value['mutex']['__data']
    state = f'held by thread {int(mutex["__owner"])}' if int(mutex['__lock']) else 'free'
    return Printed(state + (', lost in a fork' if value['lost'] else ''))


def plainly(value):
    return Printed(None, parts(value))


# ── list ─────────────────────────────────────────────────────────────────────


def chunk(value):
    return Printed(chunk_words(value), [('prev', value['prev']), ('next', value['next'])])


def chunk_words(value):
    state = {0: 'live', 1: 'free'}.get(int(value['free']), f'free = {int(value["free"]):#x}')
    return f'{state} {int(value["size"])}'


def list_arena(value):
    """The first chunks in order, as far as they lie in the arena."""
    start, end = int(value['start']), int(value['end'])
    at, words = value['sentinel']['next'], []
    while start <= int(at) < end and len(words) <= RING:
        words.append(chunk_words(at.dereference()) if len(words) < RING else '…')
        at = at['next']
    return Printed(None, [*parts(value), ('chunks', ' → '.join(words) or 'none')])


# ── paged ────────────────────────────────────────────────────────────────────


def span(value):
    capacity, used, fresh = (int(value[name]) for name in ('capacity', 'used', 'fresh'))
    bits = value['bits']
    states = ('.' if i >= fresh else '-' if int(bits[i // WORD_BITS]) >> i % WORD_BITS & 1 else '#'
              for i in range(min(capacity, MOST)))
    return Printed(f'{capacity} blocks of {int(value["size"])} bytes at {int(value["start"]):#x}, '
                   f'{used} live  {picture(states, capacity)}',
                   [('next', value['next']), ('prev', value['prev'])])


def paged_heap(value):
    arena = value['arena']
    return Printed(None, [('arena', arena.dereference() if arena else arena),
                          *(('leaves' + i, leaf) for i, leaf in filled(value['leaves']))])


def paged_arena(value):
    low, high = value['classes'].type.range()
    used = [(f'classes[{i}]', value['classes'][i]) for i in range(low, high + 1)
            if int(value['classes'][i]['room']) or int(value['classes'][i]['retired'])]
    return Printed(None, [*parts(value, 'classes'), *used])


def paged_class(value):
    """Shows the first span with room instead of its address."""
    room = value['room']
    return Printed(None, [*parts(value, 'arena', 'room'),
                          ('room', room.dereference() if room else room)])


# ── sharded ──────────────────────────────────────────────────────────────────

KINDS = ('record of nothing', 'page', 'large block', 'kept by a thread', 'free run',
         'run between two owners')


def page(value):
    kind, granules, start = (int(value[name]) for name in ('kind', 'granules', 'start'))
    name = KINDS[kind] if kind < len(KINDS) else f'kind {kind}'
    line = f'{name} at {start:#x}, {granules} granules'
    size, capacity = int(value['size']), int(value['capacity'])
    if kind == SMALL_PAGE and size:
        line = (f'{capacity} blocks of {size} bytes at {start:#x}  '
                f'{picture(page_states(value, size, capacity), capacity)}')
    return Printed(line, parts(value, 'start', 'kind', 'granules', 'size', 'capacity', 'origin',
                               'inverse', 'limit', 'stack'))


def page_states(value, size, capacity):
    """The states of the first blocks; remote frees count as free once they have arrived in the page."""
    carved, shift, filled = int(value['carved']), int(value['shift']), int(value['remote']) >> 16
    states = ['#' if i < carved else '.' for i in range(min(capacity, MOST))]
    stack = gdb.selected_inferior().read_memory(int(value['stack'].address), 2 * capacity + 2)
    places, count = memoryview(bytes(stack)).cast('H'), int(value['count'])
    top = [int(value['top']) - int(value['base']) >> shift] if count else []
    for place in (*top, *places[1:count], *places[capacity + 1 - (filled & 0xffff):]):
        number = (place << shift) // size
        if number < len(states):
            states[number] = '-'
    return states


def bins(value):
    return Printed(None, [('first' + index, each) for index, each in filled(value['first'])])


def batch(value):
    places = value['place'].type.sizeof // 2
    return Printed(f'{places - int(value["left"])} blocks of {value["page"]}')


def life(value):
    """The owner of a heap, from its robust mutex."""
    data = value['__data']
    return f'held by thread {int(data["__owner"])}' if int(data['__lock']) else 'free'


def sharded_heap(value):
    """Shows the region and the newest heap instead of their addresses."""
    shown = ('region', 'heaps')
    return Printed(None, [*((name, value[name].dereference()) for name in shown if int(value[name])),
                          *parts(value, *shown)])


def threads_heap(value):
    nothing = int(static(value, 'page_none').address)
    arrays = ('direct', 'current', 'partial', 'fresh', 'kept', 'made', 'batches', 'life')
    current = {}
    for index, at in filled(value['current'], nothing):
        current.setdefault(int(at), (f'current{index}', at.dereference()))
    batches = value['batches']
    used = [(f'batches[{i}]', batches[i]) for i in range(batches.type.range()[1] + 1)
            if int(batches[i]['page'])]
    lists = [(name + index, each) for name in ('partial', 'fresh', 'kept')
             for index, each in filled(value[name])]
    return Printed(None, [*parts(value, *arrays), ('life', life(value['life'])),
                          *current.values(), *lists, *used])


def huges(value):
    return Printed(None, [*parts(value, 'bucket'),
                          *(('bucket' + i, each) for i, each in filled(value['bucket']))])


# By variant, then by the name of the struct; '' is the variable `heap`, whose struct has no name. A
# variant that is not listed here has printers in its own module.
PRINTERS = {
    'dumb': {'lock': lock, '': plainly},
    'list': {'lock': lock, 'chunk': chunk, 'arena': list_arena},
    'paged': {'lock': lock, 'span': span, 'class': paged_class, 'arena': paged_arena,
              '': paged_heap},
    'sharded': {'lock': lock, 'page': page, 'bins': bins, 'batch': batch, 'heap': threads_heap,
                'huges': huges, '': sharded_heap},
}


class Lookup:
    """Finds the printer for a value; registered with the library's own symbols."""

    def __init__(self, objfile, version):
        self.name = 'libmalloc'
        self.enabled = True
        self._objfile = objfile
        variant = version.rpartition('(')[2].rstrip(')')
        own = getattr(library.module_of(variant), 'PRINTERS', {})
        self._printers = PRINTERS.get(variant) or {'lock': lock, '': plainly, **own}
        heap = objfile.lookup_static_symbol('heap')
        self._heap = heap.type if heap else None

    def __call__(self, value):
        type_ = value.type.strip_typedefs().unqualified()
        if type_.code != gdb.TYPE_CODE_STRUCT or type_.objfile != self._objfile:
            return None
        if type_.tag is None and type_ != self._heap:
            return None
        make = self._printers.get(type_.tag or '')
        try:
            return make and make(value)
        except gdb.error:
            return None  # damaged: GDB then shows the raw fields


def register(event):
    objfile = event.new_objfile
    symbol = library.version_symbol(objfile)
    if symbol is not None and not any(isinstance(each, Lookup) for each in objfile.pretty_printers):
        objfile.pretty_printers.append(Lookup(objfile, library.version_of(objfile)))


gdb.events.new_objfile.connect(register)
