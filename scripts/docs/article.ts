// The article's first attempt at a malloc under today's programs, measured for the documents.

import { resolveMalloc } from '../malloc/mallocs.ts';
import { type Launched, launch } from '../malloc/preload.ts';

/** One program under dumb, and how it ended. */
export interface Attempt {
  command: string;
  /** LIBMALLOC_* values in force, or the empty string for the defaults. */
  knobs: string;
  ended: string;
}

const attempts = [
  { knobs: {}, argv: ['ls', '-l', '/'] },
  { knobs: {}, argv: ['grep', '-R', 'malloc', 'native'] },
  { knobs: { LIBMALLOC_BLOCK: '1024', LIBMALLOC_OVERRUN: '1' }, argv: ['ls', '-l', '/'] },
  { knobs: { LIBMALLOC_BLOCK: '1024', LIBMALLOC_OVERRUN: '1' }, argv: ['ls', '-l', '/usr/bin'] },
  {
    knobs: { LIBMALLOC_BLOCK: '1024', LIBMALLOC_OVERRUN: '1' },
    argv: ['grep', '-R', 'malloc', 'native'],
  },
];

function ending(run: Launched): string {
  if (run.timedOut) return 'no end within 20 seconds';
  if (run.signal) return `killed by ${run.signal}`;
  if (run.status > 128) return `killed by signal ${run.status - 128}`;
  const said = String(run.stderr).trim().split('\n')[0];
  return run.status === 0 ? 'runs' : `ends with status ${run.status}${said ? `: ${said}` : ''}`;
}

/** Runs every attempt in the folder `cwd`, within the limits of all demonstrations of dumb. */
export async function tryArticle(cwd: string): Promise<Attempt[]> {
  const dumb = resolveMalloc('dumb');
  const found: Attempt[] = [];
  for (const { knobs, argv } of attempts) {
    const env = { ...process.env, ...knobs, LC_ALL: 'C' };
    const run = await launch(dumb, argv, {
      env,
      cwd,
      timeout: 20,
      limits: { addressSpace: 2 ** 31 },
    });
    const set = Object.entries(knobs).map(([name, value]) => `${name}=${value}`);
    found.push({ command: argv.join(' '), knobs: set.join(' '), ended: ending(run) });
  }
  return found;
}
