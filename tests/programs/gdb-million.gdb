# Times heap commands in processor time of GDB, each as the first at a stop, and counts what they read:
# `make bench-gdb` runs it. The last words of a line are the heading in docs/debugging.md.
python
import time
from libmalloc import command
from libmalloc.memory import Memory

read = [0, 0]  # calls, bytes
direct = Memory._direct

def counted(self, address, length):
    read[0] += 1
    read[1] += length
    return direct(self, address, length)

Memory._direct = counted
gdb.execute('heap chunk block', to_string=True)  # symbols and debug information are read once in a session
for text, heading in (('heap', 'heap'), ('heap chunk block[blocks/2]', 'heap chunk ADDR'),
                      ('heap chunks block[blocks/2] 20', 'heap chunks ADDR 20'),
                      ('heap map block[blocks/2] 256', 'heap map ADDR'), ('heap free', 'heap free'),
                      ('heap check', 'heap check'), ('heap stats', 'heap stats'), ('heap map', 'heap map'),
                      ('heap find block', 'heap find'), ('heap refs block[1]', 'heap refs'),
                      ('heap leaks', 'heap leaks')):
    read[:] = 0, 0
    command._forget()
    begun = time.process_time()
    gdb.execute(text, to_string=True)
    gdb.write(f'{time.process_time() - begun:8.3f} s  {read[0]:6} reads  {read[1] >> 10:8} KiB  {heading}\n')
end
