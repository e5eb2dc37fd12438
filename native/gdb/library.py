"""Which of our libraries is in this program; one sentence that says why, when none is."""

import importlib
import importlib.util
import os
import re
import types

import gdb

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
    """One of our libraries, loaded. Symbols come from it alone: a program may have a `heap` too."""

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
    """The module of a variant, which is called like it: it has the Reader of its heap, and may have
    PRINTERS. An empty module where there is none: the malloc may be somebody's own."""
    name = f'{__package__}.{variant}'
    if importlib.util.find_spec(name) is None:
        return types.ModuleType(name)
    return importlib.import_module(name)


def current():
    """The library of the selected program or core; a GdbError of one sentence without one."""
    _require_memory()
    for objfile in gdb.objfiles():
        symbol = version_symbol(objfile)
        if symbol is not None:
            _require_same_build(objfile)
            return Library(objfile, symbol.value().string())
    raise gdb.GdbError(_why_none())


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
    """What every variant of ours declares, and nobody else."""
    if not objfile.is_valid() or objfile.owner is not None:
        return None
    return objfile.lookup_static_symbol('heap_version')


def _is_our_name(path):
    return re.fullmatch(r'libmalloc(-\w+)?\.so[.\d]*', os.path.basename(path)) is not None


def _why_none():
    loaded = [objfile.filename or '' for objfile in gdb.objfiles() if objfile.is_valid()]
    stripped = [path for path in loaded if _is_our_name(path) and '-probe.' not in path]
    if stripped:
        return f'{stripped[0]} has no debug information: build it with -g, as `make` does'
    shared = gdb.execute('info sharedlibrary', to_string=True)
    missing = [path for path in re.findall(r'\sNo\s+(/.*)$', shared, re.M) if _is_our_name(path)]
    if missing:
        return (f'{missing[0]} is not there any more: put it back, or say where it is now '
                'with `set solib-search-path FOLDER`')
    if gdb.current_progspace().filename is None:
        return 'no program is loaded: say which with `file PROGRAM`'
    if 'libc.so' not in shared:
        return 'the libraries are not loaded yet: `break main` and `continue` let them'
    return ('no malloc of ours is in this program: `libmalloc gdb -m NAME -- CMD` starts it '
            'with one')


def _require_same_build(objfile):
    """A library that was built again since: its symbols lie elsewhere than in this memory."""
    section = rf'^\s*(0x\w+) - (0x\w+) is \.note\.gnu\.build-id in {re.escape(objfile.filename)}$'
    note = re.search(section, gdb.execute('info files', to_string=True), re.M)
    if note is None or objfile.build_id is None:
        return
    start, end = int(note[1], 16), int(note[2], 16)
    try:
        loaded = bytes(gdb.selected_inferior().read_memory(start, end - start))
    except gdb.MemoryError:
        return
    if bytes.fromhex(objfile.build_id) not in loaded:
        raise gdb.GdbError(f'{objfile.filename} was built again since this program loaded it: '
                           'its symbols no longer fit')
