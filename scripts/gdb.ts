// libmalloc gdb: a GDB session in which the program runs on any malloc, and the heap can be read.

import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command } from 'commander';
import { checkEnvironment } from './lib/env.ts';
import { Failure } from './lib/errors.ts';
import { debuggee } from './lib/gdb-program.ts';
import { gdbArguments, type SessionPlan, sessionText } from './lib/gdb-session.ts';
import { startSession } from './lib/gdb-start.ts';
import { writeJson } from './lib/json.ts';
import { resolveMalloc } from './lib/mallocs.ts';
import { checkTarget, preloadList } from './lib/preload.ts';

interface Options {
  malloc?: string;
  debug?: boolean;
  break: string[];
  batch?: boolean;
  command?: string;
  core?: string;
  print?: boolean;
  quiet?: boolean;
  json?: string;
}

/** The verb `gdb`. */
export function gdbCommand(): Command {
  const collect = (value: string, before: string[]): string[] => [...before, value];
  return new Command('gdb')
    .summary('a GDB session that understands the heap')
    .description(
      'Starts GDB on CMD with the malloc M preloaded into CMD alone, breakpoints in our code, and the\n' +
        'commands `heap`, `heap chunks`, `heap chunk ADDR`, `heap free`, `heap check`.',
    )
    .usage('[options] -- CMD…')
    .argument('[cmd...]', 'the program and its arguments')
    .option('-m, --malloc <M>', 'NAME, FILE.so or NAME=FILE.so (default: the last variant)')
    .option(
      '--debug',
      'the build of `make debug` (-Og) instead of the one that `run` uses (-O2 -g)',
    )
    .option(
      '--break <spec>',
      'a breakpoint (repeatable): malloc, FILE:LINE, … [if CONDITION]',
      collect,
      [],
    )
    .option('--batch', 'run CMD to its end without asking; its exit status is ours')
    .option('-x, --command <file>', 'GDB commands: at the start, in a batch at the first stop')
    .option('--core <file>', 'look at a core instead of running CMD')
    .option('--print', 'show the session file and the command line, start nothing')
    .option('-q, --quiet', 'no line of proof on standard error after a batch')
    .option('--json <file>', 'write the session and how it ended to a file')
    .passThroughOptions()
    .showHelpAfterError('(libmalloc gdb --help explains)')
    .addHelpText('after', details)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 125))
    .action(gdb);
}

const details = `
Without --break an interactive session stops at our first malloc. A bare function of the malloc
family means ours, as in list.c:malloc; locations in our code wait until the library is loaded.

A batch leaves standard output to CMD; what GDB says goes to standard error. At the first stop (a
breakpoint, a crash; with -x also the end of CMD) it runs the commands of -x, or shows where CMD is
and its heap. Then CMD runs on: only breakpoints with \`commands\` stop it again. A FILE that says
\`run\` itself, or sets breakpoints where --break set none, is read before CMD starts.

Exit status of a batch: that of CMD; 128+N if signal N ended it; 125 if libmalloc, GDB or a command
of -x failed while CMD succeeded.`;

async function gdb(argv: string[], options: Options): Promise<void> {
  checkEnvironment();
  const plan = planSession(argv, options);
  const args = gdbArguments(plan, 'SESSION');
  const record = {
    malloc: { name: plan.malloc.name, file: plan.malloc.file ?? null },
    command: argv,
    core: plan.core ?? null,
    session: sessionText(plan),
    arguments: args,
  };
  if (options.print) {
    if (options.json !== undefined) writeJson('gdb', options.json, { ...record, status: null });
    if (options.json !== '-') process.stdout.write(record.session);
    return;
  }
  const status = await startSession(plan, { quiet: options.quiet === true });
  if (options.json !== undefined) writeJson('gdb', options.json, { ...record, status });
  process.exitCode = status;
}

/** What to start; everything that can be refused is refused here, with the reason. */
export function planSession(argv: string[], options: Options): SessionPlan {
  const [command, ...args] = argv;
  const core = existing(options.core, 'core');
  const script = existing(options.command, 'file of commands');
  if (command === undefined && core === undefined && options.batch) {
    throw new Failure('a batch needs a program', { hint: 'libmalloc gdb --batch -- CMD…' });
  }
  const malloc = resolveMalloc(options.malloc, { debug: options.debug ?? false });
  const file = command === undefined ? undefined : checkTarget(command);
  return {
    malloc,
    preload: preloadList(malloc, options.batch === true && options.print !== true, process.env),
    program: file === undefined ? undefined : debuggee(file, args),
    core,
    breaks: options.break,
    script,
    batch: options.batch === true,
    env: process.env,
  };
}

function existing(file: string | undefined, what: string): string | undefined {
  if (file === undefined) return undefined;
  if (!existsSync(file))
    throw new Failure(`there is no ${what} ${file}`, { hint: 'correct the path' });
  return resolve(file);
}
