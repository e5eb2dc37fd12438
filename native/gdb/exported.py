"""Reads a malloc without a reader by calling its libmalloc_walk (native/libmalloc.h), if it exports that.

This is the only place where these commands call into the program. So the program must be live, and no
thread may be stopped inside this malloc, because the call would wait for its lock. The callbacks are a few
instructions in memory that is mapped for the call: they copy their arguments into a buffer, which is then
read and unmapped.
"""

import struct
from contextlib import contextmanager
from functools import cached_property

import gdb

from . import library
from .chunks import (CACHED, CONTAINERS, FREE, FRESH, HEADER, LIVE, REGION, REMOTE, SPAN, Broken, Chunk,
                     Place, Reader, count)
from .memory import PAGE
from .roots import each_thread

KINDS = (REGION, SPAN, HEADER, LIVE, FREE, FRESH, CACHED, REMOTE)  # as in libmalloc.h
RECORD = struct.Struct('<QQQQIIQ')  # struct libmalloc_chunk
FEWEST, MOST = 1 << 18, 1 << 24  # the capacity of the buffer in records
LINES = 64 * 1024  # bytes for the report of libmalloc_check
FRAMES = 64
RWX, PRIVATE, ANONYMOUS, NORESERVE = 7, 2, 0x20, 0x4000
# Both get (rdi: the chunk or line, rsi: the buffer); the buffer begins with its fill level and capacity.
VISIT = bytes.fromhex('488b06'      # mov rax, [rsi]
                      '483b4608'    # cmp rax, [rsi+8]
                      '7320'        # jae full
                      '4889f2'      # mov rdx, rsi
                      '486bc030'    # imul rax, rax, 48
                      '488d440610'  # lea rax, [rsi+rax+16]
                      '4889fe'      # mov rsi, rdi
                      '4889c7'      # mov rdi, rax
                      'b906000000'  # mov ecx, 6
                      'f348a5'      # rep movsq
                      '48ff02'      # inc qword ptr [rdx]
                      '31c0'        # xor eax, eax: go on
                      'c3'          # ret
                      'b801000000'  # full: mov eax, 1: stop
                      'c3')         # ret
REPORT = bytes.fromhex('488b06'    # mov rax, [rsi]
                       '483b4608'  # next: cmp rax, [rsi+8]
                       '7310'      # jae end
                       '8a17'      # mov dl, [rdi]
                       '88540610'  # mov [rsi+rax+16], dl
                       '48ffc0'    # inc rax
                       '48ffc7'    # inc rdi
                       '84d2'      # test dl, dl
                       '75ea'      # jnz next: with the zero at the end
                       '488906'    # end: mov [rsi], rax
                       'c3')       # ret


def offers(ours):
    """Does this file export libmalloc_walk?"""
    return library.defines(ours.path, b'libmalloc_walk')


