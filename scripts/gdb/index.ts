// libmalloc gdb: a GDB session in which the program runs on any malloc, and the heap can be read.

import { closeSync, existsSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { Failure } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { FAILED } from '../lib/status.ts';
import { needsLink } from '../malloc/aside.ts';
import { type Malloc, resolveMalloc, variantOf, variantOfFile } from '../malloc/mallocs.ts';
import { checkTarget, preloadList, tracker } from '../malloc/preload.ts';
import { checkEnvironment } from '../malloc/variables.ts';
import { debuggee } from './debuggee.ts';
import { startSession } from './run-session.ts';
import {
  events,
  type Follow,
  follows,
  gdbArguments,
  type SessionPlan,
  sessionText,
} from './session.ts';

interface Options {
  malloc?: string;
  debug?: boolean;
  break: string[];
  batch?: boolean;
  command?: string;
  core?: string;
  pid?: number;
  atCall?: number;
  on?: string[];
  follow?: Follow;
  track?: boolean;
  session?: string;
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
        'commands `heap`, `heap chunks`, `heap chunk ADDR`, `heap leaks`, … (`heap help` lists them).',
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
      'a breakpoint (repeatable): malloc:n>4096, free:ptr==0x…, FILE:LINE [if CONDITION]',
      collect,
      [],
    )
    .option('--at-call <n>', 'stop at the n-th malloc', positive)
    .addOption(
      new Option('--on <event>', `stop where the library detects it: ${events.join(', ')}`)
        .argParser(event)
        .default([]),
    )
    .addOption(new Option('--follow <process>', 'after a fork, stay with').choices([...follows]))
    .option('--track', 'keep a table of live blocks and who allocated them, for any M')
    .option('--batch', 'run CMD to its end without asking; its exit status is ours')
    .option(
      '-x, --command <file>',
      'GDB commands (- is standard input): at the start, in a batch at the first stop',
    )
    .option('--core <file>', 'look at a core instead of running CMD')
    .option('--pid <n>', 'attach to a running process instead of starting CMD', positive)
    .option('--session <folder>', 'keep the session there, with its command line and a how-to')
    .option('--print', 'show the session file and the command line, start nothing')
    .option('-q, --quiet', 'no line of proof on standard error after a batch')
    .option('--json <file>', 'write the session and how it ended to a file')
    .passThroughOptions()
    .showHelpAfterError('(libmalloc gdb --help explains)')
    .addHelpText('after', details)
    .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : FAILED))
    .action(gdb);
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1)
    throw new InvalidArgumentError('a whole number from 1 on is needed');
  return value;
}

function event(name: string, before: string[]): string[] {
  if (!(events as readonly string[]).includes(name))
    throw new InvalidArgumentError(`there is: ${events.join(', ')}`);
  return [...before, name];
}

const details = `
Without --break an interactive session stops at our first malloc. A bare function of the malloc
family means that of the malloc in use; locations in our code wait until the library is loaded.
After a colon stands a condition: n is the number of bytes asked for, ptr the block given back.
A condition that GDB cannot evaluate is refused before the program starts.

With --track a library in front of M notes every block with its stack, in memory. So the heap commands
show the blocks of any M, also without symbols and in a core that the session writes (gcore), and
\`leaks\`, \`diff\`, \`find\`, \`refs\` say who allocated them. A malloc costs 0.3 µs more.

A batch leaves standard output to CMD; what GDB says goes to standard error. At the first stop (a
breakpoint, a crash; with -x also the end of CMD) it runs the commands of -x, or shows where CMD is
and its heap. Then CMD runs on: only breakpoints with \`commands\` stop it again. A FILE that says
\`run\` itself, or sets breakpoints where --break set none, is read before CMD starts.

Exit status of a batch: that of CMD; 128+N if signal N ended it; 125 if libmalloc, GDB or a command
of -x failed while CMD succeeded.`;

async function gdb(argv: string[], options: Options): Promise<void> {
  checkEnvironment();
  const plan = planSession(argv, options);
  checkLasting(plan.malloc, options);
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
  const { session } = options;
  const status = await startSession(plan, { quiet: options.quiet === true, keep: session });
  if (options.json !== undefined) writeJson('gdb', options.json, { ...record, status });
  process.exitCode = status;
}

