# What every GDB session of libmalloc loads: a few settings, and the `heap` commands.
#
# `libmalloc gdb` loads it for you. By hand: `source gdbinit` in any session, on a live program or
# a core. It changes this session only, and it does not read or write your own ~/.gdbinit.

set breakpoint pending on
set print pretty on
# The heap of `paged` is a table of 256 KiB; GDB refuses to print more than 64 KiB unless told.
set max-value-size unlimited

# A sourced file is not told where it lies, but GDB holds it open while it reads it.
python
def load():
    import importlib.util, os, sys
    opened = []
    for fd in os.listdir('/proc/self/fd'):
        try:
            opened.append(os.readlink('/proc/self/fd/' + fd))
        except OSError:
            pass
    folders = [os.path.join(os.path.dirname(path), 'native', 'gdb') for path in opened
               if os.path.basename(path) == 'gdbinit']
    folder = next(filter(os.path.isdir, folders), None)
    if folder is None:
        raise gdb.GdbError('libmalloc: native/gdb is not beside this gdbinit')
    for name in [name for name in sys.modules if name.split('.')[0] == 'libmalloc']:
        del sys.modules[name]  # sourced again: the files may have changed
    sys.dont_write_bytecode = True  # to the end: a reader is imported when it is needed
    spec = importlib.util.spec_from_file_location(
        'libmalloc', os.path.join(folder, '__init__.py'), submodule_search_locations=[folder])
    sys.modules['libmalloc'] = package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)

load()
del load
end
