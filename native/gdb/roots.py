"""Where a program can keep pointers outside its heap: writable memory, stacks, registers."""

import re

import gdb

from . import library
from .memory import WORD, Unreadable, as_words

RED_ZONE = 128  # bytes below the stack pointer that a function may use (x86-64)


class Roots:
    """The roots of the selected program or core. `but`: (start, end) of memory to exclude: the heap
    itself, and the malloc's own records."""

    def __init__(self, memory, but):
        self.memory = memory
        self.stacks = []  # (stack pointer, thread)
        self.registers = []  # (value, name, thread)
        self._look_at_threads()
        self.ranges = list(without(clip(writable(), self.stacks), but))

    def _look_at_threads(self):
        for thread in each_thread():
            newest = gdb.newest_frame()
            pointer = newest.read_register('sp')
            self.stacks.append((int(pointer) & 2 ** 64 - 1, thread.num))
            self._look_at_registers(newest, thread.num)

    def _look_at_registers(self, frame, thread):
        for register in frame.architecture().registers('general'):
            value = frame.read_register(register)
            if value.type.sizeof != WORD or register.name in ('rip', 'pc', 'rsp', 'sp'):
                continue
            try:
                self.registers.append((int(value) & 2 ** 64 - 1, register.name, thread))
            except gdb.error:
                continue  # a core does not contain all registers

    def words(self):
        """(address, memoryview of 64-bit words) of every piece of memory that contains roots."""
        for start, end in self.ranges:
            yield from pieces(self.memory, start, end)


def pieces(memory, start, end):
    """The aligned words in [start, end), piece by piece, up to the first that cannot be read."""
    start += -start % WORD
    end -= end % WORD
    while start < end:
        try:
            data = memory.stretch(start, end)
        except Unreadable:
            return
        yield start, as_words(data)
        start += len(data)


def each_thread():
    """Selects one thread after the other, and finally the one that was selected before."""
    chosen, frame = gdb.selected_thread(), gdb.selected_frame()
    try:
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            yield thread
    finally:
        chosen.switch()
        frame.select()


def writable():
    """(start, end) of the writable mappings, in address order."""
    inferior = gdb.selected_inferior()
    if library.is_core():
        text = gdb.execute('maintenance info sections', to_string=True)
        found = re.findall(r'(0x\w+)->(0x\w+) at 0x\w+: load\w* (.*)$', text, re.M)
        return sorted((int(start, 16), int(end, 16)) for start, end, flags in found
                      if 'READONLY' not in flags and 'HAS_CONTENTS' in flags)
    with open(f'/proc/{inferior.pid}/maps', encoding='utf-8', errors='replace') as maps:
        lines = [line.split(None, 2) for line in maps]
    return [tuple(int(each, 16) for each in line[0].split('-'))
            for line in lines if line[1].startswith('rw')]


def clip(ranges, stacks):
    """Cuts stacks to the part above the stack pointer, which is in use."""
    for start, end in ranges:
        pointers = [pointer for pointer, _ in stacks if start <= pointer < end]
        yield max(start, min(pointers) - RED_ZONE) if pointers else start, end


def without(ranges, but):
    """The ranges, minus others."""
    holes = sorted(but)
    for start, end in ranges:
        for hole_start, hole_end in holes:
            if hole_end <= start or hole_start >= end:
                continue
            if hole_start > start:
                yield start, hole_start
            start = max(start, hole_end)
        if start < end:
            yield start, end
