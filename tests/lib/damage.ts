/** Random damage that GDB does to the heap of a stopped program, and tests of all heap commands on it. */

/** Runs `rounds` rounds with seeds from `seed` on. In each, a few words of the malloc's own (headers,
 *  records, variables, links in free blocks) get values that look right and are not, or random bytes or a
 *  long text run over them; every command is asked, and the memory is put back. Prints `round N: …` for
 *  each exception of Python and each command that takes longer than 20 seconds of processor time, and
 *  `damage: ROUNDS rounds, FOUND found by heap check, N % of the blocks seen` at the end. */
export function randomDamage(rounds: number, seed = 0): string {
  return `python
import random, re, signal, struct
from libmalloc import command
from libmalloc.chunks import Broken
from libmalloc.memory import Unreadable
COMMANDS = ('heap check', 'heap', 'heap chunks', 'heap free', 'heap free 90', 'heap map', 'heap stats',
            'heap chunk {at}', 'heap map {at} 256', 'heap chunks {at} 20', 'heap find {at}',
            'heap refs -all {at}', 'heap leaks', 'heap leaks all', 'heap save damaged', 'heap diff damaged',
            'heap vis {at} 4', 'heap try-free {at}', 'heap telescope {at}', 'heap vmmap', 'print heap')
inferior = gdb.selected_inferior()

def late(signum, frame):
    raise RuntimeError('not over after 20 seconds')

signal.signal(signal.SIGPROF, late)

def words_of_malloc(ours, heap):
    """Addresses of words that the malloc relies on."""
    chunks = list(heap.walk())
    blocks = [each for each in chunks if each.user]
    found = [heap.header(each)[0] // 8 * 8 + 8 * i for each in blocks if heap.header(each)
             for i in range(heap.header(each)[1] // 8)]
    found += [each.user + 8 * i for each in blocks if each.kind in ('free', 'remote') for i in (0, 1)]
    found += [each.user + (each.usable + 7) // 8 * 8 for each in blocks]
    records = [at for start, end in heap.records() for at in range(start, min(end, start + 4096), 8)]
    records += [at for start, end in ours.data() for at in range(start // 8 * 8, min(end, start + 4096), 8)]
    return [found, records or found]

def value(old, blocks):
    pick = random.random()
    return (random.choice((0, 1, 2 ** 64 - 1, 0x41414141_41414141, 1 << 40)) if pick < .3 else
            old ^ 1 << random.randrange(64) if pick < .5 else
            random.choice(blocks) + random.choice((-16, -8, 0, 8, 16)) if pick < .8 else
            old + random.choice((-64, -32, -16, 16, 32, 64)) if pick < .9 else random.getrandbits(64))

def change(at, blocks):
    """Overwrites a word with a value that looks right, or some bytes from there on; (at, what stood there)."""
    pick = random.random()
    length = 8 if pick < .6 else random.randrange(1, 200)
    old = bytes(inferior.read_memory(at, length))
    inferior.write_memory(at, struct.pack('<Q', value(int.from_bytes(old, 'little'), blocks) % 2 ** 64)
                          if pick < .6 else random.randbytes(length) if pick < .9 else (b'text' * 50)[:length])
    return at, old

def damage(rounds, seed):
    ours, heap = command.open_heap()
    places = words_of_malloc(ours, heap)
    blocks = [each.user for each in heap.walk() if each.user]
    live, found, seen = set(heap.live()[0]), 0, 0
    for number in range(seed, seed + rounds):
        random.seed(number)
        kept = []
        for _ in range(random.randrange(1, 4)):
            at = random.choice(random.choice(places))
            try:
                kept.append(change(at, blocks))
            except gdb.MemoryError:
                continue  # a mapping ends here
        try:
            seen += len(live.intersection(command.open_heap()[1].live()[0]))
        except (Broken, Unreadable, gdb.error):
            pass  # the heap is not even found
        where = random.choice(blocks) + random.choice((-16, 0, 5))
        for text in COMMANDS:
            signal.setitimer(signal.ITIMER_PROF, 20)
            try:
                said = gdb.execute(text.format(at=where), to_string=True)
                found += text == 'heap check' and re.search('^broken', said, re.M) is not None
            except gdb.error as error:
                said = str(error)
                if 'occurred in Python' in said or 'not over' in said:
                    gdb.write(f'round {number}: {text.format(at=hex(where))}: {said} '
                              f'{[(hex(at), old.hex()) for at, old in kept]}\\n')
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
        for at, old in reversed(kept):
            inferior.write_memory(at, old)
    gdb.write(f'damage: {rounds} rounds, {found} found by heap check, '
              f'{100 * seen // (rounds * len(live))} % of the blocks seen\\n')

damage(${rounds}, ${seed})
end`;
}
