// What the heap commands cost as a heap grows, in reads of memory and lines of Python: counted, not timed.

import { beforeEach, describe, expect, test } from 'vitest';
import { compileProgram } from '../lib/compile.ts';
import { batch, builds, commands } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const program = compileProgram('gdb-million.c');
beforeEach(() => void need('gdb'));

const few = 1_000;
const many = 100_000;
/** Of all reads and lines, what may be there whatever the size of the heap. */
const slack = { reads: 20, kilobytes: 4096, steps: 10_000 };

/** Prints `command: reads, KiB, steps`; a step is a line of our Python that is run. */
const counting = `python
import sys
from libmalloc.memory import Memory
direct, read, steps = Memory._direct, [0, 0], 0
def counted(self, address, length):
    read[0] += 1
    read[1] += length
    return direct(self, address, length)
def trace(frame, event, argument):
    global steps
    steps += event == 'line'
    return trace
Memory._direct = counted
for name in ('first', 'middle', 'all'):
    at = {'first': '1', 'middle': 'blocks/2'}.get(name)
    read[:], steps = (0, 0), 0
    sys.settrace(trace)
    gdb.execute(f'heap chunk block[{at}]' if at else 'heap', to_string=True)
    sys.settrace(None)
    gdb.write(f'{name}: {read[0]} {read[1] >> 10} {steps}\\n')
end`;

type Cost = { reads: number; kilobytes: number; steps: number };

async function costs(variant: string, build: string, blocks: number) {
  const script = commands(counting);
  const debug = build === 'debug' ? ['--debug'] : [];
  const words = [program, `${blocks}`, ...(variant === 'list' ? ['carved'] : [])];
  const options = [...debug, '--break', 'stop_here', '-x', script];
  const { stderr } = await batch(variant, options, words);
  return (name: string): Cost => {
    const found = new RegExp(`^${name}: (\\d+) (\\d+) (\\d+)$`, 'm').exec(stderr);
    if (!found) throw new Error(`no count of ${name} in:\n${stderr}`);
    const [reads = 0, kilobytes = 0, steps = 0] = found.slice(1).map(Number);
    return { reads, kilobytes, steps };
  };
}

const matrix = ['list', 'buddy', 'paged', 'sharded'].flatMap((v) =>
  builds.map((build) => [v, build]),
);
describe.each(matrix)('%s, %s', (variant = '', build = '') => {
  test('a heap a hundred times as large costs what its size asks for, and an address less', async () => {
    const [small, large] = [await costs(variant, build, few), await costs(variant, build, many)];
    const more = (name: string): Cost => ({
      reads: large(name).reads - small(name).reads,
      kilobytes: large(name).kilobytes - small(name).kilobytes,
      steps: large(name).steps - small(name).steps,
    });
    // A header or a free block is looked at once, and memory is read in large pieces.
    const blocks = many - few;
    expect(more('all').steps / blocks).toBeLessThan(build === 'debug' ? 40 : 20);
    expect(more('all').reads).toBeLessThan(build === 'debug' ? 800 : 400);
    expect(large('first').steps).toBeLessThan(small('first').steps + slack.steps);
    expect(more('first').kilobytes).toBeLessThan(slack.kilobytes);
    // list goes from link to link, from the nearer end on; the others have a table.
    if (variant === 'list') expect(more('middle').steps / (blocks / 2)).toBeLessThan(9);
    else expect(more('middle').steps).toBeLessThan(slack.steps);
    expect(more('middle').reads).toBeLessThan(slack.reads);
  });
});
