# Times the heap commands in processor time of GDB: see gdb-million.c.
python
import time
for command in ('heap', 'heap chunk block[1]', 'heap chunk block[999998]+3', 'heap free', 'heap check',
                'heap stats', 'heap map', 'heap find block', 'heap refs block[1]', 'heap leaks'):
    begun = time.process_time()
    gdb.execute(command, to_string=True)
    gdb.write(f'{time.process_time() - begun:8.3f} s  {command}\n')
end
