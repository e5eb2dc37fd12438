// libmalloc new: the start of a malloc of one's own.

import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { Command } from 'commander';
import { execa } from 'execa';
import { Failure, reasonOf } from '../lib/errors.ts';
import { compiler } from '../lib/flags.ts';
import { makeFolder } from '../lib/folders.ts';
import { writeJson } from '../lib/json.ts';
import { nativeDir, root } from '../lib/paths.ts';
import { shellWord } from '../lib/words.ts';
import { glibc, peers, resolveMalloc, variants } from '../malloc/mallocs.ts';
import { launch } from '../malloc/preload.ts';
import { disproof } from '../malloc/proof.ts';
import { declared, freeRung } from '../malloc/variants.ts';
import { newSource } from './new-source.ts';

/** The verb `new`. */
export function newCommand(): Command {
  return new Command('new')
    .summary('the start of a malloc of your own: written, built, run')
    .description(
      'Writes a malloc that hands out memory and takes none back, builds it, runs ls on it, and\n' +
        'says how to go on (docs/own.md). In a checkout it becomes a variant, native/NAME.c; anywhere\n' +
        'else it gets a folder NAME with a Makefile.',
    )
    .argument('<name>', 'what it is called: letters, digits and _')
    .option('--json <file>', 'what was written, as JSON (- is standard output)')
    .addHelpText('after', '\nExit status: 0; 125 if it could not be written, built or run.')
    .action(create);
}

/** Like the head of our own variants. */
const flags =
  '-O2 -g -std=gnu17 -fPIC -fvisibility=hidden -fno-builtin -pthread -shared -Wl,-Bsymbolic'.split(
    ' ',
  );

/** The files to be written. */
export interface Plan {
  name: string;
  source: string;
  library: string;
  /** Beside the source, where there is no Makefile of ours. */
  makefile: string | undefined;
  /** The one command that builds it, typed in `folder`. */
  build: string[];
  folder: string;
  rung: number;
  /** The argument of -m. */
  spec: string;
}

/** Throws a Failure that says what to change, for a name or a place that is taken. */
export function planNew(name: string, cwd: string = process.cwd()): Plan {
  if (!/^[a-z]\w*$/i.test(name))
    throw new Failure(`no name for a malloc: ${name}`, {
      hint: 'a letter, then letters, digits and _',
    });
  const native = join(root, 'native');
  const helpers = readdirSync(join(native, 'tools'))
    .filter((file) => file.endsWith('.c'))
    .map((file) => file.slice(0, -2));
  const taken = [...variants(), ...helpers, glibc.name, ...peers.map((peer) => peer.name)];
  if (taken.includes(name))
    throw new Failure(`${name} is taken: -m ${name} would name two mallocs`, {
      hint: `taken are ${[...new Set(taken)].join(', ')}`,
    });
  const inside = existsSync(join(root, 'Makefile')) && !relative(root, cwd).startsWith('..');
  const source = inside ? join(native, `${name}.c`) : join(resolve(cwd), name, `${name}.c`);
  if (existsSync(source))
    throw new Failure(`${source} is there already`, { hint: 'take another name, or remove it' });
  const library = join(inside ? nativeDir('release') : dirname(source), `libmalloc-${name}.so`);
  const folder = inside ? root : dirname(source);
  const here = (file: string) => relative(folder, file);
  const include = inside ? [] : [`-I${native}`];
  return {
    name,
    source,
    library,
    makefile: inside ? undefined : join(dirname(source), 'Makefile'),
    build: [...compiler(), ...flags, ...include, '-o', here(library), here(source)],
    folder,
    rung: freeRung(declared()),
    spec: inside ? name : library,
  };
}

/** A Makefile of one rule. */
export function makefileOf({ name, build }: Plan): string {
  const line = build.map(shellWord).join(' ');
  return `# make: builds libmalloc-${name}.so\nlibmalloc-${name}.so: ${name}.c\n\t${line}\n`;
}

async function create(name: string, options: { json?: string }): Promise<void> {
  const plan = planNew(name);
  const line = plan.build.map(shellWord).join(' ');
  const elsewhere = 'go to a folder that can be written to';
  makeFolder(dirname(plan.source), elsewhere);
  makeFolder(dirname(plan.library), elsewhere);
  write(plan.source, newSource(name, plan.rung, line));
  if (plan.makefile !== undefined) write(plan.makefile, makefileOf(plan));
  const [command = 'cc', ...args] = plan.build;
  const built = await execa(command, args, { cwd: plan.folder, reject: false, all: true });
  if (built.failed)
    throw new Failure(`cannot compile ${plan.source}:\n${built.all}`, { hint: line });
  const m = resolveMalloc(plan.spec);
  const ran = await launch(m, ['ls', '-l', '/'], { report: true, timeout: 20 });
  const doubt = ran.status === 0 ? disproof(m, ran.proofs) : `ls ended with status ${ran.status}`;
  if (doubt !== undefined) throw new Failure(`it is built, but ls does not run on it: ${doubt}`);
  if (options.json !== undefined) writeJson('new', options.json, { ...plan, command: line });
  if (options.json !== '-') process.stdout.write(said(plan, line));
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    throw new Failure(`cannot write ${file}: ${reasonOf(cause)}`, { cause });
  }
}

/** The next steps, as commands. */
function said({ name, source, library, makefile, spec }: Plan, line: string): string {
  const here = (file: string) => relative(process.cwd(), file) || file;
  const m = makefile === undefined ? name : `./${here(library)}`;
  const rows = [
    `wrote  ${here(source)}`,
    ...(makefile === undefined ? [] : [`wrote  ${here(makefile)}`]),
    `built  ${here(library)}`,
    `ran    ls -l / on it: every call of malloc came from ${spec}`,
    '',
    `build it again:  ${makefile === undefined ? 'make' : `make -C ${here(dirname(source))}`}`,
    `by hand:         ${line}`,
    '',
    'Three steps from here (docs/own.md tells how):',
    `  1. free, so that memory is used again:  npx libmalloc check -m ${m} --group structure/handover`,
    `  2. merge, so that small pieces become large ones:  … --group structure/merge`,
    `  3. a lock, for threads and for fork:  … --group threads --group process`,
  ];
  return `${rows.join('\n')}\n`;
}
