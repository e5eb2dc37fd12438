#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, type CommanderError } from 'commander';
import { describeFailure, Failure } from './lib/errors.ts';
import { root } from './lib/paths.ts';

/** Each loaded when it is asked for: all of them take longer to load than most programs run. */
const verbs: Record<string, () => Promise<Command>> = {
  run: async () => (await import('./run.ts')).runCommand(),
  gdb: async () => (await import('./gdb.ts')).gdbCommand(),
  record: async () => (await import('./record.ts')).recordCommand(),
  replay: async () => (await import('./replay.ts')).replayCommand(),
  view: async () => (await import('./view.ts')).viewCommand(),
  bench: async () => (await import('./bench.ts')).benchCommand(),
  check: async () => (await import('./check.ts')).checkCommand(),
  layout: async () => (await import('./layout.ts')).layoutCommand(),
  new: async () => (await import('./new.ts')).newCommand(),
  doctor: async () => (await import('./doctor.ts')).doctorCommand(),
};

/** A command line that makes no sense is our failure, never the status of a program that was run. */
function leave(error: CommanderError): never {
  process.exit(error.exitCode === 0 ? 0 : 125);
}

/** The command line with the verb that it begins with; with every verb that is built otherwise. */
async function program(wanted = ''): Promise<Command> {
  const { version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const main = new Command('libmalloc')
    .description(description)
    .version(version)
    .showHelpAfterError('(libmalloc VERB --help explains a verb)')
    // `run -- ls -l`: what follows the verb's own arguments belongs to the program that is run.
    .enablePositionalOptions()
    .exitOverride(leave);
  const named = Object.entries(verbs).filter(([verb]) => verb === wanted);
  for (const [, load] of named.length > 0 ? named : Object.entries(verbs))
    main.addCommand((await load()).exitOverride(leave));
  return main;
}

try {
  await (await program(process.argv[2])).parseAsync();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`${describeFailure(error)}\n`);
  process.exitCode = error.code;
}
