# Times the heap commands in processor time of GDB, and counts what they read: `make bench-gdb` runs it.
python
import time
from libmalloc.memory import Memory

read = [0, 0]  # calls, bytes
direct = Memory._direct

def counted(self, address, length):
    read[0] += 1
    read[1] += length
    return direct(self, address, length)

Memory._direct = counted
for command in ('heap', 'heap chunk block[1]', 'heap chunk block[blocks/2]', 'heap chunk block[blocks-2]+3',
                'heap chunks block[blocks/2] 20', 'heap map block[blocks/2] 256',
                'heap free', 'heap check', 'heap stats', 'heap map', 'heap find block', 'heap refs block[1]',
                'heap leaks'):
    read[:] = 0, 0
    begun = time.process_time()
    gdb.execute(command, to_string=True)
    gdb.write(f'{time.process_time() - begun:8.3f} s  {read[0]:6} reads  {read[1] >> 10:8} KiB  {command}\n')
end
