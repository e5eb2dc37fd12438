// libmalloc layout: the memory of a live process, drawn: text, data, bss, heap, mappings, stack.

import { basename } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { Failure } from '../lib/errors.ts';
import { writeJson } from '../lib/json.ts';
import { writeOutput } from '../lib/outputs.ts';
import { resolveMalloc } from '../malloc/mallocs.ts';
import { disproof, remedy } from '../malloc/proof.ts';
import { checkEnvironment } from '../malloc/variables.ts';
import { describeLayout, titleOf } from './describe.ts';
import { holdAndLook } from './launch.ts';
import { type Layout, lookAt } from './look.ts';

interface Options {
  malloc?: string;
  pid?: number;
  after?: number;
  svg?: string;
  json?: string;
}

/** The verb `layout`. */
export function layoutCommand(): Command {
  return new Command('layout')
    .summary('draw the memory of a live process')
    .description(
      'Shows what lies where in the memory of a process: text, data, bss, heap, libraries, the\n' +
        'regions of the malloc, stacks; with sizes, shares in memory, and directions of growth.',
    )
    .usage('[options] -- CMD…')
    .argument('[cmd...]', 'the program and its arguments')
    .option('-m, --malloc <M>', 'NAME, FILE.so or NAME=FILE.so (default: the last variant)')
    .option('--pid <number>', 'a process that runs already, instead of CMD', parsePid)
    .option('--after <seconds>', 'look at CMD after so long, instead of at its end', parseSeconds)
    .option('--svg <file>', 'draw it into a file')
    .option('--json <file>', 'write it to a file (- is standard output, instead of the text)')
    .passThroughOptions()
    .showHelpAfterError('(libmalloc layout --help explains)')
    .addHelpText('after', details)
    .action(layout);
}

const details = `
CMD is stopped and looked at when it has finished: its output is written, its memory still there.
What CMD prints goes to standard error. A process given by --pid runs on; on one of our mallocs,
gdb stops it for a moment to read where the heap's regions lie.

Exit status: that of CMD; 0 with --pid; 125 if libmalloc failed or CMD ended too early.`;

function parsePid(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('a process number is needed');
  return Number(text);
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0 && seconds < 2 ** 21))
    throw new InvalidArgumentError('a number of seconds above 0 is needed');
  return seconds;
}

async function layout(argv: string[], options: Options): Promise<void> {
  checkEnvironment();
  if (options.pid !== undefined && (argv.length > 0 || options.malloc !== undefined))
    throw new Failure('--pid looks at a process as it is: neither CMD nor -m goes with it', {
      hint: 'libmalloc layout --pid N, or libmalloc layout [-m M] -- CMD…',
    });
  if (options.pid !== undefined) return show(await lookAt(options.pid), 'as it runs', options);
  if (argv.length === 0)
    throw new Failure('whose layout?', {
      hint: 'libmalloc layout -- CMD…, or libmalloc layout --pid N',
    });
  await showCommand(argv, options);
}

async function showCommand(argv: string[], options: Options): Promise<void> {
  const m = resolveMalloc(options.malloc);
  const known = m.kind === 'glibc' ? undefined : { name: m.name, file: m.file };
  const { ended, seen } = await holdAndLook(m, argv, { after: options.after }, (pid) =>
    lookAt(pid, known),
  );
  const doubt = disproof(m, ended.proofs);
  if (doubt !== undefined) throw new Failure(doubt, { hint: remedy(m) });
  if (seen === undefined) {
    const how = ended.signal ? `by ${ended.signal}` : `with status ${ended.status}`;
    throw new Failure(`${basename(argv[0] ?? '')} ended ${how} before it could be looked at`, {
      hint: 'look earlier: --after SECONDS, or --pid N while it runs',
    });
  }
  const moment = options.after === undefined ? 'at its end' : `after ${options.after} s`;
  await show(seen, moment, options);
  process.exitCode = ended.status;
}

async function show(seen: Layout, moment: string, options: Options): Promise<void> {
  if (options.svg !== undefined) {
    const { layoutPicture } = await import('./layout-picture.ts');
    writeOutput('--svg', options.svg, layoutPicture(seen, titleOf(seen, moment)));
  }
  if (options.json !== undefined) {
    const { process, ...rest } = seen;
    const { mappings, program, executable, pid, ...facts } = process;
    writeJson('layout', options.json, { ...rest, moment, facts });
  }
  if (options.json !== '-') process.stdout.write(describeLayout(seen, moment));
}
