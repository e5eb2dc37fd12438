# Tests whether hardware watchpoints work on this machine, for `heap watch` and `libmalloc doctor`, with
# an arbitrary program. If they do, the output contains "Old value". Some virtual machines accept what GDB
# writes to the debug registers, but never stop.
#
#     gdb -nx -q -batch -x native/gdb/watchpoints.gdb /bin/true
set debuginfod enabled off
set startup-with-shell off
starti
# The dynamic linker's first instructions call a function, which puts its return address there.
watch -location *(long *)($sp-8)
continue
