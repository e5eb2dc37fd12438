"""The program's memory, read in bulk, and the layout of the structs in it."""

import os
import struct
import time
from typing import NamedTuple

import gdb

PIECE = 64 * 1024  # bytes; one read of this size costs about as much as one of 8 bytes
STRETCH = 1024 * 1024
PAGE, WORD = 4096, 8
ALL = 2 ** 64 - 1
PATIENCE = 2  # seconds
CODES = {1: 'B', 2: 'H', 4: 'I', 8: 'Q'}


def as_words(data):
    """Bytes as 64-bit words, without a remainder at the end."""
    return memoryview(data)[:len(data) // WORD * WORD].cast('Q')


class Unreadable(Exception):
    """No memory is mapped at `address`, or the core omits it."""

    def __init__(self, address):
        super().__init__(f'the memory at {address:#x} cannot be read')
        self.address = address


class Memory:
    """Reads the program's memory, and caches pieces, because the program does not run meanwhile."""

    def __init__(self):
        self._inferior = gdb.selected_inferior()
        self._pieces = {}
        self._shown = False
        self.begin()

    def read(self, address, length):
        """The bytes [address, address + length), or Unreadable."""
        number, offset = divmod(address, PIECE)
        if number not in self._pieces:
            try:
                self._pieces[number] = self._direct(number * PIECE, PIECE)
            except Unreadable:
                self._pieces[number] = None  # a mapping begins or ends here
        piece = self._pieces[number]
        if piece is None or offset + length > PIECE:
            return self._direct(address, length)
        return piece[offset:offset + length]

    def once(self, address, length):
        """As `read`, without caching, for memory that the command reads only once."""
        return self._direct(address, length)

    def stretch(self, address, end):
        """As many bytes from `address` on as one read returns, at most up to `end`."""
        length = min(STRETCH, end - address)
        while length > 0:
            try:
                return self._direct(address, length)
            except Unreadable:
                to_page_end = PAGE - address % PAGE
                if length <= to_page_end:
                    break
                length = max(length // 2, to_page_end)
        raise Unreadable(address)

    def record(self, layout, address, *names):
        """The values of some fields (integers or pointers) of the struct at `address`."""
        return layout.unpacker(*names)(self.read(address, layout.size), 0)

    def begin(self):
        """Call when a command begins. A long one shows its progress on a terminal."""
        self._bytes, self._begun = 0, time.monotonic()
        self._next = self._begun + PATIENCE if os.isatty(2) else float('inf')

    def end(self):
        if self._shown:
            gdb.write('\r\x1b[K', gdb.STDERR)
        self._shown, self._next = False, float('inf')

    def _progress(self, length):
        self._bytes += length
        now = time.monotonic()
        if now >= self._next:
            self._shown, self._next = True, now + 1
            gdb.write(f'\r  … {self._bytes >> 20} MiB read in {now - self._begun:.0f} s', gdb.STDERR)
            gdb.flush(gdb.STDERR)

    def _direct(self, address, length):
        self._progress(length)
        if address < 0 or address + length > 1 << 64:
            raise Unreadable(address)
        if not length:
            return b''  # GDB 16 reads no nothing
        try:
            return bytes(self._inferior.read_memory(address, length))
        except gdb.MemoryError:
            raise Unreadable(address) from None


class Field(NamedTuple):
    type: gdb.Type
    bitpos: int
    bitsize: int


def _flat(type_, base):
    """(name, Field) of a struct; expands anonymous members."""
    for field in type_.fields():
        if field.name:
            yield field.name, Field(field.type, base + field.bitpos, field.bitsize)
        else:
            yield from _flat(field.type.strip_typedefs(), base + field.bitpos)


class Layout:
    """The offsets of a struct's fields, from the library's debug information."""

    def __init__(self, type_):
        self.type = type_.strip_typedefs().unqualified()
        self.size = self.type.sizeof
        self._fields = dict(_flat(self.type, 0))
        self._unpackers = {}

    def offset(self, name):
        return self._fields[name].bitpos // 8

    def field(self, name):
        """The type of a field."""
        return self._fields[name].type.strip_typedefs()

    def target(self, name):
        """The layout of the struct that a pointer field points to."""
        return Layout(self.field(name).target())

    def unpacker(self, *names):
        """A function of (buffer, offset) to the values of these fields, in this order."""
        if names not in self._unpackers:
            self._unpackers[names] = self._make(names)
        return self._unpackers[names]

    def _make(self, names):
        units = sorted({(self.offset(name), self._fields[name].type.sizeof) for name in names})
        form, at = '<', 0
        for offset, size in units:
            form += f'{offset - at}x{CODES[size]}' if offset > at else CODES[size]
            at = offset + size
        unpack = struct.Struct(form).unpack_from
        picks = [self._pick(units, name) for name in names]
        if picks == [(i, 0, 0) for i in range(len(units))]:
            return unpack

        def picked(buffer, offset):
            values = unpack(buffer, offset)
            return tuple(values[i] if not mask else values[i] >> shift & mask
                         for i, shift, mask in picks)

        return picked

    def _pick(self, units, name):
        """Which unit holds the field and, of a bit-field (within one byte), where in it."""
        field = self._fields[name]
        unit = units.index((self.offset(name), field.type.sizeof))
        return unit, field.bitpos % 8 if field.bitsize else 0, (1 << field.bitsize) - 1
