"""Determines which malloc this program uses: a library of ours, glibc, or another; or says in one
sentence why it cannot."""

import importlib
import importlib.util
import os
import re
import struct
import types

import gdb

NOTE_OF_ID = b'\x03\0\0\0GNU\0'  # its type and name

_exited = False


def _note_exit(event):
    global _exited
    _exited = True


def _note_new_program(event):
    global _exited
    _exited = False


gdb.events.exited.connect(_note_exit)
gdb.events.new_objfile.connect(_note_new_program)


class Library:
    """One of our libraries, loaded. Looks up symbols in it alone: a program may have a `heap`, too."""

    def __init__(self, objfile, version):
        self._objfile = objfile
        self.path = objfile.filename
        self.version = version  # 'libmalloc 0.1.0 (list)'
        self.variant = version.rpartition('(')[2].rstrip(')')

    def symbol(self, name):
        """A static variable of the variant as a gdb.Value."""
        symbol = self._objfile.lookup_static_symbol(name)
        if symbol is None:
            raise gdb.GdbError(f'{self.path} has no `{name}`: is it of another version than '
                               'these commands?')
        return symbol.value()

    def data(self):
        """(start, end) of its writable data."""
        sections = rf'^\s*(0x\w+) - (0x\w+) is \.t?(?:data|bss)\S* in {re.escape(self.path)}$'
        found = re.findall(sections, gdb.execute('info files', to_string=True), re.M)
        return [(int(start, 16), int(end, 16)) for start, end in found]


def module_of(variant):
    """The module named after a variant: it has the Reader of its heap, and may have PRINTERS. An empty
    module if there is none: the malloc may be the user's own."""
    name = f'{__package__}.{variant}'
    if not variant.isidentifier() or importlib.util.find_spec(name) is None:
        return types.ModuleType(name)
    return importlib.import_module(name)


def current():
    """The library of the selected program or core; raises a GdbError of one sentence if there is none."""
    _require_memory()
    for objfile in gdb.objfiles():
        if version_symbol(objfile) is not None:
            require_same_build(objfile)
            return of(objfile)
    problem = _why_none()
    if problem:
        raise gdb.GdbError(problem)
    return Provider(*provider())


class Tool(Library):
    """A library of ours that stands in front of a malloc: tracks it, traces it."""

    def __init__(self, objfile):
        self._objfile, self.path = objfile, objfile.filename


def tool(path):
    """What such a file is called, or ''."""
    found = re.fullmatch(r'libmalloc-(probe|trace|layout|profile|track)\.so', os.path.basename(path or ''))
    return found[1] if found else ''


class Provider:
    """A library of others that provides the malloc of this program. These commands learn about it from
    its memory only."""

    def __init__(self, objfile, variant):
        self._objfile = objfile
        self.path, self.variant = objfile.filename, variant
        self.numbers = (0, 0)
        self.version = variant
        self.own = []  # (start, end) of the malloc's own variables, once a reader has found them

    def data(self):
        return self.own

    def sections(self, *names):
        """(start, end) of the sections with these names."""
        info = gdb.execute('info files', to_string=True)
        for name in names:
            for start, end in re.findall(rf'^\s*(0x\w+) - (0x\w+) is {re.escape(name)} in '
                                         rf'{re.escape(self.path)}$', info, re.M):
                yield int(start, 16), int(end, 16)

    def address(self, name):
        """The address of a variable according to debug information; 0 without it."""
        for objfile in gdb.objfiles():
            if objfile is self._objfile or objfile.owner is self._objfile:
                symbol = objfile.lookup_static_symbol(name)
                if symbol is not None and symbol.value().address is not None:
                    return int(symbol.value().address)
        return 0


def provider():
    """(the first loaded file that defines malloc, the name of that malloc)."""
    objfile = first_with(b'malloc')
    if objfile is None:
        raise gdb.GdbError('no loaded file has a malloc')
    require_same_build(objfile)
    return objfile, malloc_called(os.path.basename(objfile.filename))


def first_with(name):
    """The first loaded file that defines a function, except the dynamic linker and our tools, which pass the call
    on; or None."""
    for objfile in gdb.objfiles():
        path = objfile.filename or ''
        if objfile.owner is None and not re.match(r'ld-|ld\d|ld\.so', os.path.basename(path)) and (
                not tool(path) and defines(path, name)):
            return objfile
    return None


READERS = {'c': 'glibc', 'mimalloc': 'mimalloc'}  # by the name of a file, without lib and .so


def malloc_called(file):
    """`libmimalloc.so.2` is mimalloc, `libc.so.6` and `libc-2.31.so` are glibc; a malloc without a reader
    gets the name of its file."""
    return READERS.get(re.sub(r'^lib|(-[\d.]+)?\.so[.\d]*$', '', file), file)


_defines = {}


def defines(path, name):
    """True if the dynamic symbols of a 64-bit ELF file define this name."""
    if (path, name) not in _defines:
        try:
            with open(path, 'rb') as file:
                _defines[path, name] = _has_symbol(file.read(), name)
        except (OSError, struct.error, IndexError):
            _defines[path, name] = False
    return _defines[path, name]


def _has_symbol(elf, name):
    if elf[:5] != b'\x7fELF\x02':
        return False
    table, size, number = (*struct.unpack_from('<Q', elf, 0x28), *struct.unpack_from('<HH', elf, 0x3a))
    headers = [struct.unpack_from('<IIQQQQIIQQ', elf, table + i * size) for i in range(number)]
    for _, kind, _, _, offset, length, link, _, _, _ in headers:
        if kind == 11:  # SHT_DYNSYM
            names = headers[link][4]
            for at in range(offset, offset + length, 24):
                text, _, _, section = struct.unpack_from('<IBBH', elf, at)
                start = names + text
                if section and elf[start:start + len(name) + 1] == name + b'\0':
                    return True
    return False


