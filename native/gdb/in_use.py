"""Breakpoints that `libmalloc gdb --break` asks for: in the malloc in use, and with a condition that makes
sense."""

import re

import gdb

from . import library

NONSENSE = re.compile(r'A syntax error|Unmatched|Invalid (number|character)|Junk|Unterminated')
UNKNOWN = re.compile(r'No symbol "')
ELSEWHERE = 0x10000000  # where a library is looked at before the program has loaded it


class InUse(gdb.Function):
    """$_in_use(NAME): is this the function NAME that the program's calls reach? The dynamic linker has a
    malloc of its own, and libc's is there too when another one is preloaded."""

    def __init__(self):
        super().__init__('_in_use')

    def invoke(self, name):
        wanted = library.first_with(name.string().encode())
        here = gdb.solib_name(gdb.newest_frame().pc()) or gdb.current_progspace().filename
        return wanted is not None and wanted.filename == here


def check(location, condition, file, family):
    """Ends the session when GDB cannot make sense of a condition: it would say so when the program has been
    started, and stop at every call. `file` is the malloc's, which the program has not loaded yet; in
    the conditions of the `family` only names of the program and of that file have a meaning."""
    try:
        added = _try(location, condition) or file is None or _with_file(file, location, condition)
        if not added or file is None:
            _parse(condition, family)
    except gdb.error as error:
        gdb.write(f'libmalloc: --break {location}: the condition `{condition}` cannot be evaluated: '
                  f'{error}\n', gdb.STDERR)
        gdb.execute('quit 125')


def _try(location, condition):
    """Is there such a location by now? The condition is then looked at there."""
    breakpoint = gdb.Breakpoint(location, internal=True)
    try:
        if breakpoint.pending:
            return False
        breakpoint.condition = condition
        return True
    finally:
        breakpoint.delete()


def _with_file(file, location, condition):
    gdb.execute(f'with confirm off -- add-symbol-file "{file}" -o {ELSEWHERE}', to_string=True)
    try:
        return _try(location, condition)
    finally:
        gdb.execute(f'with confirm off -- remove-symbol-file "{file}"', to_string=True)


def _parse(condition, family):
    try:
        gdb.parse_and_eval(condition)
    except gdb.error as error:  # registers have no value yet, which is no reason
        if NONSENSE.match(str(error)) or (family and UNKNOWN.match(str(error))):
            raise


InUse()