class ExportedReader(Reader):

    def __init__(self, ours, memory):
        super().__init__(ours, memory)
        self._require_callable()
        if isinstance(ours, library.Provider):
            ours.own = list(ours.sections('.data', '.bss'))

    def _require_callable(self):
        path = self.library.path
        if library.is_core():
            raise gdb.GdbError(f'the heap of {path} cannot be read in a core: no reader knows it, and its '
                               'libmalloc_walk can be called in a live program only')
        if gdb.selected_frame().architecture().name() != 'i386:x86-64':
            raise gdb.GdbError(f'no reader knows {path}, and its libmalloc_walk is called on x86-64 only')
        for thread in each_thread():
            if stopped_inside(path):
                raise gdb.GdbError(f'thread {thread.num} has stopped inside of {path}, whose libmalloc_walk '
                                   'might wait for it: `finish`, and ask again')

    @cached_property
    def chunks(self):
        room = FEWEST
        while True:
            status, data = self._call('libmalloc_walk', VISIT, room, RECORD.size)
            if status == 0:
                return [Chunk(KINDS[kind], start, extent, user, usable, size_class, owner)
                        for start, extent, user, usable, kind, size_class, owner
                        in RECORD.iter_unpack(data) if kind < len(KINDS)]
            if status != 1 or room >= MOST:
                raise gdb.GdbError(f'libmalloc_walk of {self.library.path} ended with {status}')
            room *= 8

    def _call(self, name, code, room, unit):
        """(the function's result, what its callback received, as bytes)."""
        length = PAGE + 16 + room * unit
        inferior = gdb.selected_inferior()
        with in_program():
            at = call('unsigned long', 'mmap', 0, length, RWX, PRIVATE | ANONYMOUS | NORESERVE, -1, 0)
            if at % PAGE:
                raise gdb.GdbError(f'{name} cannot be called: the program gets no memory for the callback')
            try:
                inferior.write_memory(at, code)
                inferior.write_memory(at + PAGE, struct.pack('<QQ', 0, room))
                status = call('int', name, at, at + PAGE)
                n = int.from_bytes(inferior.read_memory(at + PAGE, 8), 'little')
                return status, bytes(inferior.read_memory(at + PAGE + 16, min(n, room) * unit)) if n else b''
            finally:
                call('int', 'munmap', at, length)

    def walk(self, start=0):
        yield from (chunk for chunk in self.chunks if chunk.end > start)

    def place(self, address):
        blocks = [chunk for chunk in self.chunks if chunk.kind not in CONTAINERS]
        i = next((i for i, each in enumerate(blocks) if each.start <= address < each.end), None)
        if i is None:
            return None
        chunk = blocks[i]
        rows = [('chunk', f'{chunk.start:#x} .. {chunk.end:#x}  {chunk.extent} bytes'), ('state', chunk.kind)]
        if chunk.size_class:
            rows.append(('class', f'blocks of {chunk.size_class} bytes'))
        rows += [(word, f'{each.user or each.start:#x}  {each.kind}  {each.usable or each.extent} bytes')
                 for word, each in (('previous', blocks[i - 1] if i else None),
                                    ('next', blocks[i + 1] if i + 1 < len(blocks) else None)) if each]
        if not chunk.user:
            return Place(f'{address:#x} lies in {chunk.kind} memory', rows)
        into = address - chunk.user
        where = ('the start of a' if not into else f'{into} bytes into the' if into > 0 else
                 f'{-into} bytes before the')
        name = f' {chunk.user:#x}' if into else ''
        return Place(f'{address:#x} is {where} {chunk.kind} block{name}', [
            ('block', f'{chunk.user:#x} .. {chunk.user + chunk.usable:#x}  {chunk.usable} bytes'), *rows])

    def free(self):
        sizes, broken = self.sizes()
        rows = [(size, *row[2:]) for size, row in sorted(sizes.items()) if row[2]]
        blocks, total = sum(row[1] for row in rows), sum(row[2] for row in rows)
        return ('up to', 'free', 'free bytes'), rows, f'{count(blocks, "free block")}, {total} bytes', broken

    def check(self):
        path = self.library.path
        if not library.defines(path, b'libmalloc_check'):
            raise gdb.GdbError(f'{path} exports no libmalloc_check, so nothing can be said')
        broken, text = self._call('libmalloc_check', REPORT, LINES, 1)
        lines = text.decode(errors='replace').split('\0')
        if broken:
            raise Broken(lines[0] or f'libmalloc_check ended with {broken}',
                         [('and', line) for line in lines[1:] if line])
        return f'libmalloc_check of {path} finds nothing wrong'

    def notes(self):
        note = 'told by its own libmalloc_walk, which was called in the program: no reader knows this malloc'
        return [note, 'it told of no chunk'] if vars(self).get('chunks') == [] else [note]


def stopped_inside(path):
    """Is a function of this file among the frames of the selected thread?"""
    frame = gdb.newest_frame()
    for _ in range(FRAMES):
        if frame is None:
            return False
        if gdb.solib_name(frame.pc()) == path:
            return True
        frame = frame.older()
    return False


@contextmanager
def in_program():
    """Lets only the selected thread run, and undoes a call that a signal interrupts.

    Except SIGSTOP: of a program that was stopped before GDB attached, it is still pending."""
    words = gdb.execute('info signals SIGSTOP', to_string=True).split('SIGSTOP')[-1].split()[:3]
    before = [('' if yes == 'Yes' else 'no') + name for name, yes in zip(('stop', 'print', 'pass'), words)]
    handle_stop('nostop noprint nopass')
    try:
        with gdb.with_parameter('scheduler-locking', 'on'), gdb.with_parameter('unwindonsignal', True):
            yield
    finally:
        handle_stop(' '.join(before))


def handle_stop(how):
    gdb.execute(f'handle SIGSTOP {how}', to_string=True)


def call(result, name, *values):
    """Calls a function of the program, with numbers and addresses."""
    types = ', '.join('long' if value < 1 << 31 else 'unsigned long' for value in values)
    text = f'(({result} (*)({types})) {name})({", ".join(f"{value}" for value in values)})'
    try:
        return int(gdb.parse_and_eval(text))
    except gdb.error as error:
        said = str(error).split('\n')[0]
        raise gdb.GdbError(f'{name} was called in the program, and did not return: {said} (the program is '
                           'as it was before the call)') from None