def of(objfile):
    """The Library of one of our files."""
    return Library(objfile, version_of(objfile))


def own_id(thread):
    """A thread's id as the program sees it, which differs from GDB's in a PID namespace."""
    process, lwp, _ = thread.ptid
    if is_core():
        return lwp
    try:
        with open(f'/proc/{process}/task/{lwp}/status', encoding='ascii', errors='replace') as status:
            return int(re.search(r'^NSpid:.*\s(\d+)$', status.read(), re.M)[1])
    except (OSError, TypeError):
        return lwp


def is_core():
    connection = gdb.selected_inferior().connection
    return connection is not None and connection.type == 'core'


def _require_memory():
    if not gdb.selected_inferior().threads():
        raise gdb.GdbError('the program has exited, and its heap with it: `run` starts it again'
                           if _exited else 'the program is not running yet: `run` starts it')
    thread = gdb.selected_thread()
    if thread is not None and thread.is_running():
        raise gdb.GdbError('the program is running: stop it first (Ctrl-C, or `interrupt`)')


def version_symbol(objfile):
    """The symbol that every variant of ours declares, and no other library."""
    if not objfile.is_valid() or objfile.owner is not None:
        return None
    return objfile.lookup_static_symbol('heap_version')


def version_of(objfile):
    """The text of that symbol; garbage or '' if the file is not the one that the program loaded."""
    try:
        return version_symbol(objfile).value().string('latin-1')
    except gdb.error:
        return ''


def _is_our_name(path):
    return (re.fullmatch(r'libmalloc(-\w+)?\.so[.\d]*', os.path.basename(path)) is not None and
            not tool(path))


def _built_again(path):
    return (f'{path} was built again since this program loaded it: '
            'its symbols no longer fit')


def _why_none():
    loaded = [objfile.filename or '' for objfile in gdb.objfiles() if objfile.is_valid()]
    stripped = [path for path in loaded if _is_our_name(path)]
    if stripped:
        return f'{stripped[0]} has no debug information: build it with -g, or debug with: libmalloc gdb --debug'
    shared = gdb.execute('info sharedlibrary', to_string=True)
    missing = [path for path in re.findall(r'\sNo\s+(/.*)$', shared, re.M) if _is_our_name(path)]
    if missing and os.path.exists(missing[0]):  # GDB 16 loads no other build
        return _built_again(missing[0])
    if missing:
        return (f'{missing[0]} is not there any more: put it back, or say where it is now '
                'with `set solib-search-path FOLDER`')
    if gdb.current_progspace().filename is None:
        return 'no program is loaded: say which with `file PROGRAM`'
    if 'libc.so' not in shared and is_core():
        return (f'{gdb.current_progspace().filename} is not the program of this core: its libraries are '
                'not found')
    if 'libc.so' not in shared:
        return 'the libraries are not loaded yet: `break main` and `continue` let them'
    return None


def require_same_build(objfile):
    if rebuilt([objfile]):
        raise gdb.GdbError(_built_again(objfile.filename))


def rebuilt(objfiles):
    """Those of the files that were rebuilt since, so that their symbols do not fit this memory. Compares
    the build-id in the file with that in the memory of the program."""
    info, main = gdb.execute('info files', to_string=True), gdb.current_progspace().filename
    notes = {path or main: [(int(start, 16), int(end, 16))] for start, end, path in re.findall(
        r'^\s*(0x\w+) - (0x\w+) is \.note\.gnu\.build-id(?: in (.*))?$', info, re.M)}
    notes[main] = _notes_of_main() or notes.get(main, [])
    return [objfile for objfile in objfiles if _is_garbled(objfile) or objfile.filename in notes and
            objfile.build_id and _has_other_id(notes[objfile.filename], bytes.fromhex(objfile.build_id))]


def _is_garbled(objfile):
    """Is this a variant of ours whose version is not where its file says? GDB may place a replaced file so that no
    note of it can be read."""
    return version_symbol(objfile) is not None and not version_of(objfile).startswith('libmalloc ')


def not_loaded():
    """The files of libraries that exist but that GDB did not load: from version 16 on it only loads the build that
    the core names."""
    shared = gdb.execute('info sharedlibrary', to_string=True)
    return [path for path in re.findall(r'\sNo\s+(/.*)$', shared, re.M) if os.path.exists(path)]


def _notes_of_main():
    """(start, end) of each of the program's own notes, from the program headers in memory, because GDB does not
    find them if the file was replaced. None if they cannot be read."""
    auxv = gdb.execute('info auxv', to_string=True)
    where = [re.search(rf'{name} .*\s(\w+)$', auxv, re.M) for name in ('AT_PHDR', 'AT_PHNUM')]
    if None in where:
        return None
    at, number = (int(each[1], 0) for each in where)
    try:
        data = bytes(gdb.selected_inferior().read_memory(at, number * 56))
    except gdb.MemoryError:
        return None
    headers = [struct.unpack_from('<IIQQQQQQ', data, i * 56) for i in range(number)]
    base = next((at - header[3] for header in headers if header[0] == 6), 0)  # PT_PHDR
    return [(base + header[3], base + header[3] + header[5]) for header in headers if header[0] == 4]


def _has_other_id(notes, build_id):
    """Do these notes contain a build id, but not this one? A core need not contain all of them. A replaced
    file may have its notes elsewhere: then this memory, if all of it can be read, holds other bytes."""
    found, complete = b'', True
    for start, end in notes:
        try:
            found += bytes(gdb.selected_inferior().read_memory(start, end - start))
        except (gdb.MemoryError, ValueError):
            complete = False
    return build_id not in found and (NOTE_OF_ID in found or complete and any(found))
