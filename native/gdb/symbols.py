"""What return addresses are called: function and line, or a place in a file that has no symbols."""

import os
import re

import gdb


class Code:
    """Of one program as it stands; names that were found are kept."""

    def __init__(self):
        self._names, self._files = {}, None

    def name(self, address):
        """The function that an address lies in, `program+0x11f5` where the file has no symbols, or ''."""
        if address not in self._names:
            self._names[address] = self._found(address) if address else ''
        return self._names[address]

    def place(self, address):
        """As `name`, with the line that the call stands in, where debug information knows it."""
        line = gdb.find_pc_line(address - 1)
        if not self.name(address) or not line.symtab or not line.line:
            return self.name(address)
        return f'{self.name(address)}  {os.path.basename(line.symtab.filename)}:{line.line}'

    def _found(self, address):
        said = gdb.execute(f'info symbol {address:#x}', to_string=True)
        symbol, section, _ = said.partition(' in section ')
        if section:
            return short(symbol.rpartition(' + ')[0] or symbol)
        held = next((each for each in self._texts() if each[0] <= address < each[1]), None)
        return f'{os.path.basename(held[2])}+{address - held[3]:#x}' if held else ''

    def _texts(self):
        """(start, end, file, where the file begins) of the code in each file."""
        if self._files is None:
            begun, self._files = {}, []
            for start, end, name, path in sections():
                begun.setdefault(path, start & ~0xfff)  # its ELF header stands in front of it
                if name == '.text':
                    self._files.append((start, end, path, begun[path]))
        return self._files


def sections():
    """(start, end, name, file) of each section in the memory of the program."""
    program = gdb.current_progspace().filename or ''
    for start, end, name, path in re.findall(r'^\s*(0x\w+) - (0x\w+) is (\S+)(?: in (.*))?$',
                                             gdb.execute('info files', to_string=True), re.M):
        yield int(start, 16), int(end, 16), name, path or program


def short(name):
    """A C++ name without its template arguments, parameters and result."""
    if 'operator' in name:
        return name
    name = name.replace('(anonymous namespace)::', '')
    while re.search(r'<[^<>]*>', name):
        name = re.sub(r'<[^<>]*>', '', name)
    return name.partition('(')[0].rpartition(' ')[2]
