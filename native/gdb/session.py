"""What `libmalloc gdb` runs by itself: opens cores, attaches, runs batches from start to end."""

import os
import re

import gdb

from . import library

FAILED = 125
BACKTRACE = 10  # frames

# Lines of a script that start the program, or that are useful only before it runs.
STARTS = re.compile(r'^\s*(r|run|start|starti)\b', re.M)
BREAKS = re.compile(r'^\s*(b|br|break|tb|tbreak|hbreak|rbreak|watch|rwatch|awatch|catch|tcatch)\b',
                    re.M)


class Ending:
    """How the program ended, and how it stopped last."""

    def __init__(self):
        self.status = None
        self.stop = None
        gdb.events.exited.connect(self._exited)
        gdb.events.stop.connect(self._stopped)

    def _stopped(self, event):
        self.stop = event

    def _exited(self, event):
        if event.inferior.num != 1:
            return
        signal = gdb.convenience_variable('_exitsignal')
        self.status = event.exit_code if hasattr(event, 'exit_code') else (
            128 + int(signal) if signal is not None else FAILED)


def batch(script=None, breaks=False):
    """Runs the program to its end and quits with its status (128+n after signal n).

    At the first stop (a breakpoint, a crash) it runs the commands of `script`, or shows a backtrace
    and the heap. With a script and without breakpoints, it also stops at the program's end. A script
    that starts the program itself, or sets breakpoints if none were given, runs first. Afterwards
    only breakpoints with `commands` stop the program again.
    """
    ending, ok = Ending(), True
    try:
        if script and _comes_first(script, breaks):
            ok = _source(script)
            script = None
            if ok and not _alive() and ending.status is None:
                gdb.execute('run')
        else:
            if script and not breaks:
                gdb.execute('tbreak _exit', to_string=True)
            gdb.execute('run')
            if script:
                ok = _source(script)
            elif _alive():
                _show()
        _finish(ending)
    except gdb.error as error:
        _say(str(error))
        ok = False
    status = FAILED if ending.status is None else ending.status
    gdb.execute(f'quit {status if ok or status else FAILED}')


def batch_core(script=None):
    """Runs the commands of `script` on a core, or shows a backtrace and the heap; quits."""
    ok = _source(script) if script else _show()
    gdb.execute(f'quit {0 if ok else FAILED}')


def attach(pid):
    """Attaches to a running process; if the kernel refuses, says what to do. For a process in a container
    or a chroot, looks for its files below its own root."""
    try:
        if _has_other_root(pid):
            gdb.execute(f'set sysroot /proc/{pid}/root')
            gdb.execute(f'file /proc/{pid}/exe', to_string=True)
        gdb.execute(f'attach {pid}')
    except gdb.error as error:
        hint = (': ptrace is not permitted: as root, or after `sysctl kernel.yama.ptrace_scope=0`'
                if 'not permitted' in str(error) else '')
        raise gdb.GdbError(f'process {pid} cannot be attached to{hint}\n{error}') from None


def _has_other_root(pid):
    """True if the root folder of the process is not ours."""
    try:
        theirs, ours = os.stat(f'/proc/{pid}/root'), os.stat('/')
    except OSError:
        return False  # no permission, so attaching will fail as well
    return (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)


def batch_attached(pid, script=None):
    """Runs the commands of `script` on a running process, or shows a backtrace and the heap; detaches
    and quits."""
    try:
        attach(pid)
        ok = _source(script) if script else _show()
        gdb.execute('detach')
    except gdb.error as error:
        _say(str(error))
        ok = False
    gdb.execute(f'quit {0 if ok else FAILED}')


def open_core(core):
    """Opens a core; finds its program if none was given. Reports files that were rebuilt since the core
    was written."""
    gdb.execute(f'core-file {core}')
    if gdb.current_progspace().filename is None:
        name = re.search(r'AT_EXECFN .*"(.*)"$', gdb.execute('info auxv', to_string=True), re.M)
        if not name or not os.path.exists(name[1]):
            _say(f'the program of this core ({name[1] if name else "unknown"}) does not exist here: '
                 'name it, `libmalloc gdb --core CORE -- PROGRAM`')
            return
        gdb.execute(f'file {name[1]}')
        gdb.execute(f'core-file {core}')
    rebuilt = [objfile.filename for objfile in library.rebuilt(gdb.objfiles())]
    for path in (*rebuilt, *library.not_loaded()):
        how = ('`file OLD` takes' if path == gdb.current_progspace().filename else
               '`set solib-search-path FOLDER` finds')
        _say(f'{path} was built again since the core was written, so its names and lines may be '
             f'wrong: {how} the old one')


def _comes_first(script, breaks):
    with open(script, encoding='utf-8', errors='replace') as file:
        text = file.read()
    return STARTS.search(text) or (not breaks and BREAKS.search(text))


def _alive():
    return bool(gdb.selected_inferior().threads())


def _source(script):
    try:
        gdb.execute(f'source {script}')
    except gdb.error as error:
        _say(str(error))
        return False
    return True


def _show():
    for command in (f'backtrace {BACKTRACE}', 'heap'):
        try:
            gdb.execute(command)
        except gdb.error as error:
            _say(str(error))
            return False
    return True


def _finish(ending):
    if not _alive():
        return
    gdb.execute('disable')
    for breakpoint in gdb.breakpoints():
        if breakpoint.commands:
            breakpoint.enabled = True
    while _alive():
        # GDB does not pass some signals (SIGINT, SIGTRAP) on, so we send them to the program.
        signal, ending.stop = _signal(ending.stop), None
        gdb.execute(f'signal {signal}' if signal else 'continue')


def _signal(stop):
    """The signal that stopped the program, or None. GDB does not report a SIGTRAP, because it causes
    most of them itself; if another process sent one, the kernel sets an si_code of 0 or less."""
    if isinstance(stop, gdb.SignalEvent):
        return stop.stop_signal
    if stop is None or isinstance(stop, gdb.BreakpointEvent):
        return None
    siginfo = gdb.parse_and_eval('$_siginfo')
    return 'SIGTRAP' if int(siginfo['si_signo']) == 5 and int(siginfo['si_code']) <= 0 else None


def _say(text):
    gdb.write(f'{text}\n', gdb.STDERR)
