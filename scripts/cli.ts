#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, type CommanderError } from 'commander';
import { benchCommand } from './bench.ts';
import { checkCommand } from './check.ts';
import { doctorCommand } from './doctor.ts';
import { gdbCommand } from './gdb.ts';
import { layoutCommand } from './layout.ts';
import { describeFailure, Failure } from './lib/errors.ts';
import { root } from './lib/paths.ts';
import { recordCommand } from './record.ts';
import { replayCommand } from './replay.ts';
import { runCommand } from './run.ts';
import { viewCommand } from './view.ts';

const verbs = [
  runCommand(),
  gdbCommand(),
  recordCommand(),
  replayCommand(),
  viewCommand(),
  benchCommand(),
  checkCommand(),
  layoutCommand(),
  doctorCommand(),
];

/** A command line that makes no sense is our failure, never the status of a program that was run. */
function leave(error: CommanderError): never {
  process.exit(error.exitCode === 0 ? 0 : 125);
}

/** The whole command line: every verb that is built, nothing else. */
function program(): Command {
  const { version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const main = new Command('libmalloc')
    .description(description)
    .version(version)
    .showHelpAfterError('(libmalloc VERB --help explains a verb)')
    // `run -- ls -l`: what follows the verb's own arguments belongs to the program that is run.
    .enablePositionalOptions()
    .exitOverride(leave);
  for (const verb of verbs) main.addCommand(verb.exitOverride(leave));
  return main;
}

try {
  await program().parseAsync();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`${describeFailure(error)}\n`);
  process.exitCode = error.code;
}
