"""Breakpoints of `libmalloc gdb --break`: stop only in the malloc in use, and check conditions."""

import re

import gdb

from . import library

NONSENSE = re.compile(r'A syntax error|Unmatched|Invalid (number|character)|Junk|Unterminated')
UNKNOWN = re.compile(r'No symbol "')
ELSEWHERE = 0x10000000  # where we put a library's symbols before the program has loaded it


class InUse(gdb.Function):
    """$_in_use(NAME): true in the function NAME that the program's calls reach. The dynamic linker has a
    malloc of its own, and libc's is loaded, too, when another one is preloaded."""

    def __init__(self):
        super().__init__('_in_use')

    def invoke(self, name):
        wanted = library.first_with(name.string().encode())
        here = gdb.solib_name(gdb.newest_frame().pc()) or gdb.current_progspace().filename
        return wanted is not None and wanted.filename == here


def check(location, condition, file, family):
    """Ends the session if GDB cannot parse a condition. Otherwise GDB would report that only after the
    program has started, and stop at every call. `file` is that of the malloc, which the program has not
    loaded yet. Conditions on functions of the malloc `family` may use names of the program and of that
    file only."""
    try:
        added = _try(location, condition) or file is None or _with_file(file, location, condition)
        if not added or file is None:
            _parse(condition, family)
    except gdb.error as error:
        gdb.write(f'libmalloc: --break {location}: the condition `{condition}` cannot be evaluated: '
                  f'{error}\n', gdb.STDERR)
        gdb.execute('quit 125')


def _try(location, condition):
    """True if the location exists by now; raises if the condition is invalid there."""
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
    except gdb.error as error:  # registers have no value yet, so not every error is the condition's
        if NONSENSE.match(str(error)) or (family and UNKNOWN.match(str(error))):
            raise


InUse()
