# Do hardware watchpoints fire on this machine? `heap watch` and `libmalloc doctor` ask, on a program of
# no consequence; where they do, the answer has "Old value". Some virtual machines take what GDB puts in
# the debug registers, and never stop for it.
#
#     gdb -nx -q -batch -x native/gdb/watchpoints.gdb /bin/true
set debuginfod enabled off
set startup-with-shell off
starti
# The dynamic linker's first instructions call a function, which puts its return address there.
watch -location *(long *)($sp-8)
continue
