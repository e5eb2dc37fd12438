"""`heap save` and `heap diff`: what was allocated and freed between two stops."""

from operator import sub

import gdb

from .chunks import count
from .command import Command, open_heap
from .objects import Types
from .printing import MANY, print_broken, print_groups, print_many, print_notes

saved = {}  # name → {block: usable bytes}


def live():
    heap = open_heap()[1]
    starts, ends, _, broken = heap.live()
    return heap, dict(zip(starts, map(sub, ends, starts))), broken


class HeapSave(Command):
    """Saves the list of live blocks under a name: heap save NAME. `heap diff NAME` compares."""

    usage = ' NAME'

    def __init__(self):
        super().__init__('heap save')

    def run(self, argv):
        if len(argv) != 1:
            raise gdb.GdbError('heap save needs a name: `heap save before`')
        heap, blocks, broken = live()
        saved[argv[0]] = blocks
        gdb.write(f'{argv[0]}: {count(len(blocks), "live block")}, {sum(blocks.values())} bytes\n')
        print_notes(heap)
        if broken:
            print_broken(broken)


class HeapDiff(Command):
    """What was allocated and freed since `heap save NAME`: heap diff NAME [all].

A block that was freed and allocated again in between, at the same address with the same size,
does not count as a change. More than twenty are grouped by size, C++ type and, in debug builds,
by the code that allocated them."""

    usage = ' NAME [all]'

    def __init__(self):
        super().__init__('heap diff')

    def complete(self, text, word):
        words = [*saved, 'all'] if text.strip().split(' ')[0] in saved else saved
        return [name for name in words if name.startswith(word or '')]

    def run(self, argv):
        if not argv or argv[1:] not in ([], ['all']):
            raise gdb.GdbError(f'usage: heap diff{self.usage}')
        if argv[0] not in saved:
            names = ', '.join(saved) or 'there is none yet'
            raise gdb.GdbError(f'nothing was saved as {argv[0]} ({names}): `heap save {argv[0]}`')
        before = saved[argv[0]]
        heap, after, broken = live()
        new = {at: size for at, size in after.items() if before.get(at) != size}
        gone = {at: size for at, size in before.items() if after.get(at) != size}
        rows = [('allocated', f'{at:#x}', size) for at, size in new.items()]
        rows += [('freed', f'{at:#x}', size) for at, size in gone.items()]
        if len(rows) > MANY and len(argv) == 1:
            types = Types(heap.memory)
            keys = [(what, size, *((types.of(int(at, 16), size), heap.site(int(at, 16)))
                                   if what == 'allocated' else ('', ''))) for what, at, size in rows]
            print_groups(('', 'of', 'type', 'allocated by'), rows, keys, [row[2] for row in rows],
                         f'heap diff {argv[0]} all')
        elif rows:
            print_many(('', 'block', 'usable'), rows, True, '')
        gdb.write(f'since {argv[0]}: {count(len(new), "block")} allocated ({sum(new.values())} '
                  f'bytes), {count(len(gone), "block")} freed ({sum(gone.values())} bytes)\n')
        print_notes(heap)
        if broken:
            gdb.write(f'  {broken.price}\n')
            print_broken(broken)


for command in (HeapSave, HeapDiff):
    command()
