"""Finds the C++ type of a block. An object with virtual functions begins with a pointer to a virtual table;
before the table, a pointer leads to the type's name (Itanium C++ ABI). This needs no symbols."""

import re

import gdb

from .memory import WORD, Unreadable, as_words
from .symbols import sections

LONGEST = 1000  # characters; a longer string is no name


class Types:

    def __init__(self, memory):
        self._memory, self._names, self._constant = memory, {}, None

    def of(self, block, length):
        """The type of the block that begins here, or ''."""
        try:
            word = as_words(self._memory.read(block, WORD))[0] if length >= WORD else 0
        except Unreadable:
            return ''
        if word not in self._names:
            self._names[word] = self._named(word) if self._is_constant(word) else ''
        return self._names[word]

    def _is_constant(self, address):
        """True if the address lies in a section that may contain virtual tables."""
        if self._constant is None:
            self._constant = [(start, end) for start, end, name, _ in sections()
                              if name in ('.data.rel.ro', '.data.rel.ro.local', '.rodata')]
        return address % WORD == 0 and any(start <= address < end for start, end in self._constant)

    def _named(self, table):
        try:
            info = as_words(self._memory.read(table - WORD, WORD))[0]
            name = as_words(self._memory.read(info + WORD, WORD))[0]
            text = self._text(name)
        except Unreadable:
            return ''
        if not re.fullmatch(r'\*?[\w.]+', text):
            return ''
        said = gdb.execute(f'demangle -- _ZTS{text.lstrip("*")}', to_string=True).strip()
        return plain(said.removeprefix('typeinfo name for ')) if said.startswith('typeinfo') else ''

    def _text(self, address):
        data = b''
        while b'\0' not in data and len(data) < LONGEST:
            data += self._memory.read(address + len(data), 1 + -(address + len(data) + 1) % 64)
        return data.split(b'\0')[0].decode('ascii', 'replace')


def plain(name):
    """A type without template arguments that are nearly always the default."""
    default = r', (std::(allocator|less|hash|equal_to|char_traits|default_delete)<[^<>]*> ?|\(__gnu_cxx::\w+\)\d)'
    while re.search(default, name):
        name = re.sub(default, '', name)
    return name
