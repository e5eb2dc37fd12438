"""GDB commands that understand our heaps: `heap`, `heap chunks`, `heap chunk ADDR`, …

    command.py    what all commands share: the heap of the program, arguments, errors
    printing.py   rows, colours
    commands.py   heap, heap chunks, heap chunk, heap free, heap check, heap stats, heap help
    picture.py    heap map
    visual.py     heap vis, heap telescope, heap try-free, heap vmmap
    search.py     heap find, heap refs, heap leaks
    roots.py      where pointers are outside the heap: writable memory, stacks, registers
    changes.py    heap save, heap diff
    stops.py      heap watch, and stops where the library detects something (`--on`)
    in_use.py     what `--break` needs: the malloc in use, a check of conditions
    printers.py   pretty printers, so that `print heap` reads like the variant's picture
    library.py    which malloc this program uses, and why that cannot be determined
    exported.py   reads a malloc without a reader by its libmalloc_walk and libmalloc_check
    guard.py guard_bulk.py    the guard's records in a debug build: one by one, and in bulk
    track.py tracked.py    the table of `--track`: stacks for every reader, and the heap of any malloc
    objects.py    C++ types of blocks
    symbols.py    names of return addresses
    memory.py     bulk reads, and the layout of structs from the debug information
    chunks.py     what every heap consists of: chunks, figures, findings
    dumb.py list.py buddy.py paged.py sharded.py glibc.py    one reader a malloc: chunks from structures
    list_ring.py       list's ring of chunks in memory
    buddy_tags.py buddy_check.py           buddy's tags in bulk; its invariants
    mimalloc.py        the reader of Debian's mimalloc, in one file: an example for other mallocs
    glibc_structs.py glibc_locate.py       glibc's structures; where its arenas and thread caches are
    glibc_lists.py                         its lists of free chunks, and damage on them
    glibc_arenas.py glibc_mapped.py        the chunks of its arenas; those with mappings of their own
    glibc_free.py                          what its free would do with a pointer
    sharded_pages.py sharded_check.py      sharded's pages in memory; its invariants
    session.py    what `libmalloc gdb` runs by itself: batches, cores, attaching

A reader only reads memory. It never calls into the program, which may be stopped inside malloc,
or be a core. It trusts nothing that it reads, because these commands are needed most when a
program has corrupted its heap. The package is named `libmalloc` in GDB's Python (see gdbinit).
"""

from . import commands as commands  # first, because it defines the prefix `heap`
from . import changes as changes
from . import in_use as in_use
from . import picture as picture
from . import printers as printers
from . import search as search
from . import stops as stops
from . import visual as visual
