#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { benchCommand } from './bench.ts';
import { doctorCommand } from './doctor.ts';
import { gdbCommand } from './gdb.ts';
import { describeFailure, Failure } from './lib/errors.ts';
import { root } from './lib/paths.ts';
import { runCommand } from './run.ts';

/** The whole command line: every verb that is built, nothing else. */
function program(): Command {
  const { version, description } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return (
    new Command('libmalloc')
      .description(description)
      .version(version)
      .showHelpAfterError('(libmalloc VERB --help explains a verb)')
      // `run -- ls -l`: what follows the verb's own arguments belongs to the program that is run.
      .enablePositionalOptions()
      .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 125))
      .addCommand(runCommand())
      .addCommand(gdbCommand())
      .addCommand(benchCommand())
      .addCommand(doctorCommand())
  );
}

try {
  await program().parseAsync();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  process.stderr.write(`${describeFailure(error)}\n`);
  process.exitCode = error.code;
}
