"""Names return addresses: by function and line, or by the place in a file without symbols."""

import os
import re

import gdb


class Code:
    """The code of one program; caches the names that it found."""

    def __init__(self):
        self._names, self._files = {}, None

    def name(self, address):
        """The function at an address, `program+0x11f5` if the file has no symbols, or ''."""
        if address not in self._names:
            self._names[address] = self._found(address) if address else ''
        return self._names[address]

    def functions(self, returns_to):
        """The functions at a return address, with their lines; several if calls were inlined, the
        innermost first. Without debug information, its name; empty if it has none."""
        call = returns_to - 1  # the next instruction may belong to another line or function
        block, line = gdb.block_for_pc(call), gdb.find_pc_line(call)
        where, rows = (line.symtab, line.line), []
        block = _of_function(block)
        while block is not None and where[0] is not None:
            symtab, number = where
            caller = _of_function(block.superblock)
            # A nested function (GNU C) has its own code, outside that of the enclosing one.
            inlined = caller is not None and caller.start <= block.start < caller.end
            rows.append(f'{block.function.print_name} ({os.path.basename(symtab.filename)}:{number})' +
                        (', inlined' if inlined else ''))
            # The line of an inlined function's symbol is that of its call.
            where = block.function.symtab, block.function.line
            block = caller if inlined else None
        return rows or [name for name in [self.name(returns_to)] if name]

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
                begun.setdefault(path, start & ~0xfff)  # the page of the ELF header
                if name == '.text':
                    self._files.append((start, end, path, begun[path]))
        return self._files


def _of_function(block):
    while block is not None and block.function is None:
        block = block.superblock
    return block


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
