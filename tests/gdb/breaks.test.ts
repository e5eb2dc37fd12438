// --break: conditions that GDB cannot evaluate, and a bare name of the malloc family under any malloc.

import { beforeEach, expect, test } from 'vitest';
import { breakCommand } from '../../scripts/gdb/session.ts';
import { resolveMalloc } from '../../scripts/malloc/mallocs.ts';
import { compileProgram } from '../lib/compile.ts';
import { answer, batch, questions } from '../lib/gdb.ts';
import { need } from '../lib/need.ts';

const program = compileProgram('gdb-heap.c');
beforeEach(() => void need('gdb'));

test.each([
  ['glibc', 'malloc:n>', /__libc_malloc: the condition `.*>` .*: A syntax error in expression/],
  ['list', 'malloc:nn>4096', /list\.c:malloc: the condition `nn>4096` .*: No symbol "nn"/],
  ['list', 'list.c:free if zork', /list\.c:free: the condition `zork` .*: No symbol "zork"/],
  ['glibc', 'main if argcc > 1', /main: the condition `argcc > 1` .*: No symbol "argcc"/],
])('%s: %s is refused before the program starts', async (m, spec, said) => {
  const { status, stderr, stdout } = await batch(m, ['--break', spec], [program, 'x']);
  expect(stderr).toMatch(said);
  expect(stderr).not.toMatch(/Traceback|Python/);
  expect(stdout).toBe(''); // the program prints its arguments
  expect(status).toBe(125);
});

test.each(['list.c:malloc if size > 59999', 'malloc:n>59999 && heap.arena'])(
  'what only our library knows may stand in a condition: %s',
  async (spec) => {
    const { stderr, status } = await batch('list', ['--break', spec], [program, 'x']);
    expect(stderr).toMatch(/^Breakpoint 1, malloc \(size=60000\)/m);
    expect(stderr).not.toMatch(/cannot be evaluated/);
    expect(status).toBe(3);
  },
);

test('in a peer a bare name is its own function, not the linker’s and not libc’s', async () => {
  const file = need('mimalloc');
  expect(breakCommand('malloc:n>8', resolveMalloc('mimalloc'))).toMatch(
    /^break malloc -force-condition if \$_in_use\("malloc"\) && \(.*>8\)$/,
  );
  const asked = questions('info symbol $pc', 'frame 1');
  for (const spec of ['malloc', 'malloc:n>59999']) {
    const { stderr } = await batch('mimalloc', ['--break', spec, '-x', asked], [program, 'x']);
    expect(answer(stderr, 'info symbol $pc')).toContain(`in section .text of ${file}`);
    if (spec !== 'malloc') expect(answer(stderr, 'frame 1')).toMatch(/ in main /);
  }
});