/** A session that is kept, or only shown, outlives the link by which such a library is preloaded. */
function checkLasting({ file = '' }: Malloc, { print, session }: Options): void {
  if (!needsLink(file) || !(print || session !== undefined)) return;
  throw new Failure(`a session that is kept cannot preload '${file}'`, {
    hint: 'LD_PRELOAD splits its value at blanks and colons: link the library to a path without them',
  });
}

/** Plans the session; everything that can be refused is refused here, with the reason. */
export function planSession(argv: string[], options: Options): SessionPlan {
  const [command, ...args] = argv;
  const { batch = false, pid } = options;
  const core = existing(options.core, 'core');
  if (core !== undefined) checkCore(core);
  const script = options.command === '-' ? '-' : existing(options.command, 'file of commands');
  if (pid !== undefined && (core !== undefined || command !== undefined))
    throw new Failure('--pid looks at a process that runs already', {
      hint: 'leave out CMD and --core, or --pid',
    });
  if (command === undefined && core === undefined && pid === undefined && batch)
    throw new Failure('a batch needs a program', { hint: 'libmalloc gdb --batch -- CMD…' });
  if (options.track && (core !== undefined || pid !== undefined))
    throw new Failure('--track begins with the program', {
      hint: 'start it with --track; a session on its core, or with --pid, then finds the table by itself',
    });
  const inside = pid === undefined ? undefined : mallocOf(pid);
  const malloc = resolveMalloc(options.malloc ?? inside, { debug: options.debug ?? false });
  if (options.on?.length && !variantOf(malloc))
    throw new Failure(`--on waits for what our own library detects; ${malloc.name} is none`, {
      hint: 'say -m with a variant, or break at a function: --break abort',
    });
  const file = command === undefined ? undefined : checkTarget(command);
  return {
    malloc,
    preload: preloadList(
      malloc,
      batch && options.print !== true,
      process.env,
      options.track ? [tracker()] : [],
    ),
    tracked: options.track ?? false,
    program: file === undefined ? undefined : debuggee(file, args),
    core,
    pid,
    breaks: options.break,
    atCall: options.atCall,
    on: options.on ?? [],
    follow: options.follow,
    script,
    batch,
    env: process.env,
  };
}

/** The library of ours that a running process has, if it has one. Throws when there is no such process. */
function mallocOf(pid: number): string | undefined {
  let maps: string;
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new Failure(
      missing ? `there is no process ${pid}` : `process ${pid} belongs to somebody else`,
      { hint: missing ? '`pgrep -a NAME` finds it' : 'debug it as its owner, or as root' },
    );
  }
  const files = [...maps.matchAll(/\s(\/.*\/libmalloc[^/]*)$/gm)].map((match) => match[1] ?? '');
  const file = files.find((each) => variantOfFile(each) !== undefined);
  const inside = `/proc/${pid}/root${file}`; // in a container the path is one below its root
  return file !== undefined && !existsSync(file) && existsSync(inside) ? inside : file;
}

/** Throws a Failure for a file that is no core; GDB would print a Python traceback. */
function checkCore(file: string): void {
  const start = Buffer.alloc(18);
  const fd = openSync(file, 'r');
  readSync(fd, start);
  closeSync(fd);
  if (start.toString('latin1', 0, 4) !== '\x7fELF' || start.readUInt16LE(16) !== 4)
    throw new Failure(`${file} is no core`, {
      hint: 'unpack it if it is compressed (zstd -d, lz4 -d); `coredumpctl dump -o FILE` writes one',
    });
}

function existing(file: string | undefined, what: string): string | undefined {
  if (file === undefined) return undefined;
  if (!existsSync(file))
    throw new Failure(`there is no ${what} ${file}`, { hint: 'correct the path' });
  if (statSync(file).isDirectory())
    throw new Failure(`${file} is a folder, and no ${what}`, { hint: 'name a file in it' });
  return resolve(file);
}
