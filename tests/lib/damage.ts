/** Random damage that GDB does to the heap of a stopped program, and tests of all heap commands on it. */

/** Runs `rounds` rounds with seeds from `seed` on: a few words of the malloc's own (headers, records,
 *  variables, links in free blocks) get values that look right and are not; every command is asked, and
 *  the words are put back. Prints `round N: …` for each exception of Python and each command that takes
 *  longer than a minute, and `damage: ROUNDS rounds, FOUND found by heap check` at the end. */
export function randomDamage(rounds: number, seed = 0): string {
  return `python
import random, signal, struct
from libmalloc import command
COMMANDS = ('heap check', 'heap', 'heap chunks', 'heap free', 'heap free 90', 'heap map', 'heap stats',
            'heap chunk {at}', 'heap map {at} 256', 'heap chunks {at} 20', 'heap find {at}',
            'heap refs {at}', 'heap leaks', 'heap save damaged', 'heap diff damaged', 'heap vis {at} 4',
            'heap try-free {at}', 'heap telescope {at}')
inferior = gdb.selected_inferior()

def late(signum, frame):
    raise RuntimeError('not over after a minute')

signal.signal(signal.SIGALRM, late)

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

def damage(rounds, seed):
    ours, heap = command.open_heap()
    places = words_of_malloc(ours, heap)
    blocks = [each.user for each in heap.walk() if each.user]
    found = 0
    for number in range(seed, seed + rounds):
        random.seed(number)
        kept = []
        for _ in range(random.randrange(1, 4)):
            at = random.choice(random.choice(places))
            try:
                old = bytes(inferior.read_memory(at, 8))
                inferior.write_memory(at, struct.pack('<Q', value(int.from_bytes(old, 'little'), blocks) % 2 ** 64))
            except gdb.MemoryError:
                continue
            kept.append((at, old))
        where = random.choice(blocks) + random.choice((-16, 0, 5))
        for text in COMMANDS:
            signal.alarm(60)
            try:
                said = gdb.execute(text.format(at=where), to_string=True)
                found += text == 'heap check' and said.startswith('broken')
            except gdb.error as error:
                said = str(error)
                if 'occurred in Python' in said or 'not over' in said:
                    gdb.write(f'round {number}: {text.format(at=hex(where))}: {said} '
                              f'{[(hex(at), old.hex()) for at, old in kept]}\\n')
            finally:
                signal.alarm(0)
        for at, old in reversed(kept):
            inferior.write_memory(at, old)
    gdb.write(f'damage: {rounds} rounds, {found} found by heap check\\n')

damage(${rounds}, ${seed})
end`;
}
